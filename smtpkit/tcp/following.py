"""Follow both ends of connections, packet by packet: from tables of int64 to tables of int64.

Plain functions, which `forms` gives interpreted or compiled. So: no class, no slice of a table, no integer
beyond 64 bits.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from typing import Any, NamedTuple

from smtpkit.hashing import mix
from smtpkit.tables import SMTP_PORTS

# The columns of `packets`: one row for each packet, connection by connection, each in time order, so that all
# of a packet lies together in memory. An end is a number with the port in its lowest 16 bits; SACK_AT is the
# column of `edges` where its SACK blocks begin. TCP_LEN is that of the whole segment where fragments make
# one, OWN_LEN of the first fragment. What is absent is -1.
TIME, SOURCE, TARGET, SEQ, ACK, FLAGS, WINDOW, TCP_LEN, TTL, IP_ID, TS_VALUE, SCALE = range(12)
OPTIONS_CUT, SACK_AT, SACKS, OWN_LEN = range(12, 16)
PACKET = range(16)

# The columns of `found`, for the same packets.
FORWARD, RELATIVE_SEQ, RELATIVE_ACK, DELIVERED, IN_FLIGHT, ACK_RTT, MARKS = FOUND = range(7)
ABSENT = -(1 << 62)
MOST = 0x7FFFFFFF  # what a column of bytes can hold


class Columns(NamedTuple):
    """What is taken of each row of the table `packets`; an address is a number."""

    time: Any
    src: Any
    dst: Any
    src_port: Any
    dst_port: Any
    seq: Any
    ack: Any
    flags: Any
    window: Any
    segment_len: Any
    tcp_len: Any
    ttl: Any
    ip_id: Any
    ts_value: Any
    window_scale: Any
    options_cut: Any
    sack_at: Any
    sacks: Any


class Found(NamedTuple):
    """What is found of each row of the table `packets`."""

    forward: Any  # int8, or -1
    relative_seq: Any  # int64, or ABSENT
    relative_ack: Any
    delivered: Any  # int8, or -1
    bytes_in_flight: Any  # int32, or -1
    ack_rtt: Any  # float32 [s], or NaN
    marks: Any  # uint16


# The bits of MARKS, in the order of MARK_NAMES.
MARK_NAMES = (
    *("retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order", "duplicate_ack"),
    *("lost_segment", "ack_lost_segment", "zero_window", "zero_window_probe", "window_full"),
    *("beyond_unscaled_window", "keep_alive"),
)
RETRANSMISSION, FAST_RETRANSMISSION, SPURIOUS_RETRANSMISSION, OUT_OF_ORDER = 1, 2, 4, 8
DUPLICATE_ACK, LOST_SEGMENT, ACK_LOST_SEGMENT, ZERO_WINDOW = 16, 32, 64, 128
ZERO_WINDOW_PROBE, WINDOW_FULL, BEYOND_UNSCALED_WINDOW, KEEP_ALIVE = 256, 512, 1024, 2048

# The rows of `sides`: what one end has sent, as far as the capture shows. Numbers are relative to BASE, the
# header's number that counts as 0: the SYN's. NEAR is the last one, beyond 2^32: the next is unwrapped
# towards it. CONTIGUOUS is NEXT up to the first byte that was not captured. What is in flight lies from HEAD
# to TAIL in `flight`; LOST copies were found to be lost.
BASE, NEAR, NEXT, NEXT_TIME, CONTIGUOUS, LAST_ACK, LAST_ACK_TIME, LAST_WINDOW, LAST_SCALE = range(9)
DUPLICATES, PROBE, REPEATED, HEAD, TAIL, LOST, CLOSED = range(9, 16)
SIDE = 16

ROW, SENT, START, END = COPY = range(4)  # the rows of `flight` and `lost`: sendings of a range of bytes
MOST_IN_FLIGHT = 4_000  # copies followed at a time: a window of 6 MB; of more the oldest stay undecided
MOST_BLOCKS = 4  # SACK blocks that a header has room for (RFC 2018 3)

FIN, SYN, RST, FLAG_ACK = 0x01, 0x02, 0x04, 0x10
SECOND = 1_000_000_000
SAME_PACKET_WITHIN = 10_000_000  # ns; the network repeats packets too, but later
SAME_WITHOUT_ID_WITHIN = 1_000_000  # ns; without an identification (RFC 6864) only so close
SAME_BARE_ACK_WITHIN = 50_000  # ns; and a bare ACK only where what tells more was captured twice
FAST_RETRANSMISSION_WITHIN = 20_000_000  # ns after the last duplicate ACK, as in Wireshark
OUT_OF_ORDER_WITHIN = 3_000_000  # ns, as in Wireshark where the RTT is unknown
FIRST = 20  # packets among which the handshake is


def group(numbers, wanted, places, rows):
    """Enter the wanted rows into `rows`; those of number n go, in order, to where ``places[n]`` says."""
    for i in range(len(numbers)):
        if wanted[i]:
            rows[places[numbers[i]]] = i
            places[numbers[i]] += 1


def pick(columns, rows, packets):
    """Enter the packets of these rows into the table."""
    for i in range(len(rows)):
        row = rows[i]
        packets[i, TIME] = columns.time[row]
        packets[i, SOURCE] = columns.src[row] << 16 | columns.src_port[row]
        packets[i, TARGET] = columns.dst[row] << 16 | columns.dst_port[row]
        packets[i, SEQ] = columns.seq[row]
        packets[i, ACK] = columns.ack[row]
        packets[i, FLAGS] = columns.flags[row]
        packets[i, WINDOW] = columns.window[row]
        packets[i, TCP_LEN] = columns.segment_len[row]
        packets[i, OWN_LEN] = columns.tcp_len[row]
        packets[i, TTL] = columns.ttl[row]
        packets[i, IP_ID] = columns.ip_id[row]
        packets[i, TS_VALUE] = columns.ts_value[row]
        packets[i, SCALE] = columns.window_scale[row]
        packets[i, OPTIONS_CUT] = columns.options_cut[row]
        packets[i, SACK_AT] = columns.sack_at[row]
        packets[i, SACKS] = columns.sacks[row]


def put(found, rows, columns):
    """Enter what was found of the packets into the columns, which say nothing so far."""
    for i in range(len(rows)):
        row = rows[i]
        columns.forward[row] = found[i, FORWARD]
        columns.relative_seq[row] = found[i, RELATIVE_SEQ]
        columns.relative_ack[row] = found[i, RELATIVE_ACK]
        columns.marks[row] = found[i, MARKS]
        if found[i, DELIVERED] != ABSENT:
            columns.delivered[row] = found[i, DELIVERED]
        if found[i, IN_FLIGHT] != ABSENT:
            columns.bytes_in_flight[row] = min(found[i, IN_FLIGHT], MOST)
        if found[i, ACK_RTT] != ABSENT:
            columns.ack_rtt[row] = found[i, ACK_RTT] / SECOND


def mark_captured_twice(packets, bounds, edges, slots, secret, twice):
    """Mark packets that were captured again (`any`, bridge, VLAN, SPAN, router).

    `slots`, a power of two of them, at least twice the packets, are filled with -1; `secret` keeps others
    from choosing headers that collide.
    """
    for connection_number in range(len(bounds) - 1):
        first, copies = bounds[connection_number], False
        for i in range(first, bounds[connection_number + 1]):
            place = header_hash(packets, i, edges, secret) & (len(slots) - 1)
            while slots[place] >= 0 and not same_header(packets, slots[place], i, first, edges):
                place = (place + 1) & (len(slots) - 1)
            before = slots[place]
            if before >= 0 and same_packet(packets, before, i, copies):
                twice[i] = 1
                copies = True
            else:
                slots[place] = i


def header_hash(packets, i, edges, secret):
    """Hash what a sender may make anew; of a segment sent again that is the identification only."""
    numbers = mix(packets[i, SEQ], packets[i, ACK])
    stamps = mix(packets[i, TS_VALUE], packets[i, IP_ID] + secret)
    rest = mix(packets[i, WINDOW] * 0x1000 + packets[i, FLAGS], packets[i, OWN_LEN] + packets[i, SOURCE])
    for b in range(packets[i, SACK_AT], packets[i, SACK_AT] + packets[i, SACKS]):
        rest = mix(rest, mix(edges[0, b], edges[1, b]))
    return mix(numbers, mix(stamps, rest))


def same_header(packets, i, j, first, edges):
    """Say whether two packets are alike, and `i` of the connection that begins at `first`."""
    if i < first or packets[i, SACKS] != packets[j, SACKS]:
        return False
    for field in (SOURCE, SEQ, ACK, FLAGS, WINDOW, OWN_LEN, IP_ID, TS_VALUE):
        if packets[i, field] != packets[j, field]:
            return False
    for b in range(packets[i, SACKS]):
        for side in range(2):
            if edges[side, packets[i, SACK_AT] + b] != edges[side, packets[j, SACK_AT] + b]:
                return False
    return True


def same_packet(packets, before, i, copies):
    """Say whether two packets that are alike are near enough to be one; `copies`: there were some before."""
    tells_more = packets[i, OWN_LEN] or packets[i, FLAGS] & (SYN | FIN | RST)
    behind_router = packets[i, TTL] == packets[before, TTL] - 1
    if packets[i, IP_ID] > 0:
        within = SAME_PACKET_WITHIN
    elif tells_more or behind_router:
        within = SAME_WITHOUT_ID_WITHIN
    else:
        within = SAME_BARE_ACK_WITHIN if copies else -1
    return abs(packets[i, TIME] - packets[before, TIME]) <= within


def follow(packets, bounds, edges, found, sides, flight, lost, blocks):
    """Fill in `found`; `bounds` are where connections begin, and the end. The rest is room to work in."""
    for i in range(len(bounds) - 1):
        connection(packets, bounds[i], bounds[i + 1], edges, found, sides, flight, lost, blocks)


def connection(packets, first, end, edges, found, sides, flight, lost, blocks):
    """Follow one connection."""
    client = client_of(packets, first, end)
    rtt = initial_rtt(packets, first, end)
    for side in range(2):
        for field in range(SIDE):
            sides[side, field] = 0
        for field in (BASE, NEXT, CONTIGUOUS, LAST_SCALE):
            sides[side, field] = ABSENT
        sides[side, LAST_ACK] = sides[side, LAST_WINDOW] = -1
    for i in range(first, end):
        me = 0 if packets[i, SOURCE] == client else 1
        other = 1 - me
        flags = packets[i, FLAGS]
        seq = relative(sides, me, packets[i, SEQ], flags & SYN)
        ack = -1
        found[i, FORWARD] = 1 - me
        found[i, RELATIVE_SEQ] = seq
        if flags & FLAG_ACK:
            ack = relative(sides, other, packets[i, ACK], 0)
            found[i, RELATIVE_ACK] = ack
            acknowledge(packets, i, edges, found, sides, other, flight, lost, blocks, ack, rtt)
        found[i, MARKS] = judge(packets, i, sides, me, other, flight, seq, ack, rtt)
        remember(packets, i, sides, me, flight, seq, ack)
        if packets[i, TCP_LEN] and sides[other, LAST_ACK] >= 0:
            sent = sides[me, NEXT] - sides[me, CLOSED]  # a FIN is no byte
            found[i, IN_FLIGHT] = max(sent - sides[other, LAST_ACK], 0)
    for side in range(2):
        close(sides, side, flight, packets[end - 1, TIME], rtt, found)


def client_of(packets, first, end):
    """Return the end that sent the SYN, else the one that does not have the server's port."""
    for i in range(first, end):
        if packets[i, FLAGS] & SYN:
            return packets[i, TARGET] if packets[i, FLAGS] & FLAG_ACK else packets[i, SOURCE]
    source, target = packets[first, SOURCE], packets[first, TARGET]
    if source & 0xFFFF in SMTP_PORTS:
        return target
    if target & 0xFFFF in SMTP_PORTS:
        return source
    return source if source & 0xFFFF >= target & 0xFFFF else target


