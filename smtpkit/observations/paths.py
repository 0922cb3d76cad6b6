"""The decision table: what was seen of each path, connection and message, with its sources.

An observation is true, false or <NA>: not observable. Causes are judged by these rows alone, so that an
analyst can print them and check the verdict by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from smtpkit import correlation, mtu, tables
from smtpkit.addresses import is_ipv6
from smtpkit.incident import Incident
from smtpkit.observations.statement import IN_DATA, first, frame, number, seen, spread
from smtpkit.tables import among

LONGEST_LINE = 512  # octets of a command or reply, RFC 5321 4.5.3.1.4; more is message data
TO_ACT = pd.Timedelta(seconds=1)  # for an ICMP message to change what its receiver sends
TIMES = 3  # repeats of one segment that make an observation of their spacing
EXPONENTIAL = (1.5, 3.0)  # ratio of successive intervals; RFC 6298 5.5 doubles
FIRST_PROBE = 1024 + 100  # bytes: a first probe and its headers (RFC 4821 7.2)
RARE = 0.01  # probability below which it was not the path's loss


@dataclass(frozen=True)
class Path:
    """The rows of an incident that concern one capture, client, server and direction."""

    incident: Incident
    row: Any  # of path_mtu

    @cached_property
    def connections(self) -> pd.DataFrame:
        """The path's connections."""
        all_ = self.incident.connections
        same = (all_["capture"] == self.row.capture) & (all_["client"] == self.row.client)
        return all_[same & (all_["server"] == self.row.server)]

    def of(self, table: str) -> pd.DataFrame:
        """Return the rows of a per-connection table that belong to this path and direction."""
        frame = getattr(self.incident, table)
        same = (frame["capture"] == self.row.capture) & (frame["direction"] == self.row.direction)
        return frame[same & frame["stream"].isin(self.connections["stream"])]

    @cached_property
    def stuck(self) -> pd.DataFrame:
        """The stalls at a packet of the size that is lost, or at packets that never came by."""
        stalls = self.of("stalls")
        stuck = stalls["repeat_ip_len"] >= self.row.lost
        if self.in_pieces:
            stuck = (stalls["repeats"] >= TIMES) & (stalls["ended_by"] != "acknowledgment")
        elif self.row.inferred:
            stuck = stalls["missing"]
        return stalls[stuck.fillna(False).astype(bool)]

    @property
    def in_pieces(self) -> bool:
        """Of the lost packets some fragments are in the capture."""
        return bool(self.row.inferred) and mtu.never_whole(self.row._asdict())

    @cached_property
    def round_trip_loss(self) -> float:
        """Share of small packets, or their answers, that are lost on connections that do not stand still."""
        sizes = self.incident.sizes
        small = among(sizes, self.connections) & ~(sizes["ip_len"] >= self.row.lost).fillna(False)
        others = sizes[small & ~sizes["offload"] & ~sizes["stream"].isin(self.stuck["stream"])]
        lost, sent = _counts(others)
        return 1 - (1 - lost / sent) ** 2 if sent else 0.0

    @cached_property
    def attempts(self) -> pd.DataFrame:
        """The log's attempts at this server."""
        attempts = self.incident.attempts
        return attempts[(attempts["peer"] == self.row.server) & (attempts["client"] == self.row.client)]


def observe_paths(incident: Incident, failed: set[str]) -> Iterator[dict[str, Any]]:
    """Yield what was seen of packet sizes on each path that lost some, or to a server where mail `failed`."""
    servers = _smtp_servers(incident)
    rows: Iterator[Any] = incident.path_mtu.itertuples(index=False)
    for row in rows:
        if row.server in servers and (row.server in failed or not pd.isna(row.lost)):
            path = Path(incident, row)
            place = _place(path) | {"source": f"all of {_files(path)}"}
            yield from (place | found for found in _path_observations(path))


def _files(path: Path) -> str:
    captures = path.incident.captures
    return captures.loc[captures["capture"] == path.row.capture, "files"].str.cat(sep=", ")


def _smtp_servers(incident: Incident) -> set[str]:
    """Return the servers on SMTP's ports, and those that the log names."""
    ends = incident.connections
    return {
        *ends.loc[ends["server_port"].isin(tables.SMTP_PORTS), "server"],
        *incident.attempts["peer"].dropna(),
    }


