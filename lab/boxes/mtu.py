"""A link that takes no large packets, and what becomes of fragments."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from lab.boxes.box import Box, Direction, concerns
from lab.packet import IPV6_FRAGMENT, MSS, SYN, Packet

TCP_AND_IP = {4: 40, 6: 60}  # octets of the headers without options


@dataclass
class Mtu(Box):
    """Limits the size of packets: cuts up those that may be, drops the others with or without ICMP."""

    size: int
    icmp: bool = True  # say so when one is dropped
    direction: Direction = "both"
    icmp_after: float = 0.0  # [s]

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        if not concerns(self.direction, packet) or len(packet.data) <= self.size:
            yield packet
        elif not packet.dont_fragment:
            yield from packet.fragments(self.size)
        elif self.icmp:
            yield replace(packet.too_big(self.size), delay=self.icmp_after)


@dataclass
class DropFragments(Box):
    """A firewall that drops fragments: all, or those after the first, which have no ports."""

    which: Literal["all", "later"] = "all"

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        fragment = packet.is_fragment or (packet.version == 6 and packet.protocol == IPV6_FRAGMENT)
        if not fragment or (self.which == "later" and packet.fragment_offset == 0):
            yield packet


@dataclass
class Clamp(Box):
    """Lowers the MSS in SYNs to what fits a link (RFC 9293 3.7.1)."""

    mtu: int
    direction: Direction = "both"

    def take(self, packet: Packet, now: float, rng: random.Random) -> Iterator[Packet]:
        tcp = packet.tcp
        if (
            tcp
            and tcp.flags & SYN
            and tcp.options[:2] == bytes((MSS, 4))
            and concerns(self.direction, packet)
        ):
            mss = min(int.from_bytes(tcp.options[2:4], "big"), self.mtu - TCP_AND_IP[packet.version])
            packet = packet.with_options(tcp.options[:2] + mss.to_bytes(2, "big") + tcp.options[4:])
        yield packet
