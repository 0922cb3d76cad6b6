"""One row for each stall: a silence with data outstanding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from statistics import median, mode
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from smtpkit import tables
from smtpkit.tcp.following import FIN, RST, SECOND, SYN, stall_threshold
from smtpkit.tcp.tracking import KEY, connection_starts, options_cut, values

TIMES = 3  # repeats of one segment that are no accident
MOST_SIZES = 8  # different sizes of one segment that are listed
MOST_STALLS = 200  # of one connection: after so many the next one tells nothing new


class Seen(NamedTuple):
    """What a stall needs of a packet; time in ns, `packet` is its row, `seq` and `ack` are relative."""

    packet: int
    time: int
    forward: bool
    seq: int
    ack: int | None
    tcp_len: int
    flags: int
    header_seq: int
    header_ack: int
    ip_len: int
    window: int
    window_scale: int | None
    sack_permitted: bool | None
    sack: str | None
    retransmission: bool
    duplicate_ack: bool
    offload: bool
    delivered: bool | None
    options_cut: bool


class Silence(NamedTuple):
    """A stall's bare facts; times in ns, `una` is the first unacknowledged byte (RFC 9293 SND.UNA)."""

    forward: bool
    progress: int
    start: int
    end: int
    una: int
    sent_end: int
    acknowledged: bool


