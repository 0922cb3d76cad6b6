"""From packets to TCP: analysis flags, connections, stalls.

All functions obey f(a + b) = f(a) + f(b) where a and b share no connection. Of SMTP they know its ports only,
which tell the server where the capture holds no SYN.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from statistics import median, mode
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from smtpkit import tables

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
SMTP_PORTS = (25, 465, 587, 2525)
SECOND = 1_000_000_000
FAST_RETRANSMISSION_WITHIN = 20_000_000  # ns after the last duplicate ACK, as in Wireshark
OUT_OF_ORDER_WITHIN = 3_000_000  # ns, as in Wireshark where the RTT is unknown
MOST_IN_FLIGHT = 20_000  # copies; a real window holds fewer, a hostile capture may not
REPEATED = ("retransmission", "fast_retransmission", "spurious_retransmission")
_KEY = ["capture", "stream"]
_NUMBERS = ("forward", "relative_seq", "relative_ack", "delivered")
_FLAGS = [c.name for c in tables.TABLES["analysis"] if c.dtype == "bool" and c.name != "offload"]
_ETHERNET_MTU = 1500


class Packet(NamedTuple):
    """One TCP packet of a connection, as `_connections` yields it; time in ns."""

    row: int
    time: int
    src: tuple[str, int]
    dst: tuple[str, int]
    seq: int
    ack: int
    flags: int
    window: int
    tcp_len: int
    window_scale: int | None
    sack: str | None


class Copy(NamedTuple):
    """One sending of a range of bytes, in relative sequence numbers."""

    row: int
    time: int
    start: int
    end: int

    def overlaps(self, start: int, end: int) -> bool:
        return self.start < end and start < self.end


class Sender:
    """What one end of a connection has sent, as far as the capture shows; numbers are relative."""

    def __init__(self) -> None:
        self.base: int | None = None  # the header's number that counts as 0: the SYN's
        self.near = 0  # the last number, beyond 2^32; the next one is unwrapped towards it
        self.next_seq: int | None = None  # highest byte sent + 1
        self.next_seq_time = 0
        self.contiguous: int | None = None  # the same up to the first byte that was not captured
        self.ack = -1
        self.ack_time = 0
        self.window = -1
        self.scale: int | None = None  # None: no SYN seen
        self.duplicate_acks = 0
        self.probe = ""  # the last packet was a keep_alive or a zero_window_probe
        self.flight: deque[Copy] = deque(maxlen=MOST_IN_FLIGHT)
        self.repeated = False  # a range in flight was sent twice
        self.superseded: list[Copy] = []

    def relative(self, number: int, *, syn: bool = False) -> int:
        """Unwrap one of this end's sequence numbers (RFC 9293 3.4: modulo 2^32)."""
        if self.base is None:
            self.base, self.near = (number, number) if syn else (number - 1, number)
        return self._unwrap(number) - self.base

    def pass_by(self, number: int) -> None:
        """Let `number` be the one that the next is unwrapped towards."""
        self.near = self._unwrap(number)

    def _unwrap(self, number: int) -> int:
        return self.near + (number - self.near + 2**31) % 2**32 - 2**31


# --- analysis -------------------------------------------------------------------------------------------


