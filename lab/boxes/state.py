"""Firewalls that keep a table of connections, and lose entries."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from lab.boxes.box import Box
from lab.packet import SYN, TTL, Packet


@dataclass
class Entry:
    """What the table knows of a connection."""

    since: float
    last: float
    octets: int = 0
    gone: bool = False


@dataclass
class Forget(Box):
    """Forgets a connection after so many octets, so long idle, or at an age: its packets die, both ways."""

    octets: int | None = None  # of IP packets, both directions
    idle: float | None = None  # [s]
    age: float | None = None  # [s]
    reset: bool = False  # answer what belongs to no entry with a RST
    ttl: int = TTL  # of that RST
    table: dict[tuple[int, int], Entry] = field(default_factory=dict)

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        tcp, connection = packet.tcp, packet.connection
        if not tcp or not connection:
            yield packet
            return
        if tcp.flags & SYN and packet.forward:
            self.table.setdefault(connection, Entry(now, now))
        entry = self.table.get(connection)
        if entry and not self._lost(entry, now):
            entry.last, entry.octets = now, entry.octets + len(packet.data)
            yield packet
        elif self.reset:
            yield packet.reset(to_sender=True, ttl=self.ttl)

    def _lost(self, entry: Entry, now: float) -> bool:
        entry.gone = (
            entry.gone
            or (self.octets is not None and entry.octets > self.octets)
            or (self.idle is not None and now - entry.last > self.idle)
            or (self.age is not None and now - entry.since > self.age)
        )
        return entry.gone
