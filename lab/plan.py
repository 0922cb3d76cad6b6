"""What makes an incident: who sends what where, over which ways, and what must come of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from lab.capture import Point
from lab.mail import Settings
from lab.namespaces import Host
from lab.router import Way

Hosts = tuple[Host, Host, Host]  # sender, broken peer, healthy peer


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One incident: hosts, ways, Exims, messages, capture, and what must have happened."""

    seed: int
    story: str
    hosts: Hosts
    forward: Way  # sender to broken peer
    reverse: Way  # broken peer to sender
    other: Way  # between sender and healthy peer, both ways
    exims: Mapping[str, Settings]  # by role
    to_broken: tuple[int, ...]  # sizes of the messages, octets on the wire
    to_healthy: tuple[int, ...]
    to_both: tuple[int, ...] = ()
    gap: float = 0.5  # mean time between messages [s]
    queue_runs: int = 0  # after the first deliveries
    pings: bool = True  # the sender pings the broken peer meanwhile
    tail: float = 30.0  # the capture goes on after the last delivery [s]
    capture: Point
    log: str = "sender"  # the host whose log is kept
    cause: str | None  # None: a healthy control
    direction: str | None = None
    acceptable: tuple[str, ...] = ()
    stuck: bool = True  # packets above the path MTU are repeated
    icmp_seen: bool = False  # "packet too big" reaches the sender's interface

    @property
    def ways(self) -> dict[tuple[str, str], Way]:
        """The router's ways, by where from and where to."""
        return {
            ("sender", "broken"): self.forward,
            ("broken", "sender"): self.reverse,
            ("sender", "healthy"): self.other,
            ("healthy", "sender"): self.other,
        }
