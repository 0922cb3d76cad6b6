"""Firewalls that hide a client's sequence numbers (facts D6)."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from lab.boxes.box import Box
from lab.packet import ACK, Packet


@dataclass
class Renumber(Box):
    """Adds a random number to a client's sequence numbers, but does not take it off again in SACK blocks."""

    added: dict[tuple[int, int], int] = field(default_factory=dict)

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        tcp, connection = packet.tcp, packet.connection
        if tcp and connection:
            added = self.added.setdefault(connection, rng.randrange(2**32))
            forward, back = (added, 0) if packet.forward else (0, added if tcp.flags & ACK else 0)
            packet = packet.with_numbers(tcp.seq + forward, tcp.ack - back)
        yield packet