def initial_rtt(packets, first, end):
    """Return the time from SYN to the client's ACK of the SYN-ACK, in ns; 0 if unknown."""
    syn = syn_ack = -1
    for i in range(first, min(end, first + FIRST)):
        flags = packets[i, FLAGS]
        if flags & SYN and flags & FLAG_ACK:
            syn_ack = i
        elif flags & SYN:
            syn = i
        elif syn >= 0 and syn_ack >= 0 and flags & FLAG_ACK and packets[i, SOURCE] == packets[syn, SOURCE]:
            return max(packets[i, TIME] - packets[syn, TIME], 0)
    return 0


def relative(sides, side, number, is_syn):
    """Unwrap one of an end's sequence numbers (RFC 9293 3.4: modulo 2^32)."""
    if sides[side, BASE] == ABSENT:
        sides[side, BASE] = number if is_syn else number - 1
        sides[side, NEAR] = number
    return unwrap(sides, side, number) - sides[side, BASE]


def unwrap(sides, side, number):
    """Return the number beyond 2^32 that is nearest to the end's last one."""
    near = sides[side, NEAR]
    return near + (number - near + 0x80000000) % 0x100000000 - 0x80000000


# --- analysis -------------------------------------------------------------------------------------------


def judge(packets, i, sides, me, other, flight, seq, ack, rtt):
    """Return the bits of Wireshark's names for what this packet is."""
    marks = 0
    length, flags, window = packets[i, TCP_LEN], packets[i, FLAGS], packets[i, WINDOW]
    control = flags & (SYN | FIN | RST)
    following, known = sides[me, NEXT], sides[me, NEXT] != ABSENT
    sides[me, PROBE] = 0
    if length == 1 and seq == following and sides[other, LAST_WINDOW] == 0:
        marks |= ZERO_WINDOW_PROBE
        sides[me, PROBE] = ZERO_WINDOW_PROBE
    else:
        if window == 0 and not control:
            marks |= ZERO_WINDOW
        if known and seq > following and not flags & RST:
            marks |= LOST_SEGMENT
        if length <= 1 and known and seq == following - 1 and not control:
            marks |= KEEP_ALIVE
            sides[me, PROBE] = KEEP_ALIVE
        if length:
            marks |= at_window(sides, other, seq + length, control)
        if repeats_ack(sides, me, seq, ack, window, length, control) and not sides[other, PROBE]:
            sides[me, DUPLICATES] += 1
            marks |= DUPLICATE_ACK
    if ack != sides[me, LAST_ACK]:
        sides[me, DUPLICATES] = 0
    if flags & FLAG_ACK and sides[other, CONTIGUOUS] != ABSENT and ack > sides[other, CONTIGUOUS]:
        sides[other, CONTIGUOUS] = sides[other, NEXT]
        marks |= ACK_LOST_SEGMENT
    if (length or flags & (SYN | FIN)) and known and seq < following:
        marks |= repetition(packets, i, sides, me, other, flight, seq, rtt)
    return marks