def analysis(packets: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of the table `analysis` to packets.

    The flags follow Wireshark's rules (tcp.analysis.*). `delivered` goes by ACK and SACK (RFC 2018): of
    several copies of a byte the last one that can have caused the acknowledgment counts as delivered, unless
    a D-SACK (RFC 2883) says that more arrived.

    Parameters
    ----------
    packets : DataFrame
        Table `packets`, each capture in time order.

    Returns
    -------
    DataFrame
        The same rows; ``False`` or ``<NA>`` in the new columns where there is no TCP.
    """
    numbers = {name: np.full(len(packets), np.nan) for name in _NUMBERS}
    flags = {name: np.zeros(len(packets), dtype=bool) for name in _FLAGS}
    for connection in _connections(packets):
        _analyse(connection, numbers, flags)
    added = {
        "direction": np.select(
            [numbers["forward"] == 1, numbers["forward"] == 0], ["forward", "reverse"], ""
        ),
        "relative_seq": _nullable(numbers["relative_seq"], "Int64"),
        "relative_ack": _nullable(numbers["relative_ack"], "Int64"),
        **flags,
        "delivered": _nullable(numbers["delivered"], "boolean"),
    }
    frame = pd.DataFrame(added, index=packets.index)
    frame["direction"] = frame["direction"].astype("string").mask(frame["direction"] == "")
    frame["offload"] = _offload(packets)
    return pd.concat([packets, tables.conform(frame, "analysis")], axis="columns")


def _nullable(values: np.ndarray, dtype: Any) -> Any:
    absent = np.isnan(values)
    whole = pd.array(np.where(absent, 0, values).astype("int64"), dtype="Int64").astype(dtype)
    whole[absent] = pd.NA
    return whole


def _connections(packets: pd.DataFrame) -> Iterator[list[Packet]]:
    """Yield the TCP packets of each connection, in time order."""
    rows = np.flatnonzero((packets["seq"].notna() & packets["stream"].notna()).to_numpy())
    tcp = packets.iloc[rows]
    order = np.lexsort((tcp["stream"].to_numpy("int64"), tcp["capture"].to_numpy("int64")))
    tcp, rows = tcp.iloc[order], rows[order]
    sources = zip(tcp["src"].astype(object), _list(tcp["src_port"]), strict=True)
    targets = zip(tcp["dst"].astype(object), _list(tcp["dst_port"]), strict=True)
    columns = ("seq", "ack", "flags", "window", "tcp_len", "window_scale", "sack")
    times = tcp["time"].astype("int64").tolist()
    fields = zip(rows.tolist(), times, sources, targets, *(_list(tcp[c]) for c in columns), strict=True)
    every = [Packet(*values) for values in fields]
    starts = np.flatnonzero((tcp[_KEY].astype("int64").diff().fillna(1) != 0).any(axis="columns")).tolist()
    for start, end in pairwise([*starts, len(every)]):
        yield every[start:end]


def _list(column: pd.Series) -> list[Any]:
    return column.to_numpy(dtype=object, na_value=None).tolist()


def _client(connection: list[Packet]) -> tuple[str, int]:
    """Return the end that sent the SYN, else the one that does not have the server's port."""
    for packet in connection:
        if packet.flags & SYN:
            return packet.dst if packet.flags & ACK else packet.src
    first = connection[0]
    if first.src[1] in SMTP_PORTS:
        return first.dst
    if first.dst[1] in SMTP_PORTS:
        return first.src
    return max(first.src, first.dst, key=lambda end: end[1])


def _analyse(connection: list[Packet], numbers: dict[str, np.ndarray], flags: dict[str, np.ndarray]) -> None:
    """Fill in the rows of one connection."""
    client, ends = _client(connection), {True: Sender(), False: Sender()}
    rtt = _initial_rtt(connection)
    for packet in connection:
        row, forward = packet.row, packet.src == client
        me, other = ends[forward], ends[not forward]
        seq = me.relative(packet.seq, syn=bool(packet.flags & SYN))
        ack = other.relative(packet.ack) if packet.flags & ACK else -1
        numbers["forward"][row], numbers["relative_seq"][row] = forward, seq
        if packet.flags & ACK:
            numbers["relative_ack"][row] = ack
            _acknowledge(other, packet, ack, rtt, numbers["delivered"])
        for name in _judge(packet, me, other, seq, ack, rtt):
            if name in flags:
                flags[name][row] = True
        _remember(packet, me, seq, ack)
    for sender in ends.values():
        _close(sender, connection[-1].time, rtt, numbers["delivered"])


def _initial_rtt(connection: list[Packet]) -> int | None:
    """Return the time from SYN to the client's ACK of the SYN-ACK, in ns (tcp.analysis.initial_rtt)."""
    syn = syn_ack = None
    for packet in connection[:20]:
        if packet.flags & SYN and packet.flags & ACK:
            syn_ack = packet
        elif packet.flags & SYN:
            syn = packet
        elif syn and syn_ack and packet.src == syn.src and packet.flags & ACK:
            return packet.time - syn.time
    return None


def _judge(packet: Packet, me: Sender, other: Sender, seq: int, ack: int, rtt: int | None) -> Iterator[str]:
    """Yield Wireshark's names for what this packet is."""
    me.probe = ""
    control = packet.flags & (SYN | FIN | RST)
    if packet.tcp_len == 1 and seq == me.next_seq and other.window == 0:
        me.probe = "zero_window_probe"
        yield me.probe
    else:
        if packet.window == 0 and not control:
            yield "zero_window"
        if me.next_seq is not None and seq > me.next_seq and not packet.flags & RST:
            yield "lost_segment"
        if packet.tcp_len <= 1 and me.next_seq is not None and seq == me.next_seq - 1 and not control:
            me.probe = "keep_alive"
            yield me.probe
        if packet.tcp_len and not control and seq + packet.tcp_len == _window_end(other):
            yield "window_full"
        if _repeats_ack(packet, me, seq, ack) and not other.probe:
            me.duplicate_acks += 1
            yield "duplicate_ack"
    if ack != me.ack:
        me.duplicate_acks = 0
    if packet.flags & ACK and other.contiguous is not None and ack > other.contiguous:
        other.contiguous = other.next_seq
        yield "ack_lost_segment"
    if (packet.tcp_len or packet.flags & (SYN | FIN)) and me.next_seq is not None and seq < me.next_seq:
        yield from _repetition(packet, me, other, seq, rtt)


def _window_end(receiver: Sender) -> int | None:
    if receiver.scale is None or receiver.ack < 0:
        return None
    return receiver.ack + (receiver.window << receiver.scale)


def _repeats_ack(packet: Packet, me: Sender, seq: int, ack: int) -> bool:
    same = packet.window == me.window and seq == me.next_seq and ack == me.ack
    return bool(same and packet.window and not packet.tcp_len and not packet.flags & (SYN | FIN | RST))


def _repetition(packet: Packet, me: Sender, other: Sender, seq: int, rtt: int | None) -> Iterator[str]:
    """Tell the kinds of a segment that does not advance the sequence number, in Wireshark's order."""
    end = seq + packet.tcp_len
    if me.probe == "keep_alive" or (packet.tcp_len > 1 and me.next_seq == seq + 1):
        return
    fast = other.duplicate_acks >= 2 and packet.time - other.ack_time < FAST_RETRANSMISSION_WITHIN
    if fast and other.ack == seq:
        yield "fast_retransmission"
        return
    close = packet.time - me.next_seq_time < (rtt or OUT_OF_ORDER_WITHIN)
    seen = any(copy.start <= seq and end <= copy.end for copy in me.flight)
    if close and me.next_seq != end and not seen:
        yield "out_of_order"
    elif packet.tcp_len and 0 <= end <= other.ack:
        yield "spurious_retransmission"
    else:
        yield "retransmission"


def _remember(packet: Packet, me: Sender, seq: int, ack: int) -> None:
    """Take the packet into what is known of its sender."""
    length = packet.tcp_len + bool(packet.flags & (SYN | FIN))
    end = seq + length
    if packet.tcp_len:
        me.repeated |= me.next_seq is not None and seq < me.next_seq
        me.flight.append(Copy(packet.row, packet.time, seq, seq + packet.tcp_len))
    if me.probe != "zero_window_probe" and not packet.flags & RST:
        if me.contiguous is None or seq == me.contiguous:
            me.contiguous = max(end, me.next_seq or end)
        if me.next_seq is None or end > me.next_seq:
            me.next_seq, me.next_seq_time = end, packet.time
        me.pass_by(packet.seq)
    if packet.flags & SYN:
        me.scale = min(packet.window_scale or 0, 14)
    me.window, me.ack, me.ack_time = packet.window, ack, packet.time


# --- delivery -------------------------------------------------------------------------------------------


def _acknowledge(sender: Sender, packet: Packet, ack: int, rtt: int | None, delivered: np.ndarray) -> None:
    """Settle which copies in flight this acknowledgment answers."""
    if not sender.repeated and not packet.sack:
        while sender.flight and sender.flight[0].end <= ack:
            delivered[sender.flight.popleft().row] = True
        return
    blocks = _blocks(sender, packet)
    for start, end in _duplicates(blocks, ack):
        _doubt(sender, start, end, delivered)
    answered = [
        copy
        for copy in sender.flight
        if copy.end <= ack or any(left <= copy.start and copy.end <= right for left, right in blocks)
    ]
    for copy in answered:
        delivered[copy.row] = _caused(copy, sender, packet.time, rtt)
        if delivered[copy.row] == 0:
            sender.superseded.append(copy)
    rows = {copy.row for copy in answered}
    if rows:
        left_over = [copy for copy in sender.flight if copy.row not in rows]
        sender.flight = deque(left_over, maxlen=MOST_IN_FLIGHT)
    sender.repeated = sender.repeated and bool(sender.flight)


def _blocks(sender: Sender, packet: Packet) -> list[tuple[int, int]]:
    edges = (
        [sender.relative(int(edge)) for edge in block.split("-")] for block in (packet.sack or "").split()
    )
    return [(left, right) for left, right in edges]


def _duplicates(blocks: list[tuple[int, int]], ack: int) -> list[tuple[int, int]]:
    """Return the D-SACK block, if the first one is that (RFC 2883 4)."""
    if not blocks:
        return []
    (left, right), rest = blocks[0], blocks[1:2]
    return blocks[:1] if right <= ack or any(a <= left and right <= b for a, b in rest) else []


def _doubt(sender: Sender, start: int, end: int, delivered: np.ndarray) -> None:
    """More copies arrived than one: which of those presumed lost did, nobody can tell."""
    for copy in sender.superseded:
        if copy.overlaps(start, end):
            delivered[copy.row] = np.nan


def _caused(copy: Copy, sender: Sender, time: int, rtt: int | None) -> float:
    """Say whether this copy brought its acknowledgment: the last one that was old enough did."""
    rivals = [c for c in sender.flight if c.row != copy.row and c.overlaps(copy.start, copy.end)]
    newest = time - (rtt or 0) // 2
    if any(copy.time < rival.time <= newest for rival in rivals):
        return 0.0
    return np.nan if rivals and copy.time > newest else 1.0


def _close(sender: Sender, last: int, rtt: int | None, delivered: np.ndarray) -> None:
    """Count as lost what was sent again and is still unacknowledged when the connection ends."""
    patience = stall_threshold(rtt)
    if not sender.repeated:
        return
    for copy in sender.flight:
        others = (c for c in sender.flight if c.row != copy.row and c.overlaps(copy.start, copy.end))
        if last - copy.time > patience and any(others):
            delivered[copy.row] = False


def stall_threshold(rtt: int | None) -> int:
    """Return how long no new byte may be acknowledged before it is a stall, in ns: max(1 s, 3 x RTT)."""
    return max(SECOND, 3 * (rtt or 0))


def _offload(packets: pd.DataFrame) -> pd.Series:
    """Mark packets that the MSS of either end does not allow (RFC 6691: options count against it)."""
    smallest = packets.groupby(_KEY, observed=True)["mss"].transform("min").astype("Float64")
    segment = packets["tcp_len"] + packets["tcp_header_len"] - 20
    allowed = smallest.fillna(_ETHERNET_MTU - 40)
    return ((segment > allowed) & (packets["tcp_len"] > 0)).fillna(False).astype(bool)


# --- connections ----------------------------------------------------------------------------------------


def connections(packets: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each TCP connection.

    Parameters
    ----------
    packets : DataFrame
        Tables `packets` and `analysis` side by side.

    Returns
    -------
    DataFrame
        Table `connections`, in order of capture and stream.
    """
    tcp = packets[packets["direction"].notna()]
    if tcp.empty:
        return tables.empty("connections")
    whole = tcp.groupby(_KEY, observed=True).agg(
        start=("time", "first"),
        end=("time", "last"),
        packets=("time", "size"),
        file=("file", "first"),
        frame=("frame", "first"),
    )
    parts = [_ends(tcp), _handshake(tcp), _ending(tcp)]
    parts += [_bytes(tcp, direction) for direction in ("forward", "reverse")]
    whole = whole.join(parts)
    whole = whole.join([_around(packets, whole, direction) for direction in ("forward", "reverse")])
    return tables.conform(whole.reset_index(), "connections")


def _ends(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return who is who, from the first packet of each connection, and each end's TTL."""
    first = tcp.groupby(_KEY, observed=True).first()
    forward = first["direction"] == "forward"
    ends = pd.DataFrame(index=first.index)
    for end, near, far in (("client", "src", "dst"), ("server", "dst", "src")):
        ends[end] = first[near].astype("string").where(forward, first[far].astype("string"))
        ends[f"{end}_port"] = first[f"{near}_port"].where(forward, first[f"{far}_port"])
    for end, direction in (("client", "forward"), ("server", "reverse")):
        sent = tcp[tcp["direction"] == direction].groupby(_KEY, observed=True)
        ends[f"ttl_{end}"] = sent["ttl"].first().astype("UInt8")
    return ends


def _handshake(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return how the handshake went, what both ends offered in it, and its times (RFC 9293 3.5)."""
    is_syn, is_ack = tcp["flags"] & SYN > 0, tcp["flags"] & ACK > 0
    syn, syn_ack = (tcp[mask].groupby(_KEY, observed=True) for mask in (is_syn & ~is_ack, is_syn & is_ack))
    client_ack = tcp[~is_syn & is_ack & (tcp["direction"] == "forward")].groupby(_KEY, observed=True)
    refused = tcp[(tcp["flags"] & RST > 0) & (tcp["direction"] == "reverse")].groupby(_KEY, observed=True)
    found = pd.DataFrame(index=tcp.groupby(_KEY, observed=True).size().index)
    for end, side in (("client", syn), ("server", syn_ack)):
        found[f"mss_{end}"], found[f"window_scale_{end}"] = side["mss"].first(), side["window_scale"].first()
    times = pd.DataFrame({"syn": syn["time"].first(), "syn_ack": syn_ack["time"].first()}, index=found.index)
    times["ack"] = client_ack["time"].first()
    seen = times.notna()
    found["syn_rtt"] = (times["syn_ack"] - times["syn"]).dt.total_seconds()
    found["initial_rtt"] = (times["ack"] - times["syn"]).dt.total_seconds().where(seen["syn_ack"])
    found["handshake"] = np.select(
        [seen["syn_ack"], seen["syn"] & found.index.isin(refused.size().index), seen["syn"]],
        ["complete", "refused", "unanswered"],
        "unseen",
    )
    found["client_known_by"] = np.where(seen["syn"] | seen["syn_ack"], "SYN", "port")
    return found


def _ending(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return the first FIN or RST: who sent it, and which it was."""
    end = tcp[tcp["flags"] & (FIN | RST) > 0].groupby(_KEY, observed=True).first()
    ended = pd.DataFrame(index=tcp.groupby(_KEY, observed=True).size().index)
    ended["ended_by"] = end["direction"].map({"forward": "client", "reverse": "server"}).astype("string")
    ended["ended_how"] = (end["flags"] & RST > 0).map({True: "RST", False: "FIN"}).astype("string")
    return ended.fillna({"ended_how": "silence"})


def _bytes(tcp: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return what one direction sent, as far as its sequence numbers tell, and what was acknowledged."""
    sent = tcp[(tcp["direction"] == direction) & (tcp["flags"] & (SYN | RST) == 0)]
    back = tcp[(tcp["direction"] != direction) & (tcp["flags"] & ACK > 0)]
    reach = sent["relative_seq"] + sent["tcp_len"]
    data = sent["tcp_len"] > 0
    fin = reach[sent["flags"] & FIN > 0].groupby([sent[k] for k in _KEY]).max()
    total = reach.groupby([sent[k] for k in _KEY]).max()
    total = total.where(~(total > fin.reindex(total.index)), fin.reindex(total.index)) - 1
    acked = back.groupby(_KEY, observed=True)["relative_ack"].max() - 1
    new = data & (reach > reach.groupby([sent[k] for k in _KEY]).cummax().shift(fill_value=-1))
    repeated = sent[list(REPEATED)].any(axis="columns") & data
    found = pd.DataFrame({f"bytes_sent_{direction}": total.clip(lower=0)})
    found[f"bytes_acknowledged_{direction}"] = acked.reindex(found.index).clip(lower=0, upper=total)
    found[f"retransmissions_{direction}"] = repeated.groupby([sent[k] for k in _KEY]).sum()
    if direction == "forward":
        found["last_new_forward"] = sent[new].groupby(_KEY, observed=True)["time"].last()
    return found


def _around(packets: pd.DataFrame, whole: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return the ICMP too-big messages and later fragments that belong to one direction (RFC 1191, 8201)."""
    sender = whole["client" if direction == "forward" else "server"]
    found = pd.DataFrame(index=whole.index)
    tied = packets[packets["stream"].notna() & packets["direction"].isna()]
    tied = tied.join(sender.rename("sender"), on=_KEY)
    too_big = tied[is_too_big(tied) & (tied["dst"].astype("string") == tied["sender"])].groupby(_KEY)
    later = tied[(tied["fragment_offset"] > 0) & (tied["src"].astype("string") == tied["sender"])].groupby(
        _KEY
    )
    found[f"too_big_{direction}"] = too_big.size()
    found[f"next_hop_mtu_{direction}"] = too_big["next_hop_mtu"].min()
    found[f"fragments_{direction}"] = later.size()
    return found.fillna({f"too_big_{direction}": 0, f"fragments_{direction}": 0})


def is_too_big(packets: pd.DataFrame) -> pd.Series:
    """Mark ICMP "fragmentation needed" (RFC 1191) and ICMPv6 "Packet Too Big" (RFC 8201)."""
    needed = (packets["ip_protocol"] == 1) & (packets["icmp_type"] == 3) & (packets["icmp_code"] == 4)
    too_big = (packets["ip_protocol"] == 58) & (packets["icmp_type"] == 2)
    return (needed | too_big).fillna(False).astype(bool)


# --- stalls ---------------------------------------------------------------------------------------------


def stalls(packets: pd.DataFrame) -> pd.DataFrame:
    """Return every silence with data outstanding.

    A stall is: no new byte acknowledged for max(1 s, 3 x initial RTT) while data is outstanding. Data counts
    as outstanding when it was captured, or when a later sequence number shows that it was sent: so a capture
    at the receiver shows the stall as well, with `missing` bytes.

    Parameters
    ----------
    packets : DataFrame
        Tables `packets` and `analysis` side by side.

    Returns
    -------
    DataFrame
        Table `stalls`, in order of capture, stream and start.
    """
    tcp = packets[packets["direction"].notna()]
    span = tcp.groupby(_KEY, observed=True)["time"].transform(lambda time: time.max() - time.min())
    slow = tcp[span >= pd.Timedelta(seconds=1)]
    rows = [row for _, packets in slow.groupby(_KEY, observed=True) for row in _stalls_of(packets)]
    return tables.from_rows(rows, "stalls")


class Silence(NamedTuple):
    """A stall's bare facts; times in ns, `una` is the first unacknowledged byte (RFC 9293 SND.UNA)."""

    direction: str
    progress: int
    start: int
    end: int
    una: int
    sent_end: int
    acknowledged: bool


def _stalls_of(connection: pd.DataFrame) -> Iterator[dict[str, Any]]:
    rtt = _initial_rtt(next(_connections(connection)))
    for direction in ("forward", "reverse"):
        for silence in _silences(connection, direction, stall_threshold(rtt)):
            yield _stall(connection, silence)


def _silences(connection: pd.DataFrame, direction: str, threshold: int) -> Iterator[Silence]:
    """Follow SND.UNA and what is known to be sent; without any ACK from the other side nothing is known."""
    sent_end = una = 1
    fin, start, progress, answered = 2**62, None, 0, False
    mine = (connection["direction"] == direction).tolist()
    times = connection["time"].astype("int64").tolist()
    columns = (_list(connection[c]) for c in ("relative_seq", "relative_ack", "tcp_len", "flags"))
    for time, sent, seq, ack, length, flags in zip(times, mine, *columns, strict=True):
        if flags & (SYN | RST):
            continue
        if sent:
            fin = seq + length if flags & FIN else fin
            sent_end = max(sent_end, min(seq + length, fin))
            start = time if start is None and sent_end > una else start
        elif ack is not None:
            answered = True
            if ack > una:
                if start is not None and time - start >= threshold:
                    yield Silence(direction, progress, start, time, una, sent_end, True)
                una, progress, start = ack, time, time if sent_end > ack else None
    if answered and start is not None and times[-1] - start >= threshold:
        yield Silence(direction, progress, start, times[-1], una, sent_end, False)


def _stall(connection: pd.DataFrame, silence: Silence) -> dict[str, Any]:
    """Return the row of one stall."""
    time = connection["time"].astype("int64")
    mine = connection["direction"] == silence.direction
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
        "direction": silence.direction,
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
        "repeated_reply": int((since[list(REPEATED)].any(axis="columns") & (since["tcp_len"] > 0)).sum()),
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
