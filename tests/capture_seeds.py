"""Small captures that between them have every layer and container: what is mutated and cut."""

from capture_bytes import (
    ACK,
    LAYERS,
    SEGMENT,
    SYN,
    back,
    enhanced,
    interface,
    ip4,
    ip6,
    old,
    option,
    out,
    pcap,
    section,
    simple,
    tcp,
)

OPTIONS = bytes.fromhex("020405b4 0402 080a 00000009 00000008 01 030307")
SACK = bytes.fromhex("0101 050a 00000064 000000c8")
PACKETS = [
    out(1, flags=SYN, options=OPTIONS),
    back(7, 2, SYN | ACK, options=OPTIONS),
    SEGMENT,
    back(8, 3, options=SACK),
    ip4(bytes.fromhex("0304 0000 0000 0578") + SEGMENT, 1),
    ip4(tcp(9, data=b"x" * 28), fragment=0x2000),
    ip4(b"y" * 8, fragment=0x0006),
    ip6(bytes.fromhex("3c00 0104 00000000 0600 0104 00000000") + tcp(5, data=b"abc"), following=0),
    ip6(bytes.fromhex("0200 0000 00000500") + ip6(tcp(5)), 58),
    bytes.fromhex("45000055 00010000 40290000 c0000201 c6336419") + ip6(tcp(7, data=b"x")),
    *(bytes.fromhex(header) + SEGMENT for link, header, outer_len in LAYERS if link == 101 and outer_len),
]
CLOCK = option(9, b"\x09") + option(14, bytes(8)) + option(11, b"\0port 25") + option(0, b"")
FILES = {
    "raw": pcap(*PACKETS),
    "ethernet": pcap(*(bytes.fromhex(h) + SEGMENT for link, h, _ in LAYERS if link == 1), link=1),
    "ppp": pcap(bytes.fromhex("ff030021") + SEGMENT, bytes.fromhex("ff030057") + ip6(tcp(1)), link=9),
    "cooked": pcap(*(bytes.fromhex(h) + SEGMENT for link, h, _ in LAYERS if link == 276), link=276),
    "pcapng": section(">")
    + interface(order=">")
    + b"".join(enhanced(p, order=">") for p in PACKETS[:9])
    + section()
    + interface(snap=60, options=CLOCK)
    + simple(SEGMENT)
    + old(SEGMENT)
    + enhanced(SEGMENT, options=option(1, b"five!") + option(4, bytes(7) + b"\1") + option(0, b"")),
}
