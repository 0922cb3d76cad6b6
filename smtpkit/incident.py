"""Files become an Incident: reads, assembles, joins, and lists all that was skipped. No judgement here."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from smtpkit import content, exim, join, logs, mtu, octets, reading, stored, tables, tcp
from smtpkit.capture import CaptureError
from smtpkit.capture import sniff as is_capture
from smtpkit.files import below, exists, normal, open_input, open_raw, walk
from smtpkit.spool import Choice, with_left_out
from smtpkit.tables import KEY, among
from smtpkit.traffic import OfInterest, Traffic, nothing, whole
from smtpkit.workers import Here, Workers

_OCTETS = "octets.parquet"
LOCAL = "local"  # this machine's zone
HEAD = 65536  # bytes by which a file is known
_STAMP = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?( [+-]\d{4})? ", re.MULTILINE)


class InputError(ValueError):
    """An argument that cannot be used: a filter or a zone; the message says why and what to do."""


@dataclass(frozen=True)
class Incident:
    """All tables of one incident; `smtpkit.tables.describe` tells their columns.

    `timezone` is the zone that a log without zone was read in, `timezone_reason` says where it is from.
    `octets` holds messages by Exim id (or ``capture/stream``) where some failed and others passed: never
    written with the tables, and read again from their files where these are still there. `redacted`: names
    are labels (`smtpkit.redact`).
    """

    captures: pd.DataFrame
    packets: pd.DataFrame
    connections: pd.DataFrame
    stalls: pd.DataFrame
    sizes: pd.DataFrame
    path_mtu: pd.DataFrame
    loss_rates: pd.DataFrame
    sessions: pd.DataFrame
    transactions: pd.DataFrame
    dialogue: pd.DataFrame
    log_lines: pd.DataFrame
    messages: pd.DataFrame
    attempts: pd.DataFrame
    content: pd.DataFrame
    inputs: pd.DataFrame
    skipped: pd.DataFrame
    timezone: str
    timezone_reason: str
    octets: Mapping[str, bytes] = field(default_factory=dict)
    redacted: bool = False


_BESIDE = ("timezone", "timezone_reason", "redacted")  # kept with the table `inputs`
TABLE_NAMES = tuple(f.name for f in fields(Incident) if f.name not in (*_BESIDE, "octets"))


class Wanted(NamedTuple):
    """The filters: what an incident is narrowed down to; None means all."""

    peer: str | None = None
    host: str | None = None
    message: str | None = None
    since: pd.Timestamp | None = None
    until: pd.Timestamp | None = None


ALL = Wanted()


def load(
    *inputs: str | os.PathLike[str],
    timezone: str | None = None,
    peer: str | None = None,
    host: str | None = None,
    message: str | None = None,
    since: str | None = None,
    until: str | None = None,
    workers: Workers | None = None,
) -> Incident:
    """Read captures, Exim logs and message files, and join them.

    Parameters
    ----------
    *inputs
        Files, folders of these, or one folder that ``smtpkit tables`` wrote, also by the URLs of any file
        system that fsspec knows; ``-`` is standard input. What a file is, is found from its content.
    timezone
        Zone of a log without one, such as ``Europe/Berlin``; by default the one that joins best with the
        capture, else this machine's.
    peer, host, message
        Keep only this server's (or client's) address, this host name of the log, this message id.
    since, until
        Keep only connections and attempts that touch this span; ISO 8601, UTC if without zone.
    workers
        Who reads the files: by default this machine.

    Returns
    -------
    Incident
        An input that cannot be used is in `inputs` with its `error`, what was left out in `skipped`: where
        there is more than `reading.MOST` or than `logs.LARGE` bytes of logs, that stays on which something
        went wrong.

    Raises
    ------
    InputError
        A filter or the zone cannot be understood.
    """
    wanted = check(timezone=timezone, peer=peer, host=host, message=message, since=since, until=until)
    workers = workers or Here()
    cached = [path for path in map(normal, inputs) if _is_stored(path)]
    if cached and (len(inputs) > 1 or timezone is not None):
        raise InputError(f"{cached[0]}: a folder of tables goes alone and has its zone; leave the rest out")
    if cached:
        return _narrow(_from_tables(cached[0]), wanted, workers)
    found = list(_expand(inputs))
    files = _once(workers.map(_identify, [path for path, _ in found], [named for _, named in found]))
    of_kind = {
        kind: [file for file in files if file["kind"] == kind] for kind in ("capture", "log", "message")
    }
    captured = _read_captures(of_kind["capture"], _of_interest(wanted, of_kind["log"], workers), workers)
    log, zone = _read_logs(of_kind["log"], timezone, captured, wanted, workers)
    messages = _read_content(of_kind["message"], workers)
    return _narrow(_assemble(files, captured, log, messages, zone), wanted, workers)


# --- what the inputs are --------------------------------------------------------------------------------


def _expand(inputs: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[str, bool]]:
    """Yield files with whether they were named; folders are walked, in order, regular files only."""
    for path in map(normal, inputs):
        below = [file for file in walk(path) if file.rpartition("/")[2] != "truth.json"]
        yield from ((file, False) for file in below)
        if not below:
            yield path, True


def _once(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what is given twice, under whatever name: nothing counts double."""
    first: dict[str, dict[str, Any]] = {}
    for file in files:
        first.setdefault(file["path"] if pd.isna(file["sha256"]) else file["sha256"], file)
    return list(first.values())


