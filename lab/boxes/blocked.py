"""Filters that let no connection come about, always or for a time."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from lab.boxes.box import Box
from lab.packet import TCP, Packet


@dataclass
class Blocked(Box):
    """Drops TCP towards the server, in silence or with an ICMP error such as (3, 13), prohibited."""

    icmp: tuple[int, int] | None = None

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        if packet.protocol != TCP or not packet.forward:
            yield packet
        elif self.icmp:
            yield packet.icmp_error(*self.icmp)


@dataclass
class Outage(Box):
    """Lets nothing through, either way, between two times since its first packet [s]."""

    begin: float
    end: float
    first: float | None = None

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        self.first = now if self.first is None else self.first
        if not self.begin <= now - self.first < self.end:
            yield packet