def _place(path: Path) -> dict[str, Any]:
    row = path.row
    where = {"peer": row.server, "client": row.client, "direction": row.direction, "capture": row.capture}
    return where | {"manner": "stall"}


def _path_observations(path: Path) -> Iterator[dict[str, Any]]:
    if pd.isna(path.row.lost) or path.stuck.empty:
        sentence = "No packet was sent in vain again and again while smaller ones passed."
        yield seen("oversize_lost", False, sentence)
        return
    about = [observe(path) for observe in _ABOUT_LOSS]
    yield from about
    yield _oversize_only({row["observation"]: row["value"] for row in about})
    yield from _connection_observations(path)
    yield from _message_observations(path)


def _oversize_lost(path: Path) -> dict[str, Any]:
    row, sizes = path.row, path.of("sizes")
    if path.in_pieces:
        sentence = (
            f"Of {row.fragmented} packets cut up on the way {row.fragmented - row.reassembled} never became "
            f"whole, one and the same segment up to {path.stuck['repeats'].max() + 1} times; the MSS allows "
            f"packets of {row.full_size} bytes."
        )
        return seen("oversize_lost", True, sentence, first(path.stuck))
    if row.inferred:
        gap, count = path.stuck["gap"].max(), path.stuck["stream"].nunique()
        sentence = (
            f"Data that was sent never came by here, on {number(count, 'connection')}: up to {gap} bytes "
            f"are missing in front of what did come. The MSS allows packets of {row.full_size} bytes."
        )
        return seen("oversize_lost", True, sentence, first(path.stuck))
    lost = sizes[(sizes["ip_len"] >= row.lost) & (sizes["lost"] > 0)].sort_values("first_lost")
    times, count = lost["times_lost"].max(), lost["stream"].nunique()
    sentence = (
        f"Packets of {spread(lost['ip_len'])} bytes were sent in vain, one and the same segment up to "
        f"{times} times, on {number(count, 'connection')}."
    )
    return seen("oversize_lost", True, sentence, frame(lost["file"].iloc[0], lost["frame_lost"].iloc[0]))


def _smaller_pass(path: Path) -> dict[str, Any]:
    row, sizes = path.row, path.of("sizes")
    small = sizes[(sizes["delivered"] > 0) & ~(sizes["ip_len"] >= row.lost).fillna(False)]
    if small.empty:
        return seen("smaller_pass", False, "No data packet is known to have been delivered.")
    largest = small.sort_values("ip_len").iloc[-1]
    sentence = f"Packets of up to {largest['ip_len']} bytes were delivered on the same path."
    return seen("smaller_pass", True, sentence, frame(largest["file"], largest["frame_delivered"]))


def _oversize_delivered(path: Path) -> dict[str, Any]:
    row = path.row
    if not row.delivered_above:
        changed = not (pd.isna(row.broke_at) and pd.isna(row.fixed_at))
        return seen("oversize_delivered", pd.NA if changed else False, _never_delivered(row))
    sizes = path.of("sizes")
    large = sizes[(sizes["ip_len"] >= row.lost) & (sizes["delivered"] > 0)].iloc[0]
    sentence = f"{row.delivered_above} packets of {row.lost} bytes or more were delivered meanwhile."
    return seen("oversize_delivered", True, sentence, frame(large["file"], large["frame_delivered"]))


def _never_delivered(row: Any) -> str:
    """Tell when packets of the size were not delivered; why they were at another time is not observable."""
    sentence = f"No packet of {row.lost} bytes or more was delivered"
    if not pd.isna(row.broke_at):
        sentence += f" from {row.broke_at:%F %T} UTC on"
    return sentence + ("." if pd.isna(row.fixed_at) else f" before {row.fixed_at:%F %T} UTC.")


def _loss_explains(path: Path) -> dict[str, Any]:
    """Hold the loss of the large packets against that of smaller ones of the same direction."""
    single = path.of("sizes")[lambda sizes: ~sizes["offload"]]
    large = (single["ip_len"] >= path.row.lost).fillna(False)
    (lost, sent), (others_lost, others) = _counts(single[large]), _counts(single[~large])
    chance = correlation.fewer_failures(lost, sent, others_lost, others)
    explains = lost > 0 and others_lost > 0 and chance > RARE
    sentence = (
        f"Of {number(sent, 'packet')} of {path.row.lost} bytes or more {lost} were lost, of {others} smaller "
        f"ones {others_lost}: by chance in {chance:.2g} of all cases."
    )
    return seen("loss_explains", explains, sentence)


