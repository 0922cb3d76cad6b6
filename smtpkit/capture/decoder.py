"""The one decoder: from the bytes of a capture to tables of int64, in which -1 is absent.

These are plain functions over a buffer of bytes and tables. Interpreted, both are memoryviews, which give
Python integers; `forms.compiled` compiles the same source with numba for large inputs. So: no class, no slice
of a table, no integer beyond 64 bits.

References: RFC 791, 8200 (IP), 9293 (TCP), 792, 1191, 4443 (ICMP), 2018, 7323 (options); the pcap and pcapng
drafts of the IETF's opsawg; the LINKTYPE registry of tcpdump.org.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from typing import Any, NamedTuple

from smtpkit.hashing import mix

# The rows of `frames`, one column for each packet of the file: where it is, how long, when, what is in it.
# INTERFACE is the interface's number in the file, or the reason why there is none. DROPPED: packets that this
# record says were lost before it.
OFFSET, CAPTURED_LEN, FRAME_LEN, TICKS, INTERFACE, DROPPED, NETWORK, OUTER_LEN, KIND = ROWS = range(9)

# The rows of `cells`, one column for each row of the table `packets`; `packets` has the same names.
CELLS = (
    *("index", "src", "dst", "src_port", "dst_port", "ip_version", "ip_protocol", "ip_len", "ttl", "ip_id"),
    *("df", "fragment_offset", "more_fragments", "fragment_id", "tcp_len", "tcp_header_len", "seq", "ack"),
    *("flags", "window", "mss", "window_scale", "sack_permitted", "sack_at", "ts_value", "ts_echo"),
    *("icmp_type", "icmp_code", "next_hop_mtu", "quoted_ip_len", "stream", "payload_offset"),
    "checksum_offload",
)
INDEX, SRC, DST, SRC_PORT, DST_PORT, IP_VERSION, IP_PROTOCOL, IP_LEN, TTL, IP_ID = range(10)
DF, FRAGMENT_OFFSET, MORE_FRAGMENTS, FRAGMENT_ID, TCP_LEN, TCP_HEADER_LEN, SEQ, ACK = range(10, 18)
FLAGS, WINDOW, MSS, WINDOW_SCALE, SACK_PERMITTED, SACK_AT, TS_VALUE, TS_ECHO = range(18, 26)
ICMP_TYPE, ICMP_CODE, NEXT_HOP_MTU, QUOTED_IP_LEN, STREAM, PAYLOAD_OFFSET = range(26, 32)
CHECKSUM_OFFLOAD = 32

# How a scan ended.
MORE, FULL, DAMAGED, OTHER_BLOCK = range(4)

# What a frame holds: an EtherType; with TUNNEL added, an IP packet that holds another; or why it gave no row.
IPV4, IPV6, PPP, MPLS, MPLS_MULTICAST, PPPOE = 0x0800, 0x86DD, 0x880B, 0x8847, 0x8848, 0x8864
WRAPPED = (PPP, MPLS, MPLS_MULTICAST, PPPOE)
TUNNEL = 0x10000
KEPT, NOT_IP, CUT, BAD_IP, LINK_UNKNOWN, NO_INTERFACE, NO_PACKET = range(-1, -8, -1)
BAD_TCP, LONG_IP = -8, -9  # these have a row all the same
OTHER_PROTOCOL = -256  # less the number of the IP protocol

MAX_CAPTURED = 1 << 20  # a longer record is damage; Wireshark and libpcap allow 2^18
MAX_LEN = 0x7FFFFFFF  # what a column of the table can hold
LATEST = 9_000_000_000  # seconds since 1970 that 64-bit nanoseconds hold, about
NAT = -(1 << 63)  # a time that is absent, as in numpy
MAX_TAGS, MAX_EXTENSIONS, MAX_OPTIONS = 4, 16, 40
ENHANCED_PACKET = 6
TCP, ICMP, ICMPV6, FRAGMENT = 6, 1, 58, 44
IP_IN_IP, IPV6_IN_IP, GRE, UDP = 4, 41, 47, 17
VXLAN, VXLAN_OF_LINUX, GENEVE = 4789, 8472, 6081  # UDP ports; the second is from before RFC 7348
SYN, SYN_ACK, FLAG_ACK = 0x02, 0x12, 0x10


class Memory(NamedTuple):
    """What is known across packets. Both tables are hashed with open addressing; a free slot is -1."""

    hosts: Any  # (n, 4) addresses as four 32-bit words, IPv4 as (-1, 0, 0, address)
    host_slots: Any  # (power of two,) -> row of `hosts`
    connections: Any  # (n, 5) both ends (host << 16 | port), lower one first; stream; their first seq, or -1
    connection_slots: Any  # (power of two,) -> row of `connections`
    counters: Any  # hosts, connections, streams, and the secret of the hash


HOSTS, CONNECTIONS, STREAMS, SECRET = range(4)
LOW_END, HIGH_END, NUMBER, LOW_BASE, HIGH_BASE = range(5)


def word(buf, at, big):
    """Return the 32-bit number at `at` in the byte order of the file."""
    if big:
        return u32(buf, at)
    return (buf[at + 3] * 0x100 + buf[at + 2]) * 0x10000 + buf[at + 1] * 0x100 + buf[at]


def u16(buf, at):
    """Return the 16-bit number at `at` in network order."""
    return buf[at] * 0x100 + buf[at + 1]  # shifts would be unsigned to numba, and float beside other integers


def u32(buf, at):
    """Return the 32-bit number at `at` in network order."""
    return u16(buf, at) * 0x10000 + u16(buf, at + 2)


def scan_pcap(buf, at, end, big, units, header, frames, count):
    """Enter the records from `at` into `frames`; return where it stopped, how many there are now, and why."""
    while count < frames.shape[1]:
        if end - at < header:
            return at, count, MORE
        captured = word(buf, at + 8, big)
        if captured > MAX_CAPTURED:
            return at, count, DAMAGED
        if end - at < header + captured:
            return at, count, MORE
        frames[OFFSET, count] = at + header
        frames[CAPTURED_LEN, count] = captured
        frames[FRAME_LEN, count] = min(word(buf, at + 12, big), MAX_LEN)
        frames[TICKS, count] = word(buf, at, big) * units + word(buf, at + 4, big)
        frames[INTERFACE, count] = 0
        frames[DROPPED, count] = 0
        at += header + captured
        count += 1
    return at, count, FULL


def scan_pcapng(buf, at, end, big, interfaces, first, frames, count):
    """Do the same for enhanced packet blocks; any other block ends the scan.

    The section has `interfaces` interfaces, the first one of them is number `first` in the file.
    """
    while count < frames.shape[1]:
        if end - at < 12:
            return at, count, MORE
        if word(buf, at, big) != ENHANCED_PACKET:
            return at, count, OTHER_BLOCK
        size = word(buf, at + 4, big)
        if size < 32 or size % 4 or size > 2 * MAX_CAPTURED:
            return at, count, DAMAGED
        if end - at < size:
            return at, count, MORE
        captured = word(buf, at + 20, big)
        if captured > size - 32 or captured > MAX_CAPTURED or word(buf, at + size - 4, big) != size:
            return at, count, DAMAGED
        interface = word(buf, at + 8, big)
        frames[OFFSET, count] = at + 28
        frames[CAPTURED_LEN, count] = captured
        frames[FRAME_LEN, count] = min(word(buf, at + 24, big), MAX_LEN)
        frames[TICKS, count] = ticks(word(buf, at + 12, big), word(buf, at + 16, big))
        frames[INTERFACE, count] = first + interface if interface < interfaces else NO_INTERFACE
        options_at = at + 28 + captured + -captured % 4
        frames[DROPPED, count] = dropped(buf, options_at, at + size - 4, big) if size > 44 + captured else 0
        at += size
        count += 1
    return at, count, FULL


def dropped(buf, at, end, big):
    """Return the option epb_dropcount of a packet block, as far as 63 bits hold it; 0 if it has none."""
    for _ in range(MAX_OPTIONS):
        if end - at < 12:
            return 0
        head = word(buf, at, big)
        code, size = (head >> 16, head & 0xFFFF) if big else (head & 0xFFFF, head >> 16)
        if code == 4 and size == 8:
            high, low = word(buf, at + 4, big), word(buf, at + 8, big)
            return max(ticks(high, low) if big else ticks(low, high), 0)
        at += 4 + size + -size % 4
    return 0


def ticks(high, low):
    """Return a 64-bit time stamp, or -1 if it is beyond 63 bits: no clock says that."""
    return high << 32 | low if high < 0x80000000 else -1


def date(frames, count, clocks, time):
    """Enter when each frame was captured, in nanoseconds since 1970; NAT where none is given or none can be.

    ``clocks[i]`` says of interface i: time stamps per second or 0, seconds to add, stamps that make a unit.
    """
    for i in range(count):
        clock = frames[INTERFACE, i]
        time[i] = NAT
        if clock >= 0:
            time[i] = nanoseconds(frames[TICKS, i], clocks[clock, 0], clocks[clock, 1], clocks[clock, 2])


def nanoseconds(stamp, units, offset, fine):
    """Return a time; `fine` stamps at a time, so that the product stays within 64 bits."""
    if stamp < 0 or units == 0:
        return NAT
    seconds = stamp // units + offset
    if not -LATEST < seconds < LATEST:
        return NAT
    return seconds * 1_000_000_000 + stamp % units // fine * 1_000_000_000 // (units // fine)


def locate(buf, frames, count, links):
    """Find the network layer of each frame; `links` are the LINKTYPE numbers of the interfaces.

    Return how many frames have more layers than are read here.
    """
    wrapped = 0
    for i in range(count):
        interface = frames[INTERFACE, i]
        at = frames[OFFSET, i]
        end = at + frames[CAPTURED_LEN, i]
        if interface < 0:
            kind = interface
        else:
            kind, at = network(buf, at, end, links[interface])
        if kind in (IPV4, IPV6) and holds_ip(buf, at, end):
            kind += TUNNEL
        frames[KIND, i] = kind
        frames[NETWORK, i] = at
        frames[OUTER_LEN, i] = 0
        if kind >= TUNNEL or kind in WRAPPED:
            wrapped += 1
    return wrapped


def network(buf, at, end, link):
    """Return what follows the link layer (an EtherType, or why there is none) and where it starts."""
    if link == 1:
        return ethernet(buf, at + 12, end)
    if link == 113:
        return ethernet(buf, at + 14, end)
    if link == 276:
        return cooked2(buf, at, end)
    if link == 101 or link == 12 or link == 14:
        return raw(buf, at, end)
    if link == 228:
        return IPV4, at
    if link == 229:
        return IPV6, at
    if link == 0 or link == 108:
        return loopback(buf, at, end)
    if link == 9:
        return PPP, at
    return LINK_UNKNOWN, at


def ethernet(buf, at, end):
    """Follow VLAN tags from the EtherType at `at`."""
    for _ in range(MAX_TAGS + 1):
        if end - at < 2:
            return CUT, at
        kind = u16(buf, at)
        at += 2
        if kind != 0x8100 and kind != 0x88A8 and kind != 0x9100:
            return (kind if kind >= 0x0600 else NOT_IP), at  # below: a length, IEEE 802.3
        at += 2
    return NOT_IP, at


def cooked2(buf, at, end):
    """Read the protocol of Linux cooked v2; behind that of a VLAN its tag follows."""
    if end - at < 20:
        return CUT, at
    kind = u16(buf, at)
    return ethernet(buf, at + 22, end) if kind == 0x8100 or kind == 0x88A8 else (kind, at + 20)


def raw(buf, at, end):
    """Tell the version from the first byte."""
    if end <= at:
        return CUT, at
    version = buf[at] >> 4
    return (IPV4 if version == 4 else IPV6 if version == 6 else NOT_IP), at


def loopback(buf, at, end):
    """Read the address family, which has the byte order of the machine that captured."""
    if end - at < 4:
        return CUT, at
    family = buf[at] | buf[at + 3]
    if buf[at + 1] or buf[at + 2]:
        return NOT_IP, at
    if family == 2:
        return IPV4, at + 4
    return (IPV6 if family in (10, 24, 28, 30) else NOT_IP), at + 4


def holds_ip(buf, at, end):
    """Tell whether an IP packet may hold another one: IP in IP, 6in4, 4in6, GRE, VXLAN, Geneve."""
    if end - at < 28:
        return False
    if buf[at] >> 4 == 4:
        protocol, transport = buf[at + 9] + 0, at + (buf[at] & 15) * 4
        if protocol == TCP or u16(buf, at + 6) & 0x1FFF:
            return False
    elif buf[at + 6] == TCP:
        return False
    else:
        protocol, transport, _, offset, _, _ = ip_header(buf, at, end)
        if offset:
            return False
    if protocol == UDP:
        return end - transport >= 8 and u16(buf, transport + 2) in (VXLAN, VXLAN_OF_LINUX, GENEVE)
    return protocol in (IP_IN_IP, IPV6_IN_IP, GRE)


def decode(buf, frames, count, cells, memory):
    """Fill `cells` from the IP packets among `frames`; return the number of rows.

    ``frames[KIND]`` of each becomes KEPT or the reason why it has no row: an EtherType, or negative.
    """
    row = 0
    for i in range(count):
        kind = frames[KIND, i]
        if kind in (IPV4, IPV6):
            kind = packet(buf, frames, i, cells, row, memory)
        frames[KIND, i] = kind
        if kind in (KEPT, BAD_TCP, LONG_IP):
            cells[INDEX, row] = i
            row += 1
    return row


def packet(buf, frames, i, cells, row, memory):
    """Decode one IP packet into `row`, of which nothing is touched if the packet gives none."""
    at = frames[NETWORK, i]
    end = frames[OFFSET, i] + frames[CAPTURED_LEN, i]
    wire_end = frames[OFFSET, i] + frames[FRAME_LEN, i]
    protocol, transport, ip_len, fragment_offset, more, fragment_id = ip_header(buf, at, end)
    if protocol < 0:
        return protocol
    if protocol not in (TCP, ICMP, ICMPV6):
        return OTHER_PROTOCOL - protocol
    if ip_len == 0:  # segmentation offload, or BIG TCP
        ip_len = wire_end - at
    ip_end = at + ip_len
    end = min(end, ip_end)  # what follows is padding
    if fragment_offset == 0 and end - transport < (8 if protocol == TCP else 4):
        return CUT if end < ip_end else BAD_IP
    if ip_end < transport:
        return BAD_IP
    ip_cells(buf, at, protocol, ip_len, cells, row, memory)
    fragment_cells(fragment_offset, more, fragment_id, cells, row)
    if fragment_offset:
        return KEPT
    if protocol == TCP:
        if end - transport >= 18 and not more:
            cells[CHECKSUM_OFFLOAD, row] = checksum_offload(buf, at, transport, ip_end)
        return tcp(buf, transport, end, ip_end, wire_end, cells, row, memory)
    icmp(buf, transport, end, cells, row, memory)
    return KEPT


def ip_header(buf, at, end):
    """Return protocol, transport's place, length, fragment offset, more fragments, identification.

    The protocol is a (negative) reason if no header can be read; the length is 0 where the header says 0.
    """
    if end - at < 20:
        return CUT, 0, 0, 0, 0, 0
    version = buf[at] >> 4
    if version == 6:
        return ipv6_header(buf, at, end) if end - at >= 40 else (CUT, 0, 0, 0, 0, 0)
    header = (buf[at] & 15) * 4
    if version != 4 or header < 20:
        return BAD_IP, 0, 0, 0, 0, 0
    fragment = u16(buf, at + 6)
    offset = (fragment & 0x1FFF) * 8
    return buf[at + 9] + 0, at + header, u16(buf, at + 2), offset, fragment >> 13 & 1, u16(buf, at + 4)


def ipv6_header(buf, at, end):
    """Walk the extension headers (RFC 8200, 4) to the transport; a later fragment ends the walk."""
    protocol, place, offset, more, fragment_id = buf[at + 6] + 0, at + 40, 0, 0, 0
    length = u16(buf, at + 4)
    ip_len = length + 40 if length else 0
    for _ in range(MAX_EXTENSIONS):
        if offset or protocol not in (0, 43, FRAGMENT, 51, 60, 135):
            break
        if end - place < 8:
            return CUT, 0, 0, 0, 0, 0
        size = (buf[place + 1] + 1) * 8
        if protocol == FRAGMENT:
            size = 8
            offset = u16(buf, place + 2) & 0xFFF8
            more = buf[place + 3] & 1
            fragment_id = u32(buf, place + 4)
        elif protocol == 51:  # authentication header, RFC 4302: counts in words
            size = (buf[place + 1] + 2) * 4
        protocol = buf[place] + 0
        place += size
    return protocol, place, ip_len, offset, more, fragment_id


def ip_cells(buf, at, protocol, ip_len, cells, row, memory):
    """Fill what both versions have, and what only IPv4 has."""
    version = buf[at] >> 4
    cells[IP_VERSION, row] = version
    cells[IP_PROTOCOL, row] = protocol
    cells[IP_LEN, row] = ip_len
    if version == 4:
        cells[TTL, row] = buf[at + 8]
        cells[IP_ID, row] = u16(buf, at + 4)
        cells[DF, row] = buf[at + 6] >> 6 & 1
        cells[SRC, row] = host4(buf, at + 12, memory)
        cells[DST, row] = host4(buf, at + 16, memory)
    else:
        cells[TTL, row] = buf[at + 7]
        cells[SRC, row] = host6(buf, at + 8, memory)
        cells[DST, row] = host6(buf, at + 24, memory)


def fragment_cells(fragment_offset, more, fragment_id, cells, row):
    """Fill the fragment columns; only a fragment keeps the identification that ties it to others."""
    cells[FRAGMENT_OFFSET, row] = fragment_offset
    cells[MORE_FRAGMENTS, row] = more
    if fragment_offset or more:
        cells[FRAGMENT_ID, row] = fragment_id


def tcp(buf, at, end, ip_end, wire_end, cells, row, memory):
    """Fill the TCP columns from what was captured of the header, at least 8 bytes."""
    source = cells[SRC, row] << 16 | u16(buf, at)
    target = cells[DST, row] << 16 | u16(buf, at + 2)
    cells[SRC_PORT, row] = source & 0xFFFF
    cells[DST_PORT, row] = target & 0xFFFF
    cells[SEQ, row] = u32(buf, at + 4)
    if end - at < 16:  # Wireshark numbers no connection by so little
        cells[STREAM, row] = known_stream(source, target, memory)
        return KEPT if end < ip_end else BAD_TCP
    header = (buf[at + 12] >> 4) * 4
    cells[ACK, row] = u32(buf, at + 8)
    cells[FLAGS, row] = u16(buf, at + 12) & 0x0FFF
    cells[WINDOW, row] = u16(buf, at + 14)
    cells[TCP_HEADER_LEN, row] = header
    number(source, target, ip_end >= at + header, cells, row, memory)
    if header < 20 or ip_end < at + header:
        return BAD_TCP
    cells[TCP_LEN, row] = ip_end - at - header
    options(buf, at + 20, min(end, at + header), end >= at + header, cells, row)
    if ip_end > wire_end:
        return LONG_IP
    if at + header < end:
        cells[PAYLOAD_OFFSET, row] = at + header
    return KEPT


def checksum_offload(buf, at, transport, ip_end):
    """Tell whether the checksum is that of the pseudo-header only: the network card is to add the rest."""
    total = TCP + ip_end - transport
    first, last = (at + 12, at + 20) if buf[at] >> 4 == 4 else (at + 8, at + 40)
    for place in range(first, last, 4):
        total += u32(buf, place)
    for _ in range(3):
        total = (total & 0xFFFF) + (total >> 16)
    return total == u16(buf, transport + 16)


def number(source, target, fits, cells, row, memory):
    """Give a packet its connection; if its header fits into it, it tells where the directions began."""
    found = stream(source, target, cells[SEQ, row], cells[FLAGS, row], memory)
    cells[STREAM, row] = memory.connections[found, NUMBER]
    if fits and cells[MORE_FRAGMENTS, row] == 0:
        learn_bases(found, source <= target, cells[SEQ, row], cells[ACK, row], cells[FLAGS, row], memory)


def options(buf, at, end, captured, cells, row):
    """Read the TCP options; where the snap length cut them off, what was not seen stays absent."""
    if captured:
        cells[SACK_PERMITTED, row] = 0
    for _ in range(MAX_OPTIONS):
        if end - at < 1 or buf[at] == 0:
            return
        if buf[at] == 1:
            at += 1
            continue
        if end - at < 2 or buf[at + 1] < 2 or end - at < buf[at + 1]:
            return
        option(buf, at, cells, row)
        at += buf[at + 1]


def option(buf, at, cells, row):
    """Read one option, if it has the length that its RFC gives it."""
    kind, size = buf[at], buf[at + 1]
    if kind == 2 and size == 4:
        cells[MSS, row] = u16(buf, at + 2)
    elif kind == 3 and size == 3:
        cells[WINDOW_SCALE, row] = buf[at + 2]
    elif kind == 4 and size == 2:
        cells[SACK_PERMITTED, row] = 1
    elif kind == 5 and size > 2 and size % 8 == 2:
        cells[SACK_AT, row] = at
    elif kind == 8 and size == 10:
        cells[TS_VALUE, row] = u32(buf, at + 2)
        cells[TS_ECHO, row] = u32(buf, at + 6)


def icmp(buf, at, end, cells, row, memory):
    """Fill the ICMP columns; an error message belongs to the connection whose packet it quotes."""
    kind, code = buf[at], buf[at + 1]
    cells[ICMP_TYPE, row] = kind
    cells[ICMP_CODE, row] = code
    if end - at < 8:
        return
    if cells[IP_VERSION, row] == 4 and cells[IP_PROTOCOL, row] == ICMP:
        if kind == 3 and code == 4:
            cells[NEXT_HOP_MTU, row] = u16(buf, at + 6)
        if kind in (3, 4, 5, 11, 12):
            quote(buf, at + 8, end, cells, row, memory)
    elif cells[IP_VERSION, row] == 6 and cells[IP_PROTOCOL, row] == ICMPV6:
        if kind == 2:
            cells[NEXT_HOP_MTU, row] = u32(buf, at + 4)
        if kind in (1, 2, 3, 4):
            quote(buf, at + 8, end, cells, row, memory)


def quote(buf, at, end, cells, row, memory):
    """Read the IP header, and the ports, of the packet that an ICMP error quotes."""
    protocol, transport, ip_len, fragment_offset, _, _ = ip_header(buf, at, end)
    version = cells[IP_VERSION, row]
    if protocol < 0 or buf[at] >> 4 != version:
        return
    cells[QUOTED_IP_LEN, row] = ip_len
    if protocol != TCP or fragment_offset or end - transport < 4:
        return
    if version == 4:
        source, target = host4(buf, at + 12, memory), host4(buf, at + 16, memory)
    else:
        source, target = host6(buf, at + 8, memory), host6(buf, at + 24, memory)
    source = source << 16 | u16(buf, transport)
    target = target << 16 | u16(buf, transport + 2)
    if end - transport >= 16:
        found = stream(source, target, u32(buf, transport + 4), buf[transport + 13], memory)
        cells[STREAM, row] = memory.connections[found, NUMBER]
    else:
        cells[STREAM, row] = known_stream(source, target, memory)


def stream(source, target, seq, flags, memory):
    """Find a packet's connection; a SYN with another sequence number begins a new one, as in Wireshark."""
    found = connection(source, target, True, memory)
    table = memory.connections
    base = table[found, LOW_BASE if source <= target else HIGH_BASE]
    if flags & SYN_ACK == SYN and base >= 0 and base != seq:
        table[found, NUMBER] = memory.counters[STREAMS]
        memory.counters[STREAMS] += 1
        table[found, LOW_BASE] = -1
        table[found, HIGH_BASE] = -1
    return found


