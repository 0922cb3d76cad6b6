"""IP packets on their way through the router: read, changed, answered."""

import ipaddress
import struct
from dataclasses import dataclass, replace
from functools import cached_property

TCP, ICMP, ICMPV6, IPV6_FRAGMENT = 6, 1, 58, 44
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
END, NOP, MSS, SCALE, SACK = 0, 1, 2, 3, 5  # kinds of TCP option
MINIMUM_MTU = {4: 576, 6: 1280}  # an ICMP error is no longer than this (RFC 1812, RFC 4443)
DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000
TTL = 64


@dataclass(frozen=True)
class Segment:
    """The TCP part of a packet."""

    source_port: int
    target_port: int
    seq: int
    ack: int
    flags: int
    window: int
    options: bytes
    payload: bytes

    @property
    def length(self) -> int:
        """Sequence numbers it takes: octets, SYN and FIN."""
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)

    def option_at(self, kind: int) -> int | None:
        """Where an option begins among the options (RFC 9293 3.1); None if there is none of its kind."""
        at = 0
        while at < len(self.options) and self.options[at] not in (END, kind):
            at += 1 if self.options[at] == NOP else max(2, self.options[at + 1])
        return at if at < len(self.options) and self.options[at] == kind else None


@dataclass(frozen=True)
class Packet:
    """An IP packet as it goes through the router."""

    data: bytes
    forward: bool  # from the end of the path that is named first
    router: str = ""  # who complains when it cannot go on
    delay: float = 0.0  # beyond that of the path [s]

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.data[0] >> 4

    @property
    def header(self) -> int:
        """Length of the IP header, IPv6 extensions not counted [octet]."""
        return 4 * (self.data[0] & 15) if self.version == 4 else 40

    @property
    def protocol(self) -> int:
        """Number of what the IP packet carries."""
        return self.data[9 if self.version == 4 else 6]

    @property
    def source(self) -> bytes:
        """Address in network order."""
        return self.data[12:16] if self.version == 4 else self.data[8:24]

    @property
    def target(self) -> bytes:
        """Address in network order."""
        return self.data[16:20] if self.version == 4 else self.data[24:40]

    @property
    def dont_fragment(self) -> bool:
        """Whether a router must not cut it up; always so with IPv6."""
        return self.version == 6 or bool(self._fragment_word & DONT_FRAGMENT)

    @property
    def fragment_offset(self) -> int:
        """Octets before this fragment; 0 for a whole IPv4 packet and for IPv6."""
        return 8 * (self._fragment_word & 0x1FFF) if self.version == 4 else 0

    @property
    def is_fragment(self) -> bool:
        """Whether it is a part of an IPv4 packet, the first included."""
        return self.version == 4 and bool(self._fragment_word & 0x3FFF)

    @property
    def _fragment_word(self) -> int:
        return int(struct.unpack_from("!H", self.data, 6)[0])

    @cached_property
    def tcp(self) -> Segment | None:
        """The TCP segment; None if there is none to be read."""
        if self.protocol != TCP or self.fragment_offset:
            return None
        start = self.header
        source, target, seq, ack, size, flags, window = struct.unpack_from("!HHIIBBH", self.data, start)
        end = start + 4 * (size >> 4)
        return Segment(source, target, seq, ack, flags, window, self.data[start + 20 : end], self.data[end:])

    @property
    def connection(self) -> tuple[int, int] | None:
        """Ports at the path's first and second end, the same for both directions; None without TCP."""
        if self.tcp is None:
            return None
        ports = self.tcp.source_port, self.tcp.target_port
        return ports if self.forward else (ports[1], ports[0])

    def one_hop_less(self) -> "Packet":
        """Count the hop of this router."""
        if self.version == 6:
            return replace(self, data=self.data[:7] + bytes([self.data[7] - 1]) + self.data[8:])
        header = self.data[:8] + bytes([self.data[8] - 1]) + self.data[9 : self.header]
        return replace(self, data=with_checksum(header, at=10) + self.data[self.header :])

    def with_options(self, options: bytes) -> "Packet":
        """Exchange the TCP options for others of the same length."""
        start = self.header + 20
        data = self.data[:start] + options + self.data[start + len(options) :]
        return replace(self, data=_with_tcp_checksum(data, self.header))

    def with_numbers(self, seq: int, ack: int) -> "Packet":
        """Exchange the numbers in the TCP header, and nothing else."""
        at = self.header + 4
        data = self.data[:at] + struct.pack("!II", seq % 2**32, ack % 2**32) + self.data[at + 8 :]
        return replace(self, data=_with_tcp_checksum(data, self.header))

    def fragments(self, mtu: int) -> list["Packet"]:
        """Cut an IPv4 packet up (RFC 791 section 3.2)."""
        body, step = self.data[self.header :], (mtu - self.header) // 8 * 8
        pieces = []
        for at in range(0, len(body), step):
            header = bytearray(self.data[: self.header])
            more = MORE_FRAGMENTS if at + step < len(body) else 0
            struct.pack_into("!H", header, 2, self.header + len(body[at : at + step]))
            struct.pack_into("!H", header, 6, more | at // 8)
            pieces.append(replace(self, data=with_checksum(bytes(header), at=10) + body[at : at + step]))
        return pieces

    def too_big(self, mtu: int) -> "Packet":
        """Answer that it is above the MTU (RFC 1191 section 4, RFC 4443 section 3.2)."""
        return self.icmp_error(3, 4, mtu) if self.version == 4 else self.icmp_error(2, 0, mtu)

    def icmp_error(self, kind: int, code: int, word: int = 0) -> "Packet":
        """Answer with an ICMP or ICMPv6 error from the router."""
        source = ipaddress.ip_address(self.router).packed
        quote = self.data[: MINIMUM_MTU[self.version] - 28 - 20 * (self.version == 6)]
        message = struct.pack("!BBHI", kind, code, 0, word) + quote
        if self.version == 4:
            data = _ip_header(4, ICMP, source, self.source, len(message)) + with_checksum(message)
        else:
            data = _ip_header(6, ICMPV6, source, self.source, len(message))
            data += _sealed(message, 2, ICMPV6, source, self.source)
        return Packet(data, not self.forward)

    def reset(self, *, to_sender: bool, ttl: int = TTL) -> "Packet":
        """Make a RST as a middlebox forges it (RFC 9293 3.10.7): to the sender, or on to the target."""
        tcp = self.tcp
        assert tcp
        if to_sender:
            ends, ports = (self.target, self.source), (tcp.target_port, tcp.source_port)
            seq, ack = tcp.ack, (tcp.seq + tcp.length) % 2**32
        else:
            ends, ports = (self.source, self.target), (tcp.source_port, tcp.target_port)
            seq, ack = tcp.seq, tcp.ack
        segment = struct.pack("!HHIIBBHHH", *ports, seq, ack, 5 << 4, RST | ACK, 0, 0, 0)
        data = _ip_header(self.version, TCP, *ends, len(segment), ttl) + _sealed(segment, 16, TCP, *ends)
        return Packet(data, self.forward != to_sender)


def with_checksum(data: bytes, at: int = 2) -> bytes:
    """Set the Internet checksum (RFC 1071) of `data` at an offset."""
    data = data[:at] + b"\0\0" + data[at + 2 :]
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return data[:at] + struct.pack("!H", ~total & 0xFFFF) + data[at + 2 :]


def without_padding(data: bytes) -> bytes:
    """Cut what a link adds behind a short IP packet."""
    (length,) = struct.unpack_from("!H", data, 2 if data[0] >> 4 == 4 else 4)
    return data[: length if data[0] >> 4 == 4 else 40 + length]


def _ip_header(
    version: int, protocol: int, source: bytes, target: bytes, length: int, ttl: int = TTL
) -> bytes:
    if version == 6:
        return struct.pack("!IHBB16s16s", 0x60000000, length, protocol, ttl, source, target)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0, ttl, protocol, 0, source, target)
    return with_checksum(header, at=10)


def _sealed(data: bytes, at: int, protocol: int, source: bytes, target: bytes) -> bytes:
    """Set a checksum that covers the pseudo-header (RFC 9293 3.1, RFC 8200 8.1)."""
    pseudo = source + target + struct.pack("!II", len(data), protocol)
    return with_checksum(pseudo + data, at=len(pseudo) + at)[len(pseudo) :]


def _with_tcp_checksum(data: bytes, header: int) -> bytes:
    source, target = (data[12:16], data[16:20]) if header < 40 else (data[8:24], data[24:40])
    return data[:header] + _sealed(data[header:], 16, TCP, source, target)