def _counts(sizes: pd.DataFrame) -> tuple[int, int]:
    """Count the packets lost, and all whose fate is known."""
    return int(sizes["lost"].sum()), int((sizes["sent"] - sizes["undecided"]).sum())


def _fragmentable(path: Path) -> dict[str, Any]:
    if is_ipv6(path.row.client):
        return seen("fragmentable", False, "IPv6: no router fragments on the way (RFC 8200 5).")
    if pd.isna(path.row.df):
        return seen(
            "fragmentable", pd.NA, "Whether the lost packets had DF set: they are not in the capture."
        )
    sentence = "The lost packets had DF set." if path.row.df else "The lost packets did not have DF set."
    return seen("fragmentable", not path.row.df, sentence)


def _reassembly_exceeded(path: Path) -> dict[str, Any]:
    row = path.row
    if not row.reassembly_exceeded:
        sentence = "Whether ICMP tells of fragments that never became whole: no such message is at hand."
        return seen("reassembly_exceeded", False if _icmp_visible(path) else pd.NA, sentence)
    sentence = (
        f"{number(row.reassembly_exceeded, 'ICMP message')} of the receiver: time exceeded in reassembly."
    )
    return seen("reassembly_exceeded", True, sentence, first(path.stuck))


def _window_closed(path: Path) -> dict[str, Any]:
    window = path.stuck["window"].dropna()
    if window.empty:
        return seen("window_closed", pd.NA, "The receiver's window is not in the capture.")
    closed = bool((window < path.row.lost).all())
    sentence = f"The receiver's window stayed open ({window.min()} bytes at the least)."
    return seen("window_closed", closed, "The receiver's window had no room for it." if closed else sentence)


def _acknowledged(path: Path) -> dict[str, Any]:
    stuck = path.stuck[path.stuck["ended_by"] != "acknowledgment"]
    bytes_ = int(stuck["outstanding"].max()) if len(stuck) else 0
    sentence = (
        f"The data never arrived: up to {bytes_} bytes of a connection stayed unacknowledged to the end."
        if bytes_
        else "In the end all was acknowledged."
    )
    return seen("acknowledged", not bytes_, sentence, first(stuck))


def _same_size_repeats(path: Path) -> dict[str, Any]:
    repeated = path.stuck[path.stuck["repeats"] >= TIMES]
    if repeated.empty:
        sentence = "Repeats of the lost packets: they are not in the capture."
        return seen("same_size_repeats", pd.NA if path.row.inferred else False, sentence)
    backoff = repeated["backoff"].median()
    if pd.isna(backoff):
        return seen(
            "same_size_repeats", pd.NA, "How far the repeats are apart: their time stamps are the same."
        )
    worst = repeated.sort_values("repeats").iloc[-1]
    sentence = (
        f"The same segment was sent again {worst['repeats']} times, from {worst['first_interval']:.2g} s to "
        f"{worst['last_interval']:.3g} s apart: retransmission timeouts, each {backoff:.1f} times the last."
    )
    growing = EXPONENTIAL[0] <= backoff <= EXPONENTIAL[1]
    return seen("same_size_repeats", growing, sentence, frame(worst["file"], worst["frame"]))


def _smaller_repeat_passed(path: Path) -> dict[str, Any]:
    stuck = path.stuck
    shrunk = stuck[
        (stuck["ended_by"] == "acknowledgment") & (stuck["smallest_repeat_ip_len"] < path.row.lost)
    ]
    if shrunk.empty:
        return seen("smaller_repeat_passed", False, "The bytes were never repeated in a smaller packet.")
    size = shrunk["smallest_repeat_ip_len"].iloc[0]
    sentence = f"The same bytes in a packet of {size} bytes were acknowledged at once."
    return seen("smaller_repeat_passed", True, sentence, first(shrunk))


def _too_big_ignored(path: Path) -> dict[str, Any]:
    row, lost = path.row, _lost_after_too_big(path)
    sentence = (
        f"{number(row.too_big, 'ICMP too-big message')} reached the capture, naming an MTU of "
        f"{row.next_hop_mtu}, and packets of {row.lost} bytes were sent all the same."
    )
    if lost.empty:
        return seen("too_big_ignored", False, "No ICMP too-big message was ignored.")
    return seen("too_big_ignored", True, sentence, frame(lost["file"].iloc[0], lost["frame_lost"].iloc[0]))


