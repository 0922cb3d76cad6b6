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


def enhanced(packet, ticks=START * 10**6, number=0, order="<"):
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet))
    return block(6, head + packet, order)


def simple(packet, length=None, order="<"):
    return block(3, struct.pack(f"{order}I", length or len(packet)) + packet, order)


def old(packet, ticks=START * 10**6, number=0, order="<"):
    ends = ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet)
    return block(2, struct.pack(f"{order}HHIIII", number, 0, *ends) + packet, order)
