"""One row for each stall: a silence with data outstanding."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from statistics import median, mode
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from smtpkit import tables
from smtpkit.tcp.tracking import FIN, KEY, RST, SECOND, SYN, stall_threshold, values


class Seen(NamedTuple):
    """What following SND.UNA needs of a packet; time in ns, sequence numbers relative."""

    time: int
    forward: bool
    seq: int
    ack: int | None
    tcp_len: int
    flags: int


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
    time = tcp["time"].astype("int64")
    columns = (values(tcp[c]) for c in ("relative_seq", "relative_ack", "tcp_len", "flags"))
    seen = [Seen(*row) for row in zip(time, tcp["direction"] == "forward", *columns, strict=True)]
    rows = []
    for start, end in _bounds(tcp):
        connection = seen[start:end]
        until = _last(tcp["capture"].iloc[start], captures, connection)
        for silence in _silences(connection, until):
            rows.append(_stall(tcp.iloc[start:end], silence))
    return tables.from_rows(rows, "stalls")


def _bounds(tcp: pd.DataFrame) -> Iterator[tuple[int, int]]:
    """Yield where each connection begins and ends in rows that are sorted by it."""
    changes = (tcp[KEY].astype("int64").diff().fillna(1) != 0).any(axis="columns")
    return pairwise([*np.flatnonzero(changes).tolist(), len(tcp)])


def _last(capture: Any, captures: pd.DataFrame | None, connection: list[Seen]) -> int:
    """Return until when the connection was watched: to the capture's end, unless somebody reset it."""
    last = connection[-1]
    if captures is None or last.flags & RST:
        return last.time
    ends = captures.loc[captures["capture"] == capture, "last"]
    return max(last.time, int(ends.iloc[0].value)) if len(ends.dropna()) else last.time


def _silences(connection: list[Seen], until: int) -> Iterator[Silence]:
    """Follow both directions; the handshake's round trip sets what counts as a silence."""
    syn = next((p.time for p in connection if p.flags & SYN), None)
    first = next((p.time for p in connection if p.forward and not p.flags & SYN), None)
    threshold = stall_threshold(first - syn if syn is not None and first is not None else None)
    for forward in (True, False):
        yield from _follow(connection, forward, threshold, until)


def _follow(connection: list[Seen], forward: bool, threshold: int, until: int) -> Iterator[Silence]:
    """Follow SND.UNA of one direction; without any ACK from the other side nothing is known."""
    sent_end = una = 1
    fin, start, progress, answered = 2**62, None, 0, False
    for packet in connection:
        if packet.flags & (SYN | RST):
            continue
        if packet.forward == forward:
            end = packet.seq + packet.tcp_len
            fin = end if packet.flags & FIN else fin
            sent_end = max(sent_end, min(end, fin))
            start = packet.time if start is None and sent_end > una else start
        elif packet.ack is not None:
            answered = True
            if packet.ack > una:
                if start is not None and packet.time - start >= threshold:
                    yield Silence(forward, progress, start, packet.time, una, sent_end, True)
                una, progress = packet.ack, packet.time
                start = packet.time if sent_end > una else None
    if answered and start is not None and until - start >= threshold:
        yield Silence(forward, progress, start, until, una, sent_end, False)


def _stall(connection: pd.DataFrame, silence: Silence) -> dict[str, Any]:
    """Return the row of one stall."""
    time = connection["time"].astype("int64")
    direction = "forward" if silence.forward else "reverse"
    mine = connection["direction"] == direction
    data, before = mine & (connection["tcp_len"] > 0), time <= silence.end
    start, end = connection["relative_seq"], connection["relative_seq"] + connection["tcp_len"]
    copies = connection[data & before & (start <= silence.una) & (end > silence.una)]
    beyond = data & before & (start > silence.una)
    answers = connection[~mine & before & (time > silence.start)]
    since = connection[~mine & before & (time > silence.progress)]
    ended = (
        "acknowledgment" if silence.acknowledged else _given_up(connection[~mine & (time > silence.start)])
    )
    known = connection[data].iloc[:1] if data.any() else connection[mine].iloc[:1]
    base = int(known["seq"].iloc[0]) - int(known["relative_seq"].iloc[0])
    first = copies if len(copies) else connection[time >= silence.start]
    return {
        **{key: first[key].iloc[0] for key in ("capture", "stream", "file", "frame")},
        "direction": direction,
        "start": pd.Timestamp(silence.start, tz="UTC"),
        "end": pd.Timestamp(silence.end, tz="UTC"),
        "duration": (silence.end - silence.start) / SECOND,
        "seq": (base + silence.una) % 2**32,
        "relative_seq": silence.una,
        "outstanding": silence.sent_end - silence.una,
        "missing": copies.empty,
        "gap": (start[beyond].min() if beyond.any() else silence.sent_end) - silence.una
        if copies.empty
        else pd.NA,
        **_repeats(copies),
        "peer_packets": len(answers),
        "passed": int((connection["delivered"].fillna(False) | copies.empty)[beyond].sum()),
        "repeated_reply": int((since["retransmission"] & (since["tcp_len"] > 0)).sum()),
        "window": _window(connection[~mine], time, silence),
        "ended_by": ended,
    }


def _repeats(copies: pd.DataFrame) -> dict[str, Any]:
    """Return how often, how large and how far apart the first unacknowledged byte was sent again."""
    gaps = [gap / SECOND for gap in copies["time"].astype("int64").diff().dropna()]
    ratios = [later / earlier for earlier, later in pairwise(gaps) if earlier > 0]
    sizes = copies["ip_len"][~copies["offload"]].tolist()
    return {
        "repeats": max(len(copies) - 1, 0),
        "repeat_ip_len": mode(sizes) if sizes else pd.NA,
        "smallest_repeat_ip_len": min(sizes) if sizes else pd.NA,
        "first_interval": gaps[0] if gaps else pd.NA,
        "last_interval": gaps[-1] if gaps else pd.NA,
        "backoff": median(ratios) if ratios else pd.NA,
    }


def _given_up(answers: pd.DataFrame) -> str:
    flags = answers["flags"]
    return "RST" if (flags & RST > 0).any() else "FIN" if (flags & FIN > 0).any() else "silence"


def _window(receiver: pd.DataFrame, time: pd.Series, silence: Silence) -> Any:
    """Return the receiver's window when the stall began, scaled where both SYNs were seen (RFC 7323 2.3)."""
    seen = receiver[(time[receiver.index] <= silence.end) & (receiver["flags"] & (SYN | RST) == 0)]
    scale = receiver["window_scale"].dropna()
    return int(seen["window"].iloc[-1]) << int(scale.iloc[0] if len(scale) else 0) if len(seen) else pd.NA
