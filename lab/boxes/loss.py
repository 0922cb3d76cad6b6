"""Lost packets, alone or in bursts."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from lab.boxes.box import Box, Direction, concerns
from lab.packet import Packet


@dataclass
class Loss(Box):
    """Loses a share of the packets; with `burst` above 1 that many in a row on average (Gilbert's model)."""

    rate: float
    burst: float = 1.0
    direction: Direction = "both"
    losing: bool = False

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        if not concerns(self.direction, packet):
            yield packet
            return
        if self.burst <= 1:
            self.losing = rng.random() < self.rate
        elif self.losing:
            self.losing = rng.random() >= 1 / self.burst
        else:
            self.losing = rng.random() < self.rate / ((1 - self.rate) * self.burst)
        if not self.losing:
            yield packet
