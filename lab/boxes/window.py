"""Boxes that do not understand the window scale option (RFC 7323 section 2)."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lab.boxes.box import Box, Direction, concerns
from lab.packet import NOP, SCALE, SYN, Packet


@dataclass
class ChangeScale(Box):
    """Takes the option out of SYNs, or sets its shift to 0."""

    change: Literal["strip", "zero"]
    direction: Direction  # of the SYNs: "reverse" for the server's

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        if packet.tcp and packet.tcp.flags & SYN and concerns(self.direction, packet):
            options = packet.tcp.options
            at = packet.tcp.option_at(SCALE)
            if at is not None:
                new = bytes((NOP, NOP, NOP)) if self.change == "strip" else options[at : at + 2] + b"\0"
                packet = packet.with_options(options[:at] + new + options[at + 3 :])
        yield packet


@dataclass
class UnscaledWindow(Box):
    """Takes the receiver's window as it stands in the header, and drops what lies beyond."""

    direction: Direction = "forward"
    edges: dict[tuple[tuple[int, int], bool], int] = field(
        default_factory=dict
    )  # highest allowed, by direction

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        tcp, connection = packet.tcp, packet.connection
        if not tcp or not connection:
            yield packet
            return
        allowed = self.edges.get((connection, packet.forward))
        end = tcp.seq + len(tcp.payload)
        beyond = allowed is not None and len(tcp.payload) > 0 and 0 < (end - allowed) % 2**32 < 2**31
        if beyond and concerns(self.direction, packet):
            return
        if not tcp.flags & SYN:  # the window of a SYN is never scaled (RFC 7323 2.2)
            self.edges[connection, not packet.forward] = (tcp.ack + tcp.window) % 2**32
        yield packet