def at_window(sides, receiver, end, control):
    """Say how data that ends at `end` lies to the receiver's window."""
    scale, ack, window = sides[receiver, LAST_SCALE], sides[receiver, LAST_ACK], sides[receiver, LAST_WINDOW]
    if scale == ABSENT or ack < 0:
        return 0
    full = WINDOW_FULL if not control and end == ack + (window << scale) else 0
    return full | (BEYOND_UNSCALED_WINDOW if scale and ack < end - window else 0)


def repeats_ack(sides, me, seq, ack, window, length, control):
    """Say whether a bare ACK says the same as the end's last packet."""
    if length or control or not window:
        return False
    return window == sides[me, LAST_WINDOW] and seq == sides[me, NEXT] and ack == sides[me, LAST_ACK]


def repetition(packets, i, sides, me, other, flight, seq, rtt):
    """Tell the kinds of a segment that does not advance the sequence number, in Wireshark's order."""
    length, time = packets[i, TCP_LEN], packets[i, TIME]
    end = seq + length
    if sides[me, PROBE] == KEEP_ALIVE or (length > 1 and sides[me, NEXT] == seq + 1):
        return 0
    fast = sides[other, DUPLICATES] >= 2 and time - sides[other, LAST_ACK_TIME] < FAST_RETRANSMISSION_WITHIN
    if fast and sides[other, LAST_ACK] == seq:
        return RETRANSMISSION | FAST_RETRANSMISSION
    acknowledged = length > 0 and 0 <= end <= sides[other, LAST_ACK]
    close_by = time - sides[me, NEXT_TIME] < (rtt if rtt else OUT_OF_ORDER_WITHIN)
    new = length > 0 and not acknowledged and not seen(sides, me, flight, seq, end)
    if close_by and new and sides[me, NEXT] != end:
        return OUT_OF_ORDER
    return RETRANSMISSION | (SPURIOUS_RETRANSMISSION if acknowledged else 0)


