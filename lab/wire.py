"""What the wire says, read without smtpkit: witnesses on the router's links to a client and to a server.

A witness on the client's link sees what the client sent and what reached it; so with the server. What left
one and never reached the other was lost between.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab.namespaces import Host
from lab.packet import FIN, ICMP, ICMPV6, RST, SYN, TCP, Packet, Segment, without_padding

ETHERNET = 14
TOO_BIG = {(ICMP, 3, 4), (ICMPV6, 2, 0)}  # protocol, type, code


@dataclass(frozen=True)
class Seen:
    """A TCP packet at a witness."""

    time: float
    packet: Packet

    @property
    def tcp(self) -> Segment:
        """Its TCP part, which `Connection` has made sure of."""
        assert self.packet.tcp
        return self.packet.tcp

    @property
    def length(self) -> int:
        """Length of the IP packet [octet]."""
        return len(self.packet.data)

    @property
    def key(self) -> bytes:
        """What a router leaves as it is: all of a segment, but not the options of a SYN."""
        octets = self.packet.data[self.packet.header :]
        return octets[:14] if self.tcp.flags & SYN else octets


@dataclass
class Connection:
    """One TCP connection, as both witnesses have it."""

    at_client: list[Seen] = field(default_factory=list)
    at_server: list[Seen] = field(default_factory=list)

    def sent(self, forward: bool) -> list[Seen]:
        """Packets that an end put on its link."""
        return [
            seen for seen in (self.at_client if forward else self.at_server) if seen.packet.forward == forward
        ]

    def arrived(self, forward: bool) -> list[Seen]:
        """Packets that reached an end."""
        return [
            seen for seen in (self.at_server if forward else self.at_client) if seen.packet.forward == forward
        ]

    def lost(self, forward: bool) -> list[Seen]:
        """Packets that left one end and never reached the other."""
        arrived = Counter(seen.key for seen in self.arrived(forward))
        lost = []
        for seen in self.sent(forward):
            arrived[seen.key] -= 1
            if arrived[seen.key] < 0:
                lost.append(seen)
        return lost

    def repeats(self, forward: bool = True) -> Counter[int]:
        """How often each sequence number was sent with data."""
        return Counter(seen.tcp.seq for seen in self.sent(forward) if seen.tcp.payload)

    def stream(self, forward: bool, arrived: bool = False) -> bytes:
        """The octets that an end sent, or that reached the other, up to the first gap."""
        packets = self.arrived(forward) if arrived else self.sent(forward)
        start = next((seen.tcp.seq + 1 for seen in packets if seen.tcp.flags & SYN), None)
        data = b""
        for seen in sorted(packets, key=lambda seen: (seen.tcp.seq - (start or 0)) % 2**32):
            offset = (seen.tcp.seq - (start or 0)) % 2**32
            if start is not None and offset <= len(data) < offset + len(seen.tcp.payload):
                data += seen.tcp.payload[len(data) - offset :]
        return data

    def acknowledged(self) -> int:
        """Octets of the client that the server acknowledged, as the client saw it."""
        start = next((seen.tcp.seq + 1 for seen in self.sent(True) if seen.tcp.flags & SYN), 0)
        acks = [(seen.tcp.ack - start) % 2**32 for seen in self.arrived(False) if not seen.tcp.flags & SYN]
        return max((ack for ack in acks if ack < 2**31), default=0)

    def closes(self, forward: bool, arrived: bool = False) -> list[Seen]:
        """FINs and RSTs of one end, as sent or as they reached the other."""
        packets = self.arrived(forward) if arrived else self.sent(forward)
        return [seen for seen in packets if seen.tcp.flags & (FIN | RST)]


class Wire:
    """The connections between a client and a server, and the ICMP that came back to the client."""

    def __init__(self, client: Host, server: Host, at_client: Path, at_server: Path) -> None:
        self.connections: dict[tuple[int, int], Connection] = {}
        self.too_big: list[float] = []  # when such an ICMP message reached the client
        self.fragments = {"client": 0, "server": 0}  # that left the one, that reached the other
        self.icmp: Counter[tuple[int, int, int]] = Counter()  # protocol, type, code, towards the client
        self._ends = {client.packed: True, server.packed: False}
        for time, packet in self._between(at_client, client.packed):
            self._sort(time, packet, "client")
        for time, packet in self._between(at_server, client.packed):
            self._sort(time, packet, "server")

    def holding(self, text: bytes) -> list[Connection]:
        """Find the connections in which the client sent a text, in clear."""
        return [each for each in self.connections.values() if text in each.stream(forward=True)]

    def _between(self, file: Path, client: bytes) -> Iterator[tuple[float, Packet]]:
        for time, data in read(file):
            packet = Packet(data, forward=True)
            if packet.source in self._ends and packet.target in self._ends:
                yield time, Packet(data, self._ends[packet.source])
            elif packet.target == client and packet.protocol in (ICMP, ICMPV6):
                yield time, Packet(data, forward=False)  # from a router on the way

    def _sort(self, time: float, packet: Packet, witness: str) -> None:
        if packet.protocol in (ICMP, ICMPV6):
            kind = (packet.protocol, packet.data[packet.header], packet.data[packet.header + 1])
            if not packet.forward and witness == "client":
                self.icmp[kind] += 1
                self.too_big += [time] if kind in TOO_BIG else []
            return
        self.fragments[witness] += packet.is_fragment and packet.forward
        if packet.protocol == TCP and packet.connection and not packet.fragment_offset:
            connection = self.connections.setdefault(packet.connection, Connection())
            getattr(connection, f"at_{witness}").append(Seen(time, packet))


def read(file: Path) -> Iterator[tuple[float, bytes]]:
    """Read time and IP packet from an Ethernet capture as this machine's tcpdump writes it."""
    data = file.read_bytes()
    at = 24
    while at < len(data):
        seconds, fraction, captured = struct.unpack_from("=III", data, at)
        frame = data[at + 16 : at + 16 + captured]
        at += 16 + captured
        if frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
            yield seconds + fraction / 1e6, without_padding(frame[ETHERNET:])