def _identify(path: str, named: bool) -> dict[str, Any]:
    """Return the file's row of `inputs`; its kind from its content."""
    row = {"path": path, "kind": "other", "sha256": pd.NA, "rows": 0, "named": named, "error": pd.NA}
    if os.path.isdir(path):
        return row | {"error": f"{path}: holds no files; nothing was analysed of it"}
    if os.path.exists(path) and not os.path.isfile(path):
        return row | {"error": f"{path}: is no regular file; give a file or a folder"}
    try:
        with open_input(path) as file:
            head, damage = file.read(HEAD), file.damage
        row["sha256"] = _sha256(path)
    except (OSError, EOFError, ValueError) as error:
        return row | {
            "error": f"{path}: cannot be read ({_reason(error)}); check the name and the permissions"
        }
    if not head:
        return row | {"error": f"{path}: {damage or 'is empty'}; nothing was analysed of it"}
    for kind, matches in (("capture", is_capture), ("log", exim.sniff), ("message", content.sniff)):
        if matches(head):
            return row | {"kind": kind}
    wanted = "a pcap or pcapng capture, an Exim log or a message (RFC 5322)"
    return row | {"error": f"{path}: is of no known kind; give {wanted}"}


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _sha256(path: str) -> str:
    with open_raw(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- captures -------------------------------------------------------------------------------------------


class Captured(NamedTuple):
    """What the captures hold."""

    captures: pd.DataFrame
    traffic: Traffic
    skipped: pd.DataFrame
    paths: list[list[str]]  # of each capture, by its number


def _read_captures(files: list[dict[str, Any]], of_interest: OfInterest | None, workers: Workers) -> Captured:
    rotations = [[file["path"] for file in rotation] for rotation in _rotations(files)]
    readings = workers.captures(rotations, of_interest)
    for one in readings:
        _note_errors([file for file in files if file["path"] in one.paths], one)
    traffic = [one.traffic for one in readings] or [nothing()]
    found = whole(traffic, [file["path"] for file in files])
    rows = found.counts.groupby("file")["rows"].sum()
    for file in files:
        file["rows"] = int(rows.get(file["path"], 0))
    return Captured(
        tables.concat([one.captures for one in readings], "captures"),
        found,
        tables.concat(
            [_skipped(one.skipped, one.paths, one.left_out, workers) for one in readings], "skipped"
        ),
        [list(one.paths) for one in readings],
    )


def _note_errors(files: list[dict[str, Any]], found: reading.Reading) -> None:
    """Mark the files that are no captures, or hold nothing."""
    error = found.error
    if error is None and (found.captures["packets"] == 0).all():
        error = f"{files[0]['path']}: holds no packets; take the capture again"
    unread = found.skipped.loc[found.skipped["reason"] == "no capture", ["file", "where"]]
    for file in files:
        if why := dict(unread.to_numpy()).get(file["path"], error):
            file |= {"kind": "other", "error": why}


def _skipped(
    skipped: pd.DataFrame, paths: Iterable[str], left_out: Mapping[str, int], workers: Workers
) -> pd.DataFrame:
    """Add what there was no room for, unless the workers keep it."""
    left_out = {} if workers.keeps_all else left_out
    return with_left_out(skipped, ", ".join(paths), left_out, "; filters leave more room")


def _rotations(files: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Group files that may be one rotation (tcpdump -C, -G, dumpcap -b): names that differ in digits only."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        path = Path(file["path"])
        groups.setdefault(str(path.with_name(re.sub(r"\d+", "", path.name))), []).append(file)
    return list(groups.values())


# --- logs and messages ----------------------------------------------------------------------------------


def _read_logs(
    files: list[dict[str, Any]],
    timezone: str | None,
    captured: Captured,
    wanted: Wanted,
    workers: Workers,
) -> tuple[exim.Log, tuple[str | None, str]]:
    """Read the logs in the zone given, else in the one that joins best, else in this machine's."""
    of_interest = None if wanted == ALL else partial(_matching, wanted=wanted)
    try:
        paths = [file["path"] for file in files]
        zone, looked = _choose_zone(paths, timezone, captured, workers)
        found = looked if looked and zone[0] == "UTC" and not looked.left_out else None
        found = found or workers.logs(paths, zone[0], of_interest, first=_meanwhile(captured))
    except exim.LogError:
        sound = _sound(files, workers)
        return _read_logs(sound, timezone, captured, wanted, workers)
    for file in files:
        file["rows"] = int(found.rows.get(file["path"], 0))
    return found.log._replace(skipped=_skipped(found.log.skipped, paths, found.left_out, workers)), zone


def _sound(files: list[dict[str, Any]], workers: Workers) -> list[dict[str, Any]]:
    """Read each log alone, to find those that cannot be read; keep the reasons."""
    for file, error in zip(files, workers.map(_why_no_log, [file["path"] for file in files]), strict=True):
        if error:
            file |= {"kind": "other", "error": error}
    return [file for file in files if file["kind"] == "log"]


def _why_no_log(path: str) -> str | None:
    try:
        for _ in exim.Reader(path):
            pass
    except exim.LogError as error:
        return str(error)
    return None


def _choose_zone(
    paths: list[str], timezone: str | None, captured: Captured, workers: Workers
) -> tuple[tuple[str | None, str], logs.Reading | None]:
    """Return the zone of the logs, and why; and the logs as if it were UTC, if they had to be read for it."""
    if timezone is not None:
        return (timezone, "as given"), None
    if not paths:
        return ("UTC", "there is no log"), None
    if all(workers.map(_zoned, paths)):
        return ("UTC", "the log's stamps have their zone"), None
    if captured.traffic.counts.empty:
        return (None, "this machine's zone, for want of a better one"), None
    looked = workers.logs(paths, "UTC", first=_meanwhile(captured), final=False)
    traffic = captured.traffic
    ahead = join.zone_offset(looked.log.attempts, traffic.connections, traffic.transactions)
    if ahead is None:
        return (None, "this machine's zone: no offset joins log and capture clearly"), looked
    minutes = round(ahead.total_seconds() / 60)
    sign = "+" if minutes >= 0 else "-"
    zone = "UTC" if not minutes else f"{sign}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"
    return (zone, "the offset at which log and capture join best"), looked


def _meanwhile(captured: Captured) -> Choice | None:
    """Return what marks the attempts of a log, of any zone, that a capture may hold."""
    ends = captured.traffic.connections
    if ends.empty:
        return None
    zone = pd.Timedelta(seconds=join.FARTHEST_ZONE)
    span = Wanted(since=ends["start"].min() - zone, until=ends["end"].max() + zone)
    return partial(_matching, wanted=span)


def _zoned(path: str) -> bool:
    """Say whether the first stamp of a log has a zone (log_timezone)."""
    with open_input(path) as file:
        found = _STAMP.search(file.read(HEAD))
    return found is not None and found[1] is not None


def _read_content(files: list[dict[str, Any]], workers: Workers) -> pd.DataFrame:
    """Measure the messages; the -H file of Exim's spool is read with its -D file."""
    bodies = {file["path"] for file in files}
    alone = [file for file in files if not content.is_header_of(file["path"], bodies)]
    rows = []
    for file, found in zip(alone, workers.map(_measure, [file["path"] for file in alone]), strict=True):
        if isinstance(found, content.ContentError):
            file |= {"kind": "other", "error": str(found)}
        else:
            rows.append(found)
            file["rows"] = 1
    return tables.concat(rows, "content")


def _measure(path: str) -> pd.DataFrame | content.ContentError:
    try:
        return content.read_content(path)
    except content.ContentError as error:
        return error


# --- assembly -------------------------------------------------------------------------------------------


def _assemble(
    files: list[dict[str, Any]],
    captured: Captured,
    log: exim.Log,
    messages: pd.DataFrame,
    zone: tuple[str | None, str],
) -> Incident:
    traffic = captured.traffic
    connections = traffic.connections
    attempts = join.join(log.attempts, connections, traffic.transactions, log.messages)
    captures = captured.captures.set_index("capture", drop=False)
    captures["clock_offset"] = join.clock_offset(attempts, connections).reindex(captures.index)
    counts = traffic.counts.groupby("capture")[["acked_unseen", "captured_twice", "icmp", "icmpv6"]].sum()
    captures = captures.assign(**counts.reindex(captures.index, fill_value=0))
    for number, one in connections.groupby("capture"):
        captures.loc[number, ["vantage", "vantage_reason"]] = tcp.vantage(one)
    return Incident(
        captures=tables.conform(captures.reset_index(drop=True), "captures"),
        packets=traffic.packets,
        connections=connections,
        stalls=traffic.stalls,
        sizes=traffic.sizes,
        path_mtu=mtu.path_mtu(traffic.sizes, connections, traffic.stalls, captures),
        loss_rates=mtu.loss_rates(traffic.sizes, connections),
        sessions=traffic.sessions,
        transactions=traffic.transactions,
        dialogue=traffic.dialogue,
        log_lines=log.log_lines,
        messages=log.messages,
        attempts=attempts,
        content=tables.concat([messages, traffic.content], "content"),
        inputs=tables.from_rows(files, "inputs"),
        skipped=tables.concat([captured.skipped, log.skipped], "skipped"),
        timezone=zone[0] or LOCAL,
        timezone_reason=zone[1],
        octets=octets.from_files(attempts, messages)
        or octets.from_captures(captured.paths, connections, traffic.transactions),
    )


def _octets_again(frames: dict[str, pd.DataFrame]) -> dict[str, bytes]:
    """Read the messages to compare from the files that the tables are of, while these are still there."""
    places = frames["packets"][["capture", "file"]].drop_duplicates().astype({"file": str})
    paths = [places.loc[places["capture"] == n, "file"].tolist() for n in frames["captures"]["capture"]]
    try:
        return octets.from_files(frames["attempts"], frames["content"]) or octets.from_captures(
            paths, frames["connections"], frames["transactions"]
        )
    except (OSError, CaptureError):
        return {}


def log_time(incident: Incident) -> Callable[[pd.Timestamp], str]:
    """Return what writes a time as the log has it, in the zone that it was read in."""
    zone = exim.zone(None if incident.timezone == LOCAL else incident.timezone)
    return lambda time: "" if pd.isna(time) else f"{time.to_pydatetime(warn=False).astimezone(zone):%F %T %z}"


def to_tables(incident: Incident) -> dict[str, pd.DataFrame]:
    """Return the tables by name, as `load` takes them back from a folder of Parquet files.

    What is no table goes with the table `inputs`, in its `attrs`.
    """
    frames = {name: getattr(incident, name) for name in TABLE_NAMES}
    frames["inputs"] = frames["inputs"].copy()
    frames["inputs"].attrs = {name: getattr(incident, name) for name in _BESIDE}
    return frames


def _is_stored(path: str) -> bool:
    try:
        return exists(below(path, "packets.parquet"))
    except OSError:
        return False  # whoever opens it says why


def _from_tables(folder: str) -> Incident:
    """Read a folder that `smtpkit tables` wrote."""
    try:
        read = stored.read(folder, TABLE_NAMES)
        frames: dict[str, Any] = {name: _restore(frame, name) for name, frame in read.items()}
        beside = {name: read["inputs"].attrs[name] for name in _BESIDE}
        saved = _saved_octets(folder)
        read_again = saved is None and not beside["redacted"]
        return Incident(**frames, **beside, octets=_octets_again(frames) if read_again else saved or {})
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder}: not a folder of `smtpkit tables` ({_reason(error)}); write it anew"
        ) from error