def stalls(packets: pd.DataFrame, captures: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return every silence with data outstanding.

    A stall is: no new byte acknowledged for max(1 s, 3 x initial RTT) while data is outstanding. Data counts
    as outstanding when it was captured, or when a later sequence number shows that it was sent: so a capture
    at the receiver shows the stall as well, with `missing` bytes.

    Parameters
    ----------
    packets : DataFrame
        Tables `packets` and `analysis` side by side.
    captures : DataFrame, optional
        Table `captures`: how long each capture went on after the last packet of a connection. Without it a
        connection ends with its last packet.

    Returns
    -------
    DataFrame
        Table `stalls`, in order of capture, stream and start.
    """
    tcp = packets[packets["direction"].notna()].sort_values(KEY, kind="stable")
    ends, rows = _ends(captures), []
    tcp = tcp[_may_stall(tcp, ends)]
    seen = _seen(tcp)
    for start, end in _bounds(tcp):
        connection = seen[start:end]
        until = _last(connection, ends.get(tcp["capture"].iloc[start]))
        rows += [_stall(connection, silence) for silence in islice(_silences(connection, until), MOST_STALLS)]
    keys = tcp[[*KEY, "file", "frame"]].iloc[[row["packet"] for row in rows]].reset_index(drop=True)
    return tables.conform(pd.concat([keys, pd.DataFrame(rows)], axis="columns"), "stalls")


def _seen(tcp: pd.DataFrame) -> list[Seen]:
    names = [
        *("relative_seq", "relative_ack", "tcp_len", "flags", "seq", "ack", "ip_len", "window"),
        *("window_scale", "sack_permitted", "sack", "retransmission", "duplicate_ack", "offload"),
        *("delivered", "options_cut"),
    ]
    columns = (values(column) for _, column in tcp.assign(options_cut=options_cut(tcp))[names].items())
    forward = (tcp["direction"] == "forward").tolist()
    times = tcp["time"].astype("int64").tolist()
    return [Seen(*row) for row in zip(range(len(tcp)), times, forward, *columns, strict=True)]


def _ends(captures: pd.DataFrame | None) -> dict[int, int]:
    """Return when each capture ended, in ns."""
    if captures is None:
        return {}
    known = captures.dropna(subset="last")
    return dict(zip(known["capture"].tolist(), known["last"].astype("int64").tolist(), strict=True))


def _may_stall(tcp: pd.DataFrame, ends: dict[int, int]) -> np.ndarray:
    """Mark the packets of connections on which no new byte was acknowledged for a second: few, mostly."""
    connection = pd.Series(np.cumsum(connection_starts(tcp)), tcp.index)
    time, counts = tcp["time"].astype("int64"), (tcp["flags"] & (SYN | RST) == 0).astype(bool)
    until = (
        time.groupby(connection).transform("last").clip(tcp["capture"].map(ends).fillna(0).astype("int64"))
    )
    slow: set[int] = set()
    for direction in ("forward", "reverse"):
        mine = (tcp["direction"] == direction).astype(bool)
        reach = (tcp["relative_seq"] + tcp["tcp_len"]).where(mine & counts, 1).groupby(connection).cummax()
        una = tcp["relative_ack"].where(~mine & counts).fillna(1).clip(1).groupby(connection).cummax()
        periods = pd.DataFrame({"connection": connection, "start": time, "until": until})
        periods["since"] = time.where(reach > una, until)
        periods = periods.groupby([connection, una], sort=False).min()
        following = periods.groupby("connection")["start"].shift(-1, fill_value=-1)
        end = following.where(following >= 0, periods["until"])
        slow.update(periods.loc[end - periods["since"] >= SECOND, "connection"])
    return connection.isin(slow).to_numpy()


def _bounds(tcp: pd.DataFrame) -> Iterator[tuple[int, int]]:
    """Yield where each connection begins and ends in rows that are sorted by it."""
    return pairwise([*np.flatnonzero(connection_starts(tcp)).tolist(), len(tcp)])


def _last(connection: list[Seen], end: int | None) -> int:
    """Return until when the connection was watched: to the capture's end, unless somebody reset it."""
    last = connection[-1]
    return last.time if end is None or last.flags & RST else max(last.time, end)


def _silences(connection: list[Seen], until: int) -> Iterator[Silence]:
    """Follow both directions; the handshake's round trip sets what counts as a silence."""
    syn = next((p.time for p in connection if p.flags & SYN), None)
    first = next((p.time for p in connection if p.forward and not p.flags & SYN), None)
    threshold = stall_threshold(first - syn if syn is not None and first is not None else 0)
    for forward in (True, False):
        yield from _follow(connection, forward, threshold, until)


def _follow(connection: list[Seen], forward: bool, threshold: int, until: int) -> Iterator[Silence]:
    """Follow SND.UNA of one direction.

    Without any ACK from the other side, which may just not have been captured, only a segment that is sent
    again and again tells that none came.
    """
    sent_end = una = 1
    fin, start, progress, answered, repeats = 2**62, None, 0, False, 0
    for packet in connection:
        if packet.flags & (SYN | RST):
            continue
        if packet.forward == forward:
            end = packet.seq + packet.tcp_len
            fin = end if packet.flags & FIN else fin
            sent_end = max(sent_end, min(end, fin))
            start = packet.time if start is None and sent_end > una else start
            repeats += bool(packet.retransmission and packet.seq <= una < end)
        elif packet.ack is not None:
            answered = True
            if packet.ack > una:
                if start is not None and packet.time - start >= threshold:
                    yield Silence(forward, progress, start, packet.time, una, sent_end, True)
                una, progress = packet.ack, packet.time
                start = packet.time if sent_end > una else None
    if (answered or repeats >= TIMES) and start is not None and until - start >= threshold:
        yield Silence(forward, progress, start, until, una, sent_end, False)


def _stall(connection: list[Seen], silence: Silence) -> dict[str, Any]:
    """Return the row of one stall, without its connection's key."""
    mine = [p for p in connection if p.forward == silence.forward]
    other = [p for p in connection if p.forward != silence.forward]
    data = [p for p in mine if p.tcp_len and p.time <= silence.end]
    copies = [p for p in data if p.seq <= silence.una < p.seq + p.tcp_len]
    # What comes by for the first time when the stall ends was lost upstream until then.
    missing = not any(p.time < silence.start + SECOND for p in copies)
    late = copies[0].time if missing and copies else silence.end + 1
    copies = [] if missing else copies
    beyond = [p for p in data if p.seq > silence.una and p.time < late]
    answers = [p for p in other if p.time > silence.start]
    first = copies[0] if copies else next(p for p in connection if p.time >= silence.start)
    return {
        "packet": first.packet,
        "direction": "forward" if silence.forward else "reverse",
        "start": pd.Timestamp(silence.start, tz="UTC"),
        "end": pd.Timestamp(silence.end, tz="UTC"),
        "duration": (silence.end - silence.start) / SECOND,
        "seq": (mine[0].header_seq - mine[0].seq + silence.una) % 2**32,
        "relative_seq": silence.una,
        "outstanding": silence.sent_end - silence.una,
        "missing": missing,
        "gap": min([p.seq for p in beyond] + [silence.sent_end]) - silence.una if missing else pd.NA,
        **_repeats(copies),
        "delivered_before": _largest(p for p in data if p.time < silence.start and p.delivered),
        "peer_packets": sum(p.time <= silence.end for p in answers),
        **_passed(connection, copies, beyond, [p for p in answers if p.time < silence.end]),
        "repeated_reply": _repeated_replies(other, silence),
        "duplicate_sacks": sum(map(_duplicate_sack, (p for p in answers if p.time <= silence.end))),
        "reply_duplicate_sacks": sum(
            _duplicate_sack(p) for p in mine if silence.progress < p.time <= silence.end
        ),
        "window": _window(other, silence),
        "ended_by": "acknowledgment" if silence.acknowledged else _given_up(answers),
        **_closed(connection, silence),
    }


def _largest(packets: Iterable[Seen]) -> Any:
    return max((p.ip_len for p in packets if not p.offload), default=pd.NA)


def _duplicate_sack(packet: Seen) -> bool:
    """Say whether the first SACK block reports what had arrived before (RFC 2883 4)."""
    if not packet.sack or packet.ack is None:
        return False
    edges = [
        (int(edge) - packet.header_ack + 2**31) % 2**32 - 2**31
        for edge in packet.sack.replace("-", " ").split()[:4]
    ]
    within = len(edges) == 4 and edges[2] <= edges[0] and edges[1] <= edges[3]
    return edges[1] <= 0 or within


def _closed(connection: list[Seen], silence: Silence) -> dict[str, Any]:
    """Return who closed since the stall began, and when."""
    for packet in connection:
        if silence.start <= packet.time <= silence.end and packet.flags & (FIN | RST):
            time = pd.Timestamp(packet.time, tz="UTC")
            return {"given_up_by": "client" if packet.forward else "server", "given_up_at": time}
    return {}


def _repeats(copies: list[Seen]) -> dict[str, Any]:
    """Return how often, how large and how far apart the first unacknowledged byte was sent again."""
    gaps = [(later.time - earlier.time) / SECOND for earlier, later in pairwise(copies)]
    ratios = [later / earlier for earlier, later in pairwise(gaps) if earlier > 0]
    sizes = [p.ip_len for p in copies if not p.offload]
    return {
        "repeats": max(len(copies) - 1, 0),
        "repeat_ip_len": mode(sizes) if sizes else pd.NA,
        "smallest_repeat_ip_len": min(sizes) if sizes else pd.NA,
        "sizes_tried": " ".join(map(str, islice(dict.fromkeys(sizes), MOST_SIZES))) or pd.NA,
        "first_interval": gaps[0] if gaps else pd.NA,
        "last_interval": gaps[-1] if gaps else pd.NA,
        "backoff": median(ratios) if ratios else pd.NA,
    }


def _passed(
    connection: list[Seen], copies: list[Seen], beyond: list[Seen], answers: list[Seen]
) -> dict[str, Any]:
    """Count smaller packets beyond the stall that were reported as arrived while it lasted, and those not.

    A SACK block reports one, and where SACK was not agreed on (RFC 2018) a duplicate ACK. A snap length that
    cuts options off hides both. In a capture behind the loss, what is there has arrived.
    """
    if not copies:
        return {"passed": len(beyond), "largest_passed": _largest(beyond)}
    agreed = [bool(p.sack_permitted) for p in connection if p.flags & SYN]
    sizes = [p.ip_len for p in copies if not p.offload]
    smaller = {p.seq: p for p in beyond if sizes and p.ip_len < min(sizes)}
    with_sack = len(agreed) == 2 and all(agreed)
    reports = [p for p in answers if (p.sack if with_sack else p.duplicate_ack)]
    if with_sack:
        lost = [p for p in smaller.values() if not (p.delivered and reports)]
    else:
        lost = list(smaller.values())[len(reports) :]
    in_vain = {p.packet for p in lost}
    passed = [p for p in smaller.values() if p.packet not in in_vain]
    found = {"passed": len(passed), "largest_passed": _largest(passed)}
    if len(agreed) < 2 or any(p.options_cut for p in connection):
        return found
    return found | {
        "not_passed": len(lost),
        "smallest_not_passed": min((p.ip_len for p in lost), default=pd.NA),
    }


def _repeated_replies(other: list[Seen], silence: Silence) -> int:
    since = (p for p in other if silence.progress < p.time <= silence.end)
    return sum(bool(p.retransmission and p.tcp_len) for p in since)


def _given_up(answers: list[Seen]) -> str:
    flags = [p.flags for p in answers]
    return "RST" if any(f & RST for f in flags) else "FIN" if any(f & FIN for f in flags) else "silence"


def _window(receiver: list[Seen], silence: Silence) -> Any:
    """Return the receiver's last window of the stall; unless 0 it takes the SYN's scale (RFC 7323 2.3)."""
    windows = [p.window for p in receiver if p.time <= silence.end and not p.flags & (SYN | RST)]
    syns = [p for p in receiver if p.flags & SYN and (p.window_scale is not None or not p.options_cut)]
    scales = [p.window_scale or 0 for p in syns]
    if not windows or (windows[-1] and not scales):
        return pd.NA
    return windows[-1] and windows[-1] << min(scales[0], 14)
