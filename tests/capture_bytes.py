"""Small captures made by hand: the bytes of headers, and of the files around them."""

import socket
import struct

CLIENT, SERVER = "192.0.2.1", "198.51.100.25"
CLIENT6, SERVER6 = "2001:db8::1", "2001:db8:0:25::2"
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
START = 1_700_000_000  # 2023-11-14 22:13:20 UTC

# 5 bytes from 192.0.2.1:40000 to 198.51.100.25:25; seq 1000, ack 2000, window 501, id 4660, TTL 63, DF.
SEGMENT = bytes.fromhex(
    "4500002d 12344000 3f060000 c0000201 c6336419"  # IPv4, total length 45
    "9c400019 000003e8 000007d0 501801f5 00000000"  # TCP, header of 20 bytes, PSH and ACK
    "51554954 0a"  # QUIT\n
)

# Headers of link layers and tunnels in hexadecimal, before SEGMENT.
ETHERNET = "020000000002 020000000001"
OUTER_GRE = "45000045 00010000 402f0000 c0000201 c6336419"
GRE = OUTER_GRE + "00000800"
ENDS6 = "20010db8" + "00" * 12 + "20010db8" + "00" * 12
OUTER_UDP = "4500005f 00010000 40110000 c0000201 c6336419 c000 12b5 004b 0000"
VXLAN = "0800 0000 00000700" + ETHERNET + "0800"
VXLAN_OVER_IPV6 = "60000000 004b 11 40" + ENDS6 + "c000 12b5 004b 0000" + VXLAN
# link type, headers, bytes of tunnel headers among them
LAYERS = [
    (1, ETHERNET + "0800", 0),
    (1, ETHERNET + "8100 0064 0800", 0),
    (1, ETHERNET + "88a8 0064 8100 0065 0800", 0),
    (1, ETHERNET + "9100 0064 8100 0065 0800", 0),
    (0x30000001, ETHERNET + "0800", 0),  # the upper bits tell of a frame check sequence
    (113, "0000 0001 0006 020000000001 0000 0800", 0),
    (276, "0800 0000 00000002 0001 00 06 020000000001 0000", 0),
    (101, "", 0),
    (12, "", 0),
    (14, "", 0),
    (228, "", 0),
    (0, "02000000", 0),
    (0, "00000002", 0),
    (108, "00000002", 0),
    (9, "ff03 0021", 4),
    (1, ETHERNET + "8864 1100 0001 002f 0021", 8),
    (1, ETHERNET + "8100 0064 8864 1100 0001 002f 0021", 8),
    (1, ETHERNET + "8847 00064140", 4),
    (1, ETHERNET + "8847 00064040 00065140", 8),
    (276, "8100 0000 00000002 0001 00 06 020000000001 0000 0064 0800", 0),
    (1, ETHERNET + "0800" + GRE, 24),
    (
        101,
        OUTER_GRE.replace("0045", "0051") + "b000 0800 00000000 00000007 00000001",
        36,
    ),  # with checksum, key and number
    (101, OUTER_GRE.replace("0045", "0057") + "2000 6558 00000007" + ETHERNET + "0800", 42),  # gretap, NVGRE
    (101, OUTER_GRE.replace("0045", "0049") + "0000 8847 00064140", 28),
    (101, "45000041 00010000 40040000 c0000201 c6336419", 20),  # IP in IP
    (101, "46000045 00010000 40040000 c0000201 c6336419 01010100", 24),  # with IP options
    (101, "60000000 002d 04 40" + ENDS6, 40),  # 4in6
    (101, "60000000 0035 3c 40" + ENDS6 + "0400 0401 04010100", 48),  # as Linux makes it (RFC 2473 4.1.1)
    (101, "60000000 0055 29 40" + ENDS6 + "60000000 002d 04 40" + ENDS6, 80),
    (101, OUTER_UDP + VXLAN, 50),
    (101, OUTER_UDP.replace("12b5", "2118") + VXLAN, 50),  # Linux's port for it
    (101, VXLAN_OVER_IPV6, 70),
    (101, OUTER_UDP.replace("12b5", "17c1") + "0000 6558 00000700" + ETHERNET + "0800", 50),  # Geneve
    (
        101,
        OUTER_UDP.replace("12b5", "17c1").replace("005f", "0059").replace("004b", "0045")
        + "0200 0800 00000700 0102800100000000",
        44,
    ),  # one option
]


def ip4(payload, protocol=6, src=CLIENT, dst=SERVER, ident=1, fragment=0x4000, length=None):
    length = 20 + len(payload) if length is None else length
    ends = socket.inet_aton(src) + socket.inet_aton(dst)
    return struct.pack(">BBHHHBBH", 0x45, 0, length, ident, fragment, 64, protocol, 0) + ends + payload


def ip6(payload, following=6, src=CLIENT6, dst=SERVER6, length=None):
    length = len(payload) if length is None else length
    ends = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
    return struct.pack(">IHBB", 0x60000000, length, following, 64) + ends + payload


def tcp(seq, ack=0, flags=ACK, data=b"", options=b"", ports=(40000, 25)):
    offset = (20 + len(options)) // 4 << 12
    return struct.pack(">HHIIHHHH", *ports, seq, ack, offset | flags, 501, 0, 0) + options + data


def out(*args, **kwargs):
    """Return a packet of the client."""
    return ip4(tcp(*args, **kwargs))


def back(*args, **kwargs):
    """Return a packet of the server."""
    return ip4(tcp(*args, ports=(25, 40000), **kwargs), src=SERVER, dst=CLIENT)


def pcap(*packets, link=101, snap=262144, order="<", nano=False):
    """Return a pcap file; packet i is of START + i seconds and 7 units."""
    data = struct.pack(f"{order}IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, snap, link)
    for i, packet in enumerate(packets):
        kept = packet[:snap]
        data += struct.pack(f"{order}IIII", START + i, 7, len(kept), len(packet)) + kept
    return data


def block(kind, body, order="<"):
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


def option(code, value, order="<"):
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order="<"):
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link=101, snap=0, options=b"", order="<"):
    return block(1, struct.pack(f"{order}HHI", link, 0, snap) + options, order)


def enhanced(packet, ticks=START * 10**6, number=0, order="<", options=b""):
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet))
    return block(6, head + packet + bytes(-len(packet) % 4) * bool(options) + options, order)


def simple(packet, length=None, order="<"):
    return block(3, struct.pack(f"{order}I", length or len(packet)) + packet, order)


def old(packet, ticks=START * 10**6, number=0, order="<"):
    ends = ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet)
    return block(2, struct.pack(f"{order}HHIIII", number, 0, *ends) + packet, order)
