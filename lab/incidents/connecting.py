"""Connections that do not come about (facts F)."""

from lab.boxes.blocked import Blocked
from lab.capture import Point
from lab.claims import every, icmp_came, never_connected, refused, swallowed
from lab.incidents.draw import cast, mails, receiver, sender, sizes
from lab.namespaces import Host
from lab.packet import ICMPV6
from lab.plan import Fault, Log, Plan
from lab.router import Path

PLANS = {
    "quiet-since-the-weekend": Plan(
        seed=3201,
        title="One partner has been quiet since the weekend",
        story="""\
On the first peer nothing listens on port 25: its kernel answers every SYN with RST. One should see just
that, within a round trip, and pings that are answered; in the log `Connection refused`. Between two tries
messages are not tried at all (`retry time not reached`), which is not another failure.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3201),
        paths={
            ("sender", "broken"): Path(delay=0.034),
            ("sender", "healthy"): Path(delay=0.012),
        },
        servers={"sender": sender("default", zone="Europe/Rome", timeout=30), "healthy": receiver()},
        mails=mails(broken=sizes(3201, 7, 500, 60000), healthy=sizes(3202, 6, 500, 60000), both=(1400,)),
        gap=1.5,
        queue_runs=2,
        rest=6,
        tail=4,
        faults=(Fault(cause="connect_failure", hits=every, shows=(never_connected, refused)),),
    ),
    "slow-but-all-arrives": Plan(
        seed=3203,
        title="Mail to one partner is slow at times, but all of it arrives",
        story="""\
The partner has two mail hosts. A firewall swallows every SYN to the first, so Exim waits until its
`connect_timeout` is over, and delivers to the second one; while it remembers that, it goes there at once.
One should see: SYNs to the first host repeated at growing intervals and never answered, pings to the same
host answered, and deliveries to the second. In the log, for the first host, `SMTP timeout after initial
connection`, since with TCP Fast Open Exim does not wait for the SYN-ACK; and `=>` for every message.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=(
            Host("sender", "relay.uni.example.org", "198.51.100.77"),
            Host("broken", "in1.press.example.net", "203.0.113.11"),
            Host("second", "in2.press.example.net", "192.0.2.140"),
            Host("healthy", "post.lab4.example.com", "203.0.113.202"),
        ),
        paths={
            ("sender", "broken"): Path((Blocked(),), delay=0.020),
            ("sender", "second"): Path(delay=0.047),
            ("sender", "healthy"): Path(delay=0.016),
        },
        servers={
            "sender": sender("ports", timeout=18, final=60),
            "second": receiver(),
            "healthy": receiver(),
        },
        mails=mails(broken=sizes(3203, 14, 500, 60000), healthy=sizes(3204, 5, 500, 60000)),
        gap=2.0,
        tail=5,
        captures=(Point(file="capture.pcap.gz"),),
        faults=(Fault(cause="connect_failure", severity="warn", shows=(never_connected, swallowed)),),
    ),
    "new-firewall-at-the-partner": Plan(
        seed=3205,
        title="The partner has a new firewall, and mail no longer leaves for them",
        story="""\
A firewall in front of the first peer, which has IPv6 only, answers every SYN to its mail port with ICMPv6
"destination unreachable, communication administratively prohibited" (type 1, code 1). One should see the
two, a round trip apart, and no SYN-ACK; in the log `Permission denied`, which is the kernel's word for it
and has nothing to do with files. The other peer takes everything. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3205, version=6),
        paths={
            ("sender", "broken"): Path((Blocked(icmp=(1, 1)),), delay=0.025),
            ("sender", "healthy"): Path(delay=0.006),
        },
        servers={"sender": sender("milliseconds", timeout=20), "healthy": receiver()},
        mails=mails(broken=sizes(3205, 6, 500, 40000), healthy=sizes(3206, 7, 500, 40000), both=(900,)),
        gap=1.0,
        queue_runs=1,
        rest=5,
        tail=4,
        captures=(Point(snap_length=256, file="capture.pcap.gz"),),
        logs=(Log(file="mainlog.gz"),),
        faults=(
            Fault(
                cause="connect_failure",
                hits=every,
                shows=(never_connected, icmp_came((ICMPV6, 1, 1))),
            ),
        ),
    ),
}