def learn_bases(found, from_low, seq, ack, flags, memory):
    """Keep the number that each direction began with, from its first packet or the first ACK of it."""
    mine, other = (LOW_BASE, HIGH_BASE) if from_low else (HIGH_BASE, LOW_BASE)
    table = memory.connections
    if table[found, mine] < 0:
        table[found, mine] = seq if flags & SYN else (seq - 1) & 0xFFFFFFFF
    if table[found, other] < 0 and flags & FLAG_ACK:
        table[found, other] = (ack - 1) & 0xFFFFFFFF


def known_stream(source, target, memory):
    """Return the number of the connection if there is one, else -1."""
    found = connection(source, target, False, memory)
    return memory.connections[found, NUMBER] if found >= 0 else -1


def connection(source, target, add, memory):
    """Return the row of a connection in memory, or -1 if it is new and not to be added."""
    low, high = min(source, target), max(source, target)
    slots, table = memory.connection_slots, memory.connections
    place = connection_hash(low, high, memory) & (len(slots) - 1)
    while slots[place] >= 0:
        found = slots[place]
        if table[found, LOW_END] == low and table[found, HIGH_END] == high:
            return found
        place = (place + 1) & (len(slots) - 1)
    if not add:
        return -1
    found = memory.counters[CONNECTIONS]
    memory.counters[CONNECTIONS] += 1
    slots[place] = found
    table[found, LOW_END] = low
    table[found, HIGH_END] = high
    table[found, NUMBER] = memory.counters[STREAMS]
    memory.counters[STREAMS] += 1
    table[found, LOW_BASE] = -1
    table[found, HIGH_BASE] = -1
    return found