def seen(sides, me, flight, start, end):
    """Say whether a copy in flight holds the whole range."""
    for j in range(sides[me, HEAD], sides[me, TAIL]):
        if flight[me, START, j] <= start and end <= flight[me, END, j]:
            return True
    return False


def remember(packets, i, sides, me, flight, seq, ack):
    """Take the packet into what is known of its sender."""
    length, flags = packets[i, TCP_LEN], packets[i, FLAGS]
    following = sides[me, NEXT]
    end = seq + length + (1 if flags & (SYN | FIN) else 0)
    if length:
        if following != ABSENT and seq < following:
            sides[me, REPEATED] = 1
        append(sides, me, flight, i, packets[i, TIME], seq, seq + length)
    if sides[me, PROBE] != ZERO_WINDOW_PROBE and not flags & RST:
        if sides[me, CONTIGUOUS] == ABSENT or seq == sides[me, CONTIGUOUS]:
            sides[me, CONTIGUOUS] = max(end, following)
        if flags & FIN:
            sides[me, CLOSED] = 1
        if following == ABSENT or end > following:
            sides[me, NEXT] = end
            sides[me, NEXT_TIME] = packets[i, TIME]
        sides[me, NEAR] = unwrap(sides, me, packets[i, SEQ])
    if flags & SYN and (packets[i, SCALE] >= 0 or not packets[i, OPTIONS_CUT]):
        sides[me, LAST_SCALE] = min(max(packets[i, SCALE], 0), 14)
    sides[me, LAST_WINDOW] = packets[i, WINDOW]
    sides[me, LAST_ACK] = ack
    sides[me, LAST_ACK_TIME] = packets[i, TIME]


