"""The plans: what is sent where, over which ways. Plain data; the seed fixes what is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass

from lab.capture import Point
from lab.mail import Settings
from lab.namespaces import Host
from lab.router import Way

LOG_SELECTOR = (
    "+millisec +pid +incoming_interface +incoming_port +outgoing_interface +outgoing_port +smtp_connection "
    "+smtp_incomplete_transaction +smtp_no_mail +deliver_time +receive_time +queue_time +delivery_size "
    "+pipelining +protocol_detail"
)
NO_CHUNKING = {"chunking_advertise_hosts": ""}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One incident: hosts, ways, Exims, messages, capture, and what must have happened."""

    seed: int
    story: str
    hosts: tuple[Host, Host, Host]  # sender, broken peer, healthy peer
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


BLACK_HOLE = Plan(
    seed=20261122,
    story="""\
A mail server sends to two partners. Short messages reach both; to `mx1.example.net` everything above some
1.3 kB fails every time, while `mx.example.com` takes messages of any size. A link on the way to the first
carries packets of at most 1400 octets, and the router in front of it drops larger ones without a word: no
ICMP "fragmentation needed" comes back.

One should see: to 198.51.100.25 packets of 1500 octets repeated at doubling intervals and never acknowledged,
small ones (commands, pings, short messages) answered at once; to 203.0.113.25 packets of 1500 octets that
arrive. In the log `SMTP timeout after end of data` where the message fitted the send buffer, `SMTP timeout
after sending data block` where it did not. `notebooks/1-incident.ipynb` shows it.""",
    hosts=(
        Host("sender", "mail.example.org", "192.0.2.10"),
        Host("broken", "mx1.example.net", "198.51.100.25"),
        Host("healthy", "mx.example.com", "203.0.113.25"),
    ),
    forward=Way(mtu=1400, icmp=False, delay=0.014),
    reverse=Way(delay=0.014),
    other=Way(delay=0.010),
    exims={
        "sender": Settings(
            main={"log_selector": LOG_SELECTOR, "timezone": "UTC"},
            transport={"data_timeout": "15s", "final_timeout": "25s"},
            port=587,
        ),
        "broken": Settings(main={"timezone": "UTC", **NO_CHUNKING}),
        "healthy": Settings(main={"timezone": "UTC"}),
    },
    to_broken=(480, 590, 880, 1120, 1290, 1425, 2300, 5200, 17000, 36000, 112000, 220000),
    to_healthy=(700, 1420, 3900, 12500, 108000),
    to_both=(1010, 9400),
    capture=Point(),
    cause="pmtu_black_hole",
    direction="forward",
    acceptable=("pmtu_black_hole",),
)

PLANS = {"pmtu-black-hole": BLACK_HOLE}