def _too_big_effective(path: Path) -> dict[str, Any]:
    if size := _went_on_smaller(path):
        sentence = (
            f"All of it came in the end, in packets of {size} bytes: more than probing begins with, so the "
            "sender was told the path MTU. Path MTU discovery works, if late."
        )
        return seen("too_big_effective", True, sentence, first(path.stuck))
    took = bool(path.row.too_big) and _lost_after_too_big(path).empty
    sentence = (
        "After the ICMP too-big message no packet of that size was sent: path MTU discovery works, if late."
        if took
        else "No ICMP too-big message took effect."
    )
    return seen("too_big_effective", took, sentence)


def _went_on_smaller(path: Path) -> int | None:
    """Return the size in which all that was missing behind the loss came at last, if no probe is as large."""
    stuck = path.stuck
    if not path.row.inferred or (stuck["ended_by"] != "acknowledgment").any():
        return None
    sizes = path.of("sizes").merge(stuck[["stream", "start", "end"]], on="stream")
    came = (sizes["first_delivered"] > sizes["start"]) & (sizes["first_delivered"] <= sizes["end"])
    largest = sizes.loc[came & (sizes["ip_len"] < path.row.lost), "ip_len"].max()
    return None if pd.isna(largest) or largest <= FIRST_PROBE else int(largest)


def _lost_after_too_big(path: Path) -> pd.DataFrame:
    """Return the sizes of which copies were still lost when the ICMP message had had time to act."""
    first = f"first_too_big_{path.row.direction}"
    sizes = path.of("sizes").merge(path.connections[["stream", first]], on="stream")
    late = (sizes["ip_len"] >= path.row.lost) & (sizes["last_lost"] > sizes[first] + TO_ACT)
    return sizes[late.fillna(False).astype(bool)]


def _too_big_missing(path: Path) -> dict[str, Any]:
    row = path.row
    if row.too_big:
        return seen("too_big_missing", False, "ICMP too-big messages are in the capture.")
    if not _icmp_visible(path):
        sentence = (
            "Whether ICMP too-big messages came back: the capture holds no ICMP at all, its filter may leave "
            "them out."
        )
        return seen("too_big_missing", pd.NA, sentence)
    sentence = "No ICMP too-big message came back, though the capture holds ICMP or lets it pass."
    return seen("too_big_missing", True, sentence)


def _icmp_visible(path: Path) -> bool:
    captures = path.incident.captures
    here = captures[captures["capture"] == path.row.capture]
    kind, word = ("icmpv6", "icmp6") if is_ipv6(path.row.client) else ("icmp", "icmp")
    return bool((here[kind] > 0).any()) or any(_lets_pass(text, word) for text in here["filter"].dropna())


def _lets_pass(capture_filter: str, word: str) -> bool:
    """Say whether a filter surely lets `word` pass; one that excludes anything is not read further."""
    words = capture_filter.replace("(", " ").replace(")", " ").split()
    return word in words and not {"not", "!"} & set(words) and "!" not in capture_filter


def _tail_passed(path: Path) -> dict[str, Any]:
    passed = path.stuck[path.stuck["passed"] > 0]
    count = int(passed["passed"].sum())
    sentence = (
        f"On {number(passed['stream'].nunique(), 'stuck connection')} "
        f"{number(count, 'smaller packet')} behind the lost ones arrived."
        if count
        else "No smaller packet behind the lost ones is known to have arrived."
    )
    return seen("tail_passed", bool(count), sentence, first(passed))


def _smaller_lost(path: Path) -> dict[str, Any]:
    # A reply that is repeated on and on: the small packets that acknowledge it do not arrive either.
    deaf = path.stuck["repeated_reply"] >= TIMES
    known = path.stuck[path.stuck["not_passed"].notna() | deaf]
    small = (known["smallest_not_passed"] <= path.row.delivered) & (known["passed"] == 0)
    lost = known[small.fillna(False) | deaf[known.index]]
    passed = known[known["passed"] > 0]
    if known.empty:
        return seen("smaller_lost", pd.NA, "Whether smaller packets behind the lost ones died: without SACK.")
    if len(lost) > len(passed) and _by_chance(path, lost["not_passed"].fillna(0) + lost["repeated_reply"]):
        return seen("smaller_lost", pd.NA, _MAY_BE_LOSS)
    sentence = (
        f"On {number(lost['stream'].nunique(), 'stuck connection')} smaller packets, too, never arrived."
        if len(lost) > len(passed)
        else "Smaller packets behind the lost ones were not lost."
    )
    return seen("smaller_lost", len(lost) > len(passed), sentence, first(lost))