def append(sides, side, flight, row, time, start, end):
    """Put a copy in flight; the oldest one goes where there are too many."""
    if sides[side, TAIL] - sides[side, HEAD] == MOST_IN_FLIGHT:
        sides[side, HEAD] += 1
    if sides[side, TAIL] == 2 * MOST_IN_FLIGHT:
        head, count = sides[side, HEAD], sides[side, TAIL] - sides[side, HEAD]
        for j in range(count):
            for field in range(4):
                flight[side, field, j] = flight[side, field, head + j]
        sides[side, HEAD] = 0
        sides[side, TAIL] = count
    tail = sides[side, TAIL]
    flight[side, ROW, tail] = row
    flight[side, SENT, tail] = time
    flight[side, START, tail] = start
    flight[side, END, tail] = end
    sides[side, TAIL] = tail + 1


# --- delivery -------------------------------------------------------------------------------------------


def acknowledge(packets, i, edges, found, sides, sender, flight, lost, blocks, ack, rtt):
    """Settle which copies in flight this acknowledgment answers."""
    if not sides[sender, REPEATED] and not packets[i, SACKS]:
        acknowledge_in_order(packets, i, found, sides, sender, flight, ack)
        return
    count = read_blocks(packets, i, edges, sides, sender, blocks)
    if is_duplicate(blocks, count, ack):
        doubt(sides, sender, lost, blocks[0, 0], blocks[1, 0], found)
    time, head, tail = packets[i, TIME], sides[sender, HEAD], sides[sender, TAIL]
    settled = False
    for j in range(head, tail):
        if answered(flight, sender, j, ack, blocks, count):
            settled = True
            fate = caused(sides, sender, flight, j, time, rtt)
            found[flight[sender, ROW, j], DELIVERED] = fate
            if fate == 0:
                lose(sides, sender, flight, lost, j)
    if settled:
        take_away(sides, sender, flight, ack, blocks, count)
    if sides[sender, TAIL] == head:
        sides[sender, REPEATED] = 0


def take_away(sides, sender, flight, ack, blocks, count):
    """Leave in flight what this acknowledgment does not answer."""
    kept = sides[sender, HEAD]
    for j in range(kept, sides[sender, TAIL]):
        if not answered(flight, sender, j, ack, blocks, count):
            for field in range(4):
                flight[sender, field, kept] = flight[sender, field, j]
            kept += 1
    sides[sender, TAIL] = kept


