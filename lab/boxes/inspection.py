"""Boxes that look at what packets carry, and act on it."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lab.boxes.box import Box, Direction, concerns
from lab.packet import TTL, Packet

END_OF_DATA = b"\r\n.\r\n"  # RFC 5321 4.1.1.4
START_TLS = b"STARTTLS\r\n"  # RFC 3207; sent alone, since the reply decides what follows
Reaction = Literal["drop", "forget", "reset client", "reset both"]


@dataclass
class Inspection(Box):
    """Reacts to bytes in one TCP segment, until STARTTLS hides what follows.

    It drops the segment, forgets the connection from then on (both ways), or forges a RST to the
    client or to both ends; the segment itself goes no further in any case.
    """

    pattern: bytes
    reaction: Reaction = "drop"
    direction: Direction = "forward"
    ttl: int = TTL  # of a forged RST
    forgotten: set[tuple[int, int]] = field(default_factory=set)
    secure: set[tuple[int, int]] = field(default_factory=set)

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        connection = packet.connection
        if connection in self.forgotten:
            return
        if not self._matches(packet):
            yield packet
            return
        if self.reaction in ("forget", "reset client", "reset both"):
            assert connection
            self.forgotten.add(connection)
        if self.reaction.startswith("reset"):
            yield packet.reset(to_sender=True, ttl=self.ttl)
        if self.reaction == "reset both":
            yield packet.reset(to_sender=False, ttl=self.ttl)

    def _matches(self, packet: Packet) -> bool:
        tcp, connection = packet.tcp, packet.connection
        if not tcp or not connection or connection in self.secure:
            return False
        if packet.forward and tcp.payload.upper() == START_TLS:
            self.secure.add(connection)
        return concerns(self.direction, packet) and self.pattern in tcp.payload


@dataclass
class SplitDot(Box):
    """Drops the segment with the rest of a CRLF.CRLF that is cut over two (CSCds90792)."""

    ends: dict[tuple[int, int], tuple[int, bytes]] = field(default_factory=dict)

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        tcp, connection = packet.tcp, packet.connection
        if not packet.forward or not tcp or not tcp.payload or not connection:
            yield packet
            return
        expected, before = self.ends.get(connection, (tcp.seq, b""))
        joined = before + tcp.payload
        if tcp.seq == expected and _cut(joined, len(before)):
            return
        if tcp.seq == expected:
            self.ends[connection] = ((tcp.seq + len(tcp.payload)) % 2**32, joined[1 - len(END_OF_DATA) :])
        yield packet


def _cut(data: bytes, at: int) -> bool:
    """Whether a CRLF.CRLF lies across a place."""
    found = data.find(END_OF_DATA, max(0, at - len(END_OF_DATA) + 1))
    return 0 <= found < at < found + len(END_OF_DATA)