def _silent(path: Path) -> dict[str, Any]:
    # A connection that is captured from its stall on may have been answered before.
    begun = path.connections.loc[path.connections["handshake"] == "complete", "stream"]
    known = path.stuck[path.stuck["stream"].isin(begun) & ~path.stuck["missing"].fillna(False).astype(bool)]
    if known.empty:
        return seen("silent", pd.NA, "Whether the other side reacted when the connections came to a halt.")
    quiet = known[(known["peer_packets"] == 0) & (known["passed"] == 0)]
    silent = 2 * len(quiet) > len(known)
    if silent and _by_chance(path, quiet["not_passed"].fillna(0)):
        return seen("silent", pd.NA, _MAY_BE_LOSS)
    sentence = (
        f"On {number(len(quiet), 'stuck connection')} nothing at all came back any more."
        if silent
        else "The other side still answered on connections that stand still."
    )
    return seen("silent", silent, sentence, first(quiet if silent else known))


_MAY_BE_LOSS = "Whether smaller packets pass on the connections that stand still: loss may have taken them."


def _by_chance(path: Path, in_vain: pd.Series) -> bool:
    """Say whether loss at this rate may have taken the small packets in vain, at least one on each."""
    return bool(path.round_trip_loss ** in_vain.clip(lower=1).sum() > RARE)


def _unscaled_window(path: Path) -> dict[str, Any]:
    sizes, direction = path.of("sizes"), path.row.direction
    scale = path.connections["window_scale_server" if direction == "forward" else "window_scale_client"]
    if not (scale > 0).any():
        return seen("unscaled_window", False, "The receiver's window is not known to be scaled.")
    within, beyond = sizes["lost_within_window"].sum(), sizes["delivered_beyond_window"].sum()
    sentence = (
        f"{number(beyond, 'packet')} beyond the unscaled window arrived, {within} within were lost."
        if within or beyond
        else "What was lost ends beyond the receiver's window taken without its scale, what arrived does not."
    )
    return seen("unscaled_window", not within and not beyond, sentence)


def _size_decides(path: Path) -> dict[str, Any]:
    tried = path.attempts.dropna(subset="size")
    tried = tried[~(tried["end"] < path.row.broke_at) & ~(tried["end"] > path.row.fixed_at)]
    passed, failed = (tried[tried["outcome"].isin(o)] for o in (["delivered"], ["deferred", "failed"]))
    failed = failed[failed["phase"].isin(IN_DATA)]
    if len(failed) < 2 or passed.empty:
        return seen("size_decides", pd.NA, "Message sizes that passed and failed: the log holds too few.")
    largest, smallest = passed["size"].max(), failed["size"].min()
    sentence = (
        f"To {path.row.server}, all messages of {smallest} bytes or more failed, all up to {largest} passed."
        if largest < smallest
        else f"To {path.row.server}, a message of {largest} bytes passed and one of {smallest} failed."
    )
    first = failed.iloc[0]
    return seen("size_decides", largest < smallest, sentence, f"{first['file']} line {first['line']}")


def _other_peer_takes_size(path: Path) -> dict[str, Any]:
    row, every = path.row, path.incident.path_mtu
    same = (every["capture"] == row.capture) & (every["direction"] == row.direction)
    ours, theirs = ("client", "server") if row.direction == "forward" else ("server", "client")
    others = every[same & (every[ours] == getattr(row, ours)) & (every[theirs] != getattr(row, theirs))]
    takes = others[(others["delivered"] >= row.lost).fillna(False)]
    if takes.empty:
        return seen(
            "other_peer_takes_size", False if len(others) else pd.NA, "No other peer to compare with."
        )
    sentence = (
        f"{takes[theirs].iloc[0]} takes packets of {takes['delivered'].iloc[0]} bytes from the same host."
    )
    return seen("other_peer_takes_size", True, sentence)


