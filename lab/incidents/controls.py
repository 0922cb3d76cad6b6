"""Healthy paths that look guilty of packet sizes (facts A, G)."""

from dataclasses import replace

from lab.boxes.mtu import Clamp, Mtu
from lab.capture import Point
from lab.claims import (
    clamped,
    delivered_late,
    fragments_arrived,
    no_too_big,
    none,
    oversize_probed,
    sizes_shrank,
    super_packets,
    too_big_came,
)
from lab.incidents.draw import NO_CHUNKING, cast, mails, receiver, sender, sizes
from lab.incidents.packet_size import NO_PMTUD
from lab.incidents.packet_size import PLANS as PACKET_SIZE
from lab.plan import Fault, Plan
from lab.router import Path
from lab.server import Behaviour, Tls


def looks_like(mtu: int, *shows: object, cause: str = "pmtu_black_hole") -> Fault:
    """Name what a hasty reader would find."""
    return Fault(cause=cause, params={"pmtu": mtu}, hits=none, shows=shows)  # type: ignore[arg-type]


PLANS = {
    "monday-morning": Plan(
        seed=6301,
        title="Nobody complained: a narrow link that says so",
        story="""\
A healthy control. A link takes packets of at most 1400 octets, and the router in front of it says so: the ICMP
"fragmentation needed" arrives, the sender's kernel sends smaller packets from then on, all mail is delivered.
One should see a few packets of 1500 octets lost, one ICMP message behind each, and never a second try at that
size: path MTU discovery as it ought to work. `notebooks/1-incident.ipynb` finds no fault.""",
        hosts=cast(6301),
        paths={
            ("sender", "broken"): Path((Mtu(1400, direction="forward"),), delay=0.014),
            ("sender", "healthy"): Path(delay=0.010),
        },
        servers={"sender": sender("full", timeout=15, final=25), "broken": receiver(), "healthy": receiver()},
        mails=mails(sizes(6301, 9, 480, 70000), sizes(6302, 4, 480, 60000), (1010, 9400)),
        tail=5,
        looks_like=looks_like(1400, sizes_shrank, too_big_came),
    ),
    "behind-the-tunnel": Plan(
        seed=6303,
        title="Nobody complained: a tunnel that announces itself",
        story="""\
A healthy control. A link takes packets of at most 1400 octets and sends no ICMP; but the router lowers the MSS
in both SYNs (MSS clamping), so that no packet is ever too big. One should see a SYN-ACK with an MSS of 1360
beside a SYN with 1460, packets of up to 1400 octets, none lost, all mail delivered: a clue to the path MTU, no
fault. `notebooks/1-incident.ipynb` finds no fault.""",
        hosts=cast(6303),
        paths={
            ("sender", "broken"): Path((Clamp(1400), Mtu(1400, icmp=False)), delay=0.022),
            ("sender", "healthy"): Path(delay=0.010),
        },
        servers={"sender": sender("ports", timeout=20), "broken": receiver(), "healthy": receiver()},
        mails=mails(sizes(6303, 8, 480, 80000), sizes(6304, 5, 480, 60000), (2000,)),
        tail=5,
        looks_like=looks_like(1400, clamped, no_too_big),
    ),
    "after-the-remedy": replace(
        PACKET_SIZE["pmtu-black-hole"],
        seed=6304,
        title="The same two partners, a day after the remedy",
        story="""\
A healthy control, and what `pmtu-black-hole` is compared with: the same hosts and the same messages, after the
router in front of the narrow link was told to lower the MSS in SYNs. The link still takes packets of at most
1400 octets and still sends no ICMP. One should see a SYN-ACK with an MSS of 1360, no packet above 1400 octets
to 198.51.100.25, and all mail delivered. `smtpkit compare` and `notebooks/5-before-and-after.ipynb` show it.""",
        paths={
            ("sender", "broken"): Path((Clamp(1400), Mtu(1400, icmp=False)), delay=0.014),
            ("sender", "healthy"): Path(delay=0.010),
        },
        faults=(),
        tail=5,
        looks_like=looks_like(1400, clamped, no_too_big),
    ),
    "a-bit-slow": Plan(
        seed=6305,
        title="Mail to one peer is a bit slow",
        story="""\
A black hole that does no harm: packets above 1400 octets vanish without ICMP, but the sender's kernel probes
(`net.ipv4.tcp_mtu_probing=1`): after some repeats it tries smaller packets, they are acknowledged, and the
mail is delivered, some seconds late. A real defect of the path, worth a note, and no failure. One should see
the repeats of 1500 octets and then one of about 1076 that is acknowledged at once.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=(replace(cast(6305)[0], sysctl={"net.ipv4.tcp_mtu_probing": "1"}), *cast(6305)[1:]),
        paths={
            ("sender", "broken"): Path((Mtu(1400, icmp=False, direction="forward"),), delay=0.017),
            ("sender", "healthy"): Path(delay=0.012),
        },
        servers={
            "sender": sender("ports", timeout=50, final=70),
            "broken": receiver(),
            "healthy": receiver(),
        },
        mails=mails((480, 1100, 1425, 2300, 17000, 50000), (700, 12500, 40000), (1010, 9400, 3000)),
        tail=5,
        looks_like=looks_like(1400, oversize_probed, delivered_late(4)),
    ),
    "giant-packets": Plan(
        seed=6306,
        title="Nobody complained: packets larger than the link takes",
        story="""\
A healthy control. The sender's network card cuts large TCP packets up (segmentation offload), so that its own
capture shows packets of many kilobytes on a link of 1500 octets. They never were on the wire; all mail is
delivered. One should see super-packets, acknowledged in parts of 1448 octets.
`notebooks/1-incident.ipynb` finds no fault.""",
        hosts=(replace(cast(6306)[0], offload=True), *cast(6306)[1:]),
        paths={("sender", "broken"): Path(delay=0.015), ("sender", "healthy"): Path(delay=0.029)},
        servers={"sender": sender("milliseconds", timeout=18), "broken": receiver(), "healthy": receiver()},
        mails=mails(sizes(6306, 7, 480, 90000), sizes(6307, 6, 480, 90000)),
        tail=5,
        captures=(Point(file="capture.pcap.gz"),),
        looks_like=looks_like(1500, super_packets),
    ),
    "in-pieces": Plan(
        seed=6308,
        title="Nobody complained: packets that arrive in pieces",
        story="""\
A healthy control. The sender clears DF, a router cuts packets of 1500 octets up for a link of 1300, and the
fragments arrive: all mail is delivered. One should see, at the receiver, first fragments with their later ones
and everything acknowledged; at the sender nothing but packets without DF.
`notebooks/1-incident.ipynb` finds no fault.""",
        hosts=(replace(cast(6308)[0], sysctl=NO_PMTUD), *cast(6308)[1:]),
        paths={
            ("sender", "broken"): Path((Mtu(1300),), delay=0.012),
            ("sender", "healthy"): Path(delay=0.012),
        },
        servers={
            "sender": sender("ports", timeout=18),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails(sizes(6308, 8, 480, 60000), sizes(6309, 4, 480, 30000)),
        tail=5,
        captures=(Point(file="sender.pcap"), Point(role="broken", file="receiver.pcap")),
        looks_like=looks_like(1300, fragments_arrived, cause="fragment_loss"),
    ),
    "long-certificates": Plan(
        seed=6310,
        title="Nobody complained: a partner with a long certificate chain",
        story="""\
A healthy control. A TLS server flight of several full packets over a link of 1420 octets whose router says
what is too big: the handshake ends after one ICMP message towards the server, mail is delivered encrypted. One
should see STARTTLS, the flight, and everything acknowledged. `notebooks/1-incident.ipynb` finds no fault.""",
        hosts=cast(6310),
        paths={
            ("sender", "broken"): Path((Mtu(1420),), delay=0.024),
            ("sender", "healthy"): Path(delay=0.016),
        },
        servers={
            "sender": sender("processes", timeout=20, transport={"hosts_require_tls": "*"}),
            "broken": Behaviour(tls=Tls(octets=6000)),
            "healthy": receiver(key="ec"),
        },
        mails=mails(sizes(6310, 6, 480, 30000), sizes(6311, 6, 480, 30000)),
        tail=5,
        looks_like=replace(looks_like(1420, sizes_shrank), direction="reverse"),
    ),
}
