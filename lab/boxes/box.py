"""What every box on a path is."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lab.packet import Packet

Direction = Literal["forward", "reverse", "both"]


@dataclass
class Box:
    """A station on the path. A plan names its settings; a run works on a copy, which may keep state."""

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        """Give what comes of a packet: itself, changed, later, twice, not at all, or an answer to its sender.

        What keeps the packet's direction goes on to the next box, an answer goes straight back.
        """
        raise NotImplementedError


def concerns(direction: Direction, packet: Packet) -> bool:
    """Whether a box that works in a direction has to do with a packet."""
    return direction == "both" or (direction == "forward") == packet.forward