def save(incident: Incident, folder: Path) -> None:
    """Write an incident whole, for another process of this user: tables as in `to_tables`, and octets."""
    for name, frame in to_tables(incident).items():
        frame.to_parquet(folder / f"{name}.parquet")
    octets = {"message_id": list(incident.octets), "octets": list(incident.octets.values())}
    pd.DataFrame(octets).to_parquet(folder / _OCTETS)


def _saved_octets(folder: str) -> dict[str, bytes] | None:
    """Return what `save` wrote beside the tables; None where others wrote them."""
    if not exists(below(folder, _OCTETS)):
        return None
    held = pd.read_parquet(below(folder, _OCTETS))
    return dict(zip(held["message_id"], held["octets"], strict=True))


def _restore(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    if name != "packets":
        return tables.conform(frame, name)
    return pd.concat([tables.conform(frame, name), tables.conform(frame, "analysis")], axis="columns")


# --- filters --------------------------------------------------------------------------------------------


def check(
    *,
    timezone: str | None = None,
    peer: str | None = None,
    host: str | None = None,
    message: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Wanted:
    """Return the filters of `load`, understood.

    Raises
    ------
    InputError
        One of them, or the zone, cannot be understood.
    """
    try:
        exim.zone(timezone)
    except exim.LogError as error:
        raise InputError(str(error)) from error
    return Wanted(_address(peer), host, message, _time(since, "since"), _time(until, "until"))


def _address(text: str | None) -> str | None:
    try:
        return None if text is None else str(ip_address(text))
    except ValueError:
        raise InputError(f"peer {text!r} is not an IP address; give one such as 192.0.2.1") from None


def _time(text: str | None, name: str) -> pd.Timestamp | None:
    if text is None:
        return None
    time = pd.to_datetime(text, errors="coerce")
    if pd.isna(time):
        raise InputError(f"{name} {text!r} is not a time; give one such as 2026-01-31T12:00")
    return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")


def _of_interest(wanted: Wanted, files: list[dict[str, Any]], workers: Workers) -> OfInterest | None:
    """Return the filters as they act while captures are read: all that `_narrow` may keep passes."""
    if wanted == ALL:
        return None
    named = wanted._replace(peer=None, since=None, until=None)
    if named == ALL:
        return partial(_may_be_wanted, wanted, None)
    try:
        paths = [file["path"] for file in files]
        attempts = workers.logs(paths, "UTC", partial(_matching, wanted=named), final=False).log.attempts
    except exim.LogError:
        return partial(_may_be_wanted, wanted, None)
    ends = attempts.loc[_matching(attempts, named), ["client", "peer"]]
    known = ends.notna().any(axis="columns").all()
    return partial(_may_be_wanted, wanted, {*ends["client"], *ends["peer"]} if known else None)


def _may_be_wanted(
    wanted: Wanted, ends: set[str] | None, connections: pd.DataFrame, transactions: pd.DataFrame
) -> pd.DataFrame:
    """Return the connections that a filter may want; `ends` are addresses of the host or message wanted."""
    keep = _within(connections["start"], connections["end"], wanted)
    if wanted.peer:
        keep &= (connections["server"] == wanted.peer) | (connections["client"] == wanted.peer)
    if ends is not None:
        named = transactions[transactions["message_id"] == wanted.message]
        keep &= (
            connections["server"].isin(ends) | connections["client"].isin(ends) | among(connections, named)
        )
    return connections[keep.fillna(False).astype(bool)]


def _narrow(incident: Incident, wanted: Wanted, workers: Workers) -> Incident:
    """Keep the attempts and whole connections that the filters want, here and with the workers."""
    if wanted == ALL:
        return incident
    attempts = incident.attempts[_matching(incident.attempts, wanted)]
    connections = incident.connections[_wanted_connections(incident, attempts, wanted)]
    ids = {*attempts["message_id"].dropna(), wanted.message}
    of_connections = partial(among, keys=connections[KEY])
    large: dict[str, Choice] = {
        "packets": partial(_of_these_or_none, keys=connections[KEY]),
        "dialogue": of_connections,
        "log_lines": partial(_of_messages, ids=ids),
    }
    workers.narrow(large)
    chosen = large | dict.fromkeys(("stalls", "sizes", "sessions", "transactions"), of_connections)
    chosen |= dict.fromkeys(("messages", "content"), large["log_lines"])
    kept = {name: (frame := getattr(incident, name))[marks(frame)] for name, marks in chosen.items()}
    return Incident(
        **{f.name: getattr(incident, f.name) for f in fields(Incident)}
        | kept
        | {
            "connections": connections,
            "path_mtu": mtu.path_mtu(kept["sizes"], connections, kept["stalls"], incident.captures),
            "loss_rates": mtu.loss_rates(kept["sizes"], connections),
            "attempts": attempts,
        }
    )


def _matching(attempts: pd.DataFrame, wanted: Wanted) -> pd.Series:
    keep = pd.Series(True, index=attempts.index)
    if wanted.peer:
        keep &= (attempts["peer"] == wanted.peer) | (attempts["client"] == wanted.peer)
    if wanted.host:
        keep &= attempts["host"].str.lower() == wanted.host.lower()
    if wanted.message:
        keep &= attempts["message_id"] == wanted.message
    keep &= _within(attempts["start"].fillna(attempts["end"]), attempts["end"], wanted)
    return keep.fillna(False).astype(bool)


def _within(start: pd.Series, end: pd.Series, wanted: Wanted) -> pd.Series:
    keep = pd.Series(True, index=start.index)
    if wanted.since is not None:
        keep &= end >= wanted.since
    if wanted.until is not None:
        keep &= start <= wanted.until
    return keep


def _wanted_connections(incident: Incident, attempts: pd.DataFrame, wanted: Wanted) -> pd.Series:
    """By address and time; a message's hold its id or join it, a host's go to its addresses."""
    connections, held = incident.connections, incident.transactions
    keep = _within(connections["start"], connections["end"], wanted)
    if wanted.peer:
        keep &= (connections["server"] == wanted.peer) | (connections["client"] == wanted.peer)
    if wanted.host:
        keep &= connections["server"].isin(attempts["peer"])
    if wanted.message:
        named = held[held["message_id"] == wanted.message]
        keep &= among(connections, pd.concat([frame[KEY] for frame in (attempts.dropna(subset=KEY), named)]))
    return keep.fillna(False).astype(bool)


def _of_these_or_none(packets: pd.DataFrame, keys: pd.DataFrame) -> pd.Series:
    """Mark the packets of these connections, and those that belong to none."""
    return among(packets, keys) | packets["stream"].isna()


def _of_messages(frame: pd.DataFrame, ids: set[str | None]) -> pd.Series:
    return frame["message_id"].isin(ids)