def _reply_repeated(path: Path) -> dict[str, Any]:
    repeated = path.stuck[path.stuck["repeated_reply"].between(1, TIMES - 1)]
    sentence = (
        "The other side repeated its last reply until a small packet acknowledged it: the first "
        "acknowledgment rode on a packet that was lost."
        if len(repeated)
        else "The other side did not repeat its last reply just once or twice."
    )
    return seen("reply_repeated", bool(len(repeated)), sentence, first(repeated))


def _several_messages(path: Path) -> dict[str, Any]:
    """Count messages by their ids; where there are none, by how much of each was left."""
    streams = set(path.stuck["stream"])
    held = path.incident.transactions
    held = held[(held["capture"] == path.row.capture) & held["stream"].isin(streams)]
    tried = path.attempts[path.attempts["stream"].isin(streams)]
    ids = set(held["message_id"].dropna()) | set(tried["message_id"].dropna())
    count = len(ids) or path.stuck["outstanding"].nunique()
    sentence = (
        f"{number(len(streams), 'connection')} with {number(count, 'message')} stand still in the same way."
    )
    return seen("several_messages", count > 1, sentence, first(path.stuck))


_ABOUT_LOSS = (
    *(_oversize_lost, _smaller_pass, _reassembly_exceeded),
    *(
        _oversize_delivered,
        _loss_explains,
        _fragmentable,
        _reassembly_exceeded,
        _window_closed,
        _acknowledged,
        _same_size_repeats,
    ),
    *(_smaller_repeat_passed, _too_big_ignored, _too_big_effective, _too_big_missing, _size_decides),
    *(_other_peer_takes_size, _reply_repeated, _several_messages),
    *(_tail_passed, _smaller_lost, _silent, _unscaled_window),
)


def _oversize_only(values: dict[str, Any]) -> dict[str, Any]:
    """Sum up whether just what is above a size is lost."""
    against = ("oversize_delivered", "loss_explains", "smaller_lost", "silent", "unscaled_window")
    only = values["smaller_pass"] is True and not any(values[name] is True for name in against)
    return seen("oversize_only", only, "Packets above a size are lost, and no others.")


def _connection_observations(path: Path) -> Iterator[dict[str, Any]]:
    for stall in path.stuck.drop_duplicates("stream").itertuples(index=False):
        sentence = (
            f"From {stall.start:%F %T} UTC on, {stall.outstanding} bytes stayed unacknowledged for "
            f"{stall.duration:.0f} s."
        )
        row = seen("stalled_oversize", True, sentence, frame(stall.file, stall.frame))
        yield row | {"stream": stall.stream}


def _message_observations(path: Path) -> Iterator[dict[str, Any]]:
    failed = path.attempts[path.attempts["outcome"] != "delivered"].dropna(subset="message_id")
    captured = (failed["capture"] == path.row.capture) & failed["stream"].isin(path.stuck["stream"])
    stuck = failed[captured.fillna(False).astype(bool)]
    for name, attempts in (("failed_oversize", stuck), ("failed_alike", _alike(path, failed, stuck))):
        attempt: Any
        for attempt in attempts.itertuples(index=False):
            sentence = f"Failed at {attempt.end:%F %T} UTC ({attempt.error}, {attempt.phase})."
            row = seen(name, True, sentence, f"{attempt.file} line {attempt.line}")
            yield row | {"stream": attempt.stream, "message_id": attempt.message_id}


def _alike(path: Path, failed: pd.DataFrame, stuck: pd.DataFrame) -> pd.DataFrame:
    """Return the attempts that failed at the same point, where the capture does not show the stall itself.

    Either it ends right after the packets were lost, or their connections are not in it at all: then their
    messages must be larger than those that were delivered.
    """
    ends = path.connections
    sent, acknowledged = (ends[f"bytes_{word}_{path.row.direction}"] for word in ("sent", "acknowledged"))
    unanswered = ends.loc[sent - acknowledged > LONGEST_LINE, "stream"]
    open_ = (failed["capture"] == path.row.capture) & failed["stream"].isin(unanswered)
    passed = path.attempts[path.attempts["outcome"] == "delivered"]
    passed = passed.loc[~(passed["end"] > path.row.fixed_at), "size"].max()
    large = (failed["size"] >= stuck["size"].min()) | (failed["size"] > passed) | failed["size"].isna()
    unseen = failed["stream"].isna() & large
    others = (open_.fillna(False) | unseen.fillna(False)) & failed["phase"].isin(IN_DATA)
    return failed[others & ~failed.index.isin(stuck.index)]
