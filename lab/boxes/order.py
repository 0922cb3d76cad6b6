"""Packets out of order and packets that come twice."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lab.boxes.box import Box, Direction, concerns
from lab.packet import Packet


@dataclass
class Reorder(Box):
    """Holds a share of the packets back, so that those behind overtake them."""

    rate: float
    held: float = 0.02  # [s]
    direction: Direction = "both"

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        late = concerns(self.direction, packet) and rng.random() < self.rate
        yield replace(packet, delay=packet.delay + self.held) if late else packet


@dataclass
class Duplicate(Box):
    """Lets a share of the packets come twice."""

    rate: float
    after: float = 0.001  # [s]
    direction: Direction = "both"

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        yield packet
        if concerns(self.direction, packet) and rng.random() < self.rate:
            yield replace(packet, delay=packet.delay + self.after)