def acknowledge_in_order(packets, i, found, sides, sender, flight, ack):
    """Take from the front what is acknowledged: nothing in flight was sent twice (Karn: only then an RTT)."""
    head = sides[sender, HEAD]
    while head < sides[sender, TAIL] and flight[sender, END, head] <= ack:
        found[flight[sender, ROW, head], DELIVERED] = 1
        found[i, ACK_RTT] = packets[i, TIME] - flight[sender, SENT, head]
        head += 1
    sides[sender, HEAD] = head


def read_blocks(packets, i, edges, sides, sender, blocks):
    """Make the SACK blocks relative; return how many there are."""
    count = min(packets[i, SACKS], MOST_BLOCKS)
    for b in range(count):
        at = packets[i, SACK_AT] + b
        blocks[0, b] = relative(sides, sender, edges[0, at], 0)
        blocks[1, b] = relative(sides, sender, edges[1, at], 0)
    return count


def is_duplicate(blocks, count, ack):
    """Say whether the first block is a D-SACK (RFC 2883 4)."""
    if count == 0:
        return False
    if blocks[1, 0] <= ack:
        return True
    return count > 1 and blocks[0, 1] <= blocks[0, 0] and blocks[1, 0] <= blocks[1, 1]


def doubt(sides, sender, lost, start, end, found):
    """More copies arrived than one: which of those presumed lost did, nobody can tell."""
    for j in range(min(sides[sender, LOST], MOST_IN_FLIGHT)):
        if lost[sender, START, j] < end and start < lost[sender, END, j]:
            found[lost[sender, ROW, j], DELIVERED] = ABSENT


def lose(sides, sender, flight, lost, j):
    """Remember a copy as lost, in the place of the oldest one if there are too many."""
    place = sides[sender, LOST] % MOST_IN_FLIGHT
    for field in range(4):
        lost[sender, field, place] = flight[sender, field, j]
    sides[sender, LOST] += 1


def answered(flight, sender, j, ack, blocks, count):
    """Say whether ACK or SACK covers a copy."""
    start, end = flight[sender, START, j], flight[sender, END, j]
    covered = end <= ack
    for b in range(count):
        covered = covered or (blocks[0, b] <= start and end <= blocks[1, b])
    return covered


def caused(sides, sender, flight, j, time, rtt):
    """Say whether this copy brought its acknowledgment: the last one that was old enough did."""
    newest, sent = time - rtt // 2, flight[sender, SENT, j]
    rivals = False
    for k in range(sides[sender, HEAD], sides[sender, TAIL]):
        if k == j or flight[sender, START, k] >= flight[sender, END, j]:
            continue
        if flight[sender, START, j] < flight[sender, END, k]:
            rivals = True
            if sent < flight[sender, SENT, k] <= newest:
                return 0
    return ABSENT if rivals and sent > newest else 1


def close(sides, side, flight, last, rtt, found):
    """Count as lost what was sent again and is still unacknowledged when the connection ends."""
    if not sides[side, REPEATED]:
        return
    sort_by_start(sides, side, flight)
    head, tail = sides[side, HEAD], sides[side, TAIL]
    reach = -1
    for j in range(head, tail):
        again = flight[side, START, j] < reach
        if j + 1 < tail and flight[side, START, j + 1] < flight[side, END, j]:
            again = True
        reach = max(reach, flight[side, END, j])
        if again and last - flight[side, SENT, j] > stall_threshold(rtt):
            found[flight[side, ROW, j], DELIVERED] = 0


def sort_by_start(sides, side, flight):
    """Sort what is in flight, which is nearly in order, and keep what is equal in order."""
    head, tail = sides[side, HEAD], sides[side, TAIL]
    for j in range(head + 1, tail):
        k = j
        while k > head and flight[side, START, k - 1] > flight[side, START, k]:
            for field in range(4):
                held = flight[side, field, k]
                flight[side, field, k] = flight[side, field, k - 1]
                flight[side, field, k - 1] = held
            k -= 1


def stall_threshold(rtt):
    """Return how long no new byte may be acknowledged before it is a stall, in ns: max(1 s, 3 x RTT)."""
    return max(SECOND, 3 * rtt)
