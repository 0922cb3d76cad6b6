"""Incidents whose files do not hold what would decide."""

from lab.boxes.mtu import Mtu
from lab.capture import FILTER, Point
from lab.claims import every
from lab.incidents.draw import NO_CHUNKING, cast, mails, receiver, sender, sizes
from lab.plan import Fault, Plan
from lab.router import Path

HOSTS = cast(6401)

PLANS = {
    "recorded-the-wrong-host": Plan(
        seed=6401,
        title="The capture was taken of another peer",
        story="""\
All of a customer's long mail times out, and the capture was taken of the wrong peer, a healthy one. The true
fault was a path-MTU black hole, but neither file can show it: the log has timeouts after end of data for every
message to this peer, all of them long; the capture has nothing of it. One should see that it cannot be said,
what it could be, and which capture to take. `notebooks/1-incident.ipynb` shows it.""",
        hosts=HOSTS,
        paths={
            ("sender", "broken"): Path((Mtu(1400, icmp=False),), delay=0.018),
            ("sender", "healthy"): Path(delay=0.011),
        },
        servers={
            "sender": sender("milliseconds", zone="Europe/Warsaw", timeout=6, final=8),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails(sizes(6401, 6, 15000, 40000), sizes(6402, 6, 600, 40000)),
        tail=2,
        captures=(Point(filter=f"host {HOSTS[2].address} and ({FILTER})"),),
        faults=(Fault(cause="unexplained", hits=every, shows=()),),
        acceptable=(
            *(
                "unexplained",
                "pmtu_black_hole",
                "fragment_loss",
                "window_scaling",
                "state_loss",
                "packet_loss",
            ),
            *("remote_timeout", "split_dot", "nul_byte_drop", "content_pattern_drop"),
        ),
    ),
}