def host4(buf, at, memory):
    """Return the number of an IPv4 address, counted from 0 as they appear."""
    return host(-1, 0, 0, u32(buf, at), memory)


def host6(buf, at, memory):
    """Return the number of an IPv6 address."""
    return host(u32(buf, at), u32(buf, at + 4), u32(buf, at + 8), u32(buf, at + 12), memory)


def host(a, b, c, d, memory):
    """Return the number of the address of these words, a new one if it was never seen."""
    slots, table = memory.host_slots, memory.hosts
    place = host_hash(a, b, c, d, memory) & (len(slots) - 1)
    while slots[place] >= 0:
        found = slots[place]
        if table[found, 3] == d and table[found, 2] == c and table[found, 1] == b and table[found, 0] == a:
            return found
        place = (place + 1) & (len(slots) - 1)
    found = memory.counters[HOSTS]
    memory.counters[HOSTS] += 1
    slots[place] = found
    table[found, 0] = a
    table[found, 1] = b
    table[found, 2] = c
    table[found, 3] = d
    return found


def host_hash(a, b, c, d, memory):
    """Hash an address with this reader's secret, so that nobody can choose addresses that collide."""
    h = mix(d, c + memory.counters[SECRET])
    return h if a < 0 else mix(h, mix(a, b))


def connection_hash(low, high, memory):
    """Hash the two ends of a connection."""
    secret = memory.counters[SECRET]
    return mix(mix(low >> 16, low + secret), mix(high >> 16, high + secret))


def rehash(memory):
    """Enter all that is in the tables of `memory` into its (empty, larger) slots."""
    hosts, connections = memory.hosts, memory.connections
    for i in range(memory.counters[HOSTS]):
        h = host_hash(hosts[i, 0], hosts[i, 1], hosts[i, 2], hosts[i, 3], memory)
        enter(memory.host_slots, h, i)
    for i in range(memory.counters[CONNECTIONS]):
        enter(
            memory.connection_slots,
            connection_hash(connections[i, LOW_END], connections[i, HIGH_END], memory),
            i,
        )


def enter(slots, hashed, number):
    """Put `number` into the first free slot."""
    place = hashed & (len(slots) - 1)
    while slots[place] >= 0:
        place = (place + 1) & (len(slots) - 1)
    slots[place] = number
