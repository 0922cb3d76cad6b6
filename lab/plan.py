"""What makes an incident: who sends what where, over which path, and what must come of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.capture import Point
from lab.mail import Settings
from lab.messages import Body
from lab.namespaces import Host
from lab.router import Path
from lab.server import Behaviour

if TYPE_CHECKING:
    from lab.run import Result, Sent

# What must be seen on the wire and in the log; yields what is wrong.
Claim = Callable[["Result", "Fault"], Iterator[str]]


@dataclass(frozen=True)
class Mail:
    """A message to send."""

    size: int  # octets of data, with CRLF and without the final dot
    to: tuple[str, ...] = ("broken",)  # roles of the peers
    body: Body = field(default_factory=Body)
    by: str = "sender"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong, as the label will have it; for a control, what only looks wrong."""

    cause: str
    shows: tuple[Claim, ...]
    hits: Callable[["Sent"], bool] | None = None  # which messages must fail; None: as chance will have it
    client: str = "sender"
    peer: str = "broken"
    direction: str | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    severity: str = "error"


@dataclass(frozen=True)
class Log:
    """A main log that is kept."""

    role: str = "sender"
    file: str = "mainlog"  # compressed if it ends in .gz


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One incident: hosts, paths, mail servers, messages, what is kept, and what must have happened."""

    seed: int
    title: str  # what the postmaster sees
    story: str
    hosts: tuple[Host, ...]
    paths: Mapping[tuple[str, str], Path]  # by the roles at their ends
    servers: Mapping[str, Settings | Behaviour]  # by role: an Exim, or a small server
    mails: tuple[Mail, ...]
    gap: float = 0.5  # mean time between messages [s]
    together: bool = False  # queue all first, and deliver them in a queue run, over shared connections
    queue_runs: int = 0  # after the first deliveries
    rest: float = 0.0  # before each of these queue runs [s]
    pings: bool = True  # the sender pings the broken peer meanwhile
    tail: float = 30.0  # the captures go on after the last delivery [s]
    captures: tuple[Point, ...] = (Point(),)
    logs: tuple[Log, ...] = (Log(),)
    messages: bool = False  # keep the messages, too
    faults: tuple[Fault, ...] = ()
    looks_like: Fault | None = None  # a healthy control, and whom it could wrongly accuse of what
    acceptable: tuple[str, ...] = ()  # causes that the evidence admits, if more than that of the faults

    def host(self, role: str) -> Host:
        """Find a host."""
        return next(host for host in self.hosts if host.role == role)
