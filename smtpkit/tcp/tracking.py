"""Follow both ends of each connection: analysis flags as Wireshark's, and which copies were delivered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from smtpkit import tables

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
SECOND = 1_000_000_000
FAST_RETRANSMISSION_WITHIN = 20_000_000  # ns after the last duplicate ACK, as in Wireshark
OUT_OF_ORDER_WITHIN = 3_000_000  # ns, as in Wireshark where the RTT is unknown
SAME_PACKET_WITHIN = 10_000_000  # ns; the network repeats packets too, but later
SAME_WITHOUT_ID_WITHIN = 1_000_000  # ns; without an identification (RFC 6864) only so close
SAME_BARE_ACK_WITHIN = 50_000  # ns; and a bare ACK only where what tells more was captured twice
MOST_IN_FLIGHT = 4_000  # copies followed at a time: a window of 6 MB; of more the oldest stay undecided
KEY = ["capture", "stream"]
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
    ttl: int
    ip_id: int | None
    ts_value: int | None
    window_scale: int | None
    sack: str | None
    options_cut: bool


class Copy(NamedTuple):
    """One sending of a range of bytes, in relative sequence numbers."""

    row: int
    time: int
    start: int
    end: int

    def overlaps(self, start: int, end: int) -> bool:
        """Say whether the range start..end shares a byte with this one."""
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
        self.scale: int | None = None  # None: no SYN seen, or its options were cut off
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
    for connection in connections_of(packets):
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


def connections_of(packets: pd.DataFrame) -> Iterator[list[Packet]]:
    """Yield the TCP packets of each connection, in time order; a damaged or cut header tells nothing."""
    needed = ["stream", "src_port", "dst_port", "seq", "ack", "flags", "window", "tcp_len"]
    rows = np.flatnonzero(packets[needed].notna().all(axis="columns").to_numpy())
    tcp = packets.iloc[rows]
    order = np.lexsort((tcp["stream"].to_numpy("int64"), tcp["capture"].to_numpy("int64")))
    tcp, rows = tcp.iloc[order], rows[order]
    sources = zip(tcp["src"].astype(object), values(tcp["src_port"]), strict=True)
    targets = zip(tcp["dst"].astype(object), values(tcp["dst_port"]), strict=True)
    columns = ("seq", "ack", "flags", "window", "tcp_len", "ttl", "ip_id", "ts_value", "window_scale", "sack")
    times = tcp["time"].astype("int64").tolist()
    rest = [*(values(tcp[c]) for c in columns), options_cut(tcp).tolist()]
    fields = zip(rows.tolist(), times, sources, targets, *rest, strict=True)
    every = [Packet(*values) for values in fields]
    changes = (tcp[KEY].astype("int64").diff().fillna(1) != 0).any(axis="columns")
    starts = np.flatnonzero(changes).tolist()
    for start, end in pairwise([*starts, len(every)]):
        yield every[start:end]


def options_cut(tcp: pd.DataFrame) -> pd.Series:
    """Mark TCP packets of which the snap length left out some of the header's options."""
    return (tcp["frame_len"] - tcp["tcp_len"] > tcp["captured_len"]).fillna(False).astype(bool)


def values(column: pd.Series) -> list[Any]:
    """Return a column as plain Python values, None where it is <NA>."""
    return column.astype(object).where(column.notna(), None).tolist()


def _client(connection: list[Packet]) -> tuple[str, int]:
    """Return the end that sent the SYN, else the one that does not have the server's port."""
    telling = next((packet for packet in connection if packet.flags & SYN), connection[0])
    return client_of(telling.src, telling.dst, telling.flags)


def client_of(src: tuple[str, int], dst: tuple[str, int], flags: int) -> tuple[str, int]:
    """Return which end of a packet is the client: by SYN, else by the server's port."""
    if flags & SYN:
        return dst if flags & ACK else src
    if src[1] in tables.SMTP_PORTS:
        return dst
    if dst[1] in tables.SMTP_PORTS:
        return src
    return max(src, dst, key=lambda end: end[1])


def _analyse(connection: list[Packet], numbers: dict[str, np.ndarray], flags: dict[str, np.ndarray]) -> None:
    """Fill in the rows of one connection."""
    connection = list(_once(connection, flags["captured_twice"]))
    client, ends = _client(connection), {True: Sender(), False: Sender()}
    rtt = initial_rtt(connection)
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


def _once(connection: list[Packet], captured_twice: np.ndarray) -> Iterator[Packet]:
    """Yield each packet once, and mark those that were captured again (`any`, bridge, VLAN, SPAN, router)."""
    recent: dict[tuple[Any, ...], Packet] = {}
    copies = False
    for packet in connection:
        # All that a sender makes anew when it sends a segment again is the identification.
        header = packet.seq, packet.ack, packet.flags, packet.window, packet.tcp_len
        key = (packet.src, packet.ip_id, packet.ts_value, packet.sack, *header)
        before = recent.get(key)
        if before is not None and abs(packet.time - before.time) <= _same_within(before, packet, copies):
            captured_twice[packet.row] = copies = True
            continue
        recent[key] = packet
        if len(recent) > MOST_IN_FLIGHT:
            del recent[next(iter(recent))]
        yield packet


def _same_within(before: Packet, packet: Packet, copies: bool) -> int:
    """Return how far apart two packets that are alike may be and still be one."""
    if packet.ip_id:
        return SAME_PACKET_WITHIN
    if packet.tcp_len or packet.flags & (SYN | FIN | RST) or packet.ttl == before.ttl - 1:
        return SAME_WITHOUT_ID_WITHIN
    return SAME_BARE_ACK_WITHIN if copies else -1


def initial_rtt(connection: list[Packet]) -> int | None:
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
        if packet.tcp_len and other.scale and 0 <= other.ack < seq + packet.tcp_len - other.window:
            yield "beyond_unscaled_window"
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
        yield from ("retransmission", "fast_retransmission")
        return
    close = packet.time - me.next_seq_time < (rtt or OUT_OF_ORDER_WITHIN)
    acknowledged = bool(packet.tcp_len) and 0 <= end <= other.ack
    seen = acknowledged or not packet.tcp_len or any(c.start <= seq and end <= c.end for c in me.flight)
    if close and me.next_seq != end and not seen:
        yield "out_of_order"
    else:
        yield "retransmission"
        if acknowledged:
            yield "spurious_retransmission"


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
    if packet.flags & SYN and (packet.window_scale is not None or not packet.options_cut):
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
    reach = -1
    in_order = sorted(sender.flight, key=lambda copy: copy.start)
    for copy, after in zip(in_order, [*in_order[1:], None], strict=True):
        again = copy.start < reach or (after is not None and after.start < copy.end)
        reach = max(reach, copy.end)
        if again and last - copy.time > patience:
            delivered[copy.row] = False


def stall_threshold(rtt: int | None) -> int:
    """Return how long no new byte may be acknowledged before it is a stall, in ns: max(1 s, 3 x RTT)."""
    return max(SECOND, 3 * (rtt or 0))


def _offload(packets: pd.DataFrame) -> pd.Series:
    """Mark packets that the MSS of either end does not allow (RFC 6691: options count against it)."""
    smallest = packets.groupby(KEY, observed=True)["mss"].transform("min").astype("Float64")
    segment = packets["tcp_len"] + packets["tcp_header_len"] - 20
    allowed = smallest.fillna(_ETHERNET_MTU - 40)
    return ((segment > allowed) & (packets["tcp_len"] > 0)).fillna(False).astype(bool)
