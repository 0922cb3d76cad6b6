"""Packets too large for the path (facts A), and STARTTLS that they stop."""

from dataclasses import replace

from lab.boxes.mtu import DropFragments, Mtu
from lab.capture import Point
from lab.claims import every, fragments_lost, longer_than, no_too_big, oversize_lost, too_big_came
from lab.incidents.draw import NO_CHUNKING, cast, mails, receiver, sender, sizes
from lab.namespaces import Host
from lab.plan import Fault, Log, Mail, Plan
from lab.router import Path
from lab.server import Behaviour, Tls

HEADERS = {4: 52, 6: 72}  # octets of IP and TCP with timestamps
DOT = 3
NO_PMTUD = {"net.ipv4.ip_no_pmtu_disc": "1"}
DROP_ICMP = (
    "add table inet filter; "
    "add chain inet filter input { type filter hook input priority 0; policy accept; }; "
    "add rule inet filter input icmp type destination-unreachable drop"
)


def black_hole(mtu: int, version: int = 4, **changes: object) -> Fault:
    """Everything that fills a packet above the path MTU fails."""
    fault = Fault(
        cause="pmtu_black_hole",
        direction="forward",
        params={"pmtu": mtu},
        hits=longer_than(mtu - HEADERS[version] - DOT),
        shows=(oversize_lost, no_too_big),
    )
    return replace(fault, **changes)  # type: ignore[arg-type]


PLANS = {
    "pmtu-black-hole": Plan(
        seed=20261122,
        title="pmtu-black-hole",
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
        paths={
            ("sender", "broken"): Path((Mtu(1400, icmp=False, direction="forward"),), delay=0.014),
            ("sender", "healthy"): Path(delay=0.010),
        },
        servers={
            "sender": sender("full", timeout=15, final=25),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(480, 590, 880, 1120, 1290, 1425, 2300, 5200, 17000, 36000, 90000, 150000),
            healthy=(700, 1420, 3900, 12500, 88000),
            both=(1010, 9400),
        ),
        messages=True,
        faults=(black_hole(1400),),
    ),
    "mail-by-ipv6": Plan(
        seed=6101,
        title="Since the partner has IPv6, half of the mail does not arrive",
        story="""\
The partner's new tunnel carries IPv6 packets of at most 1396 octets. Something on the way drops what is
larger, and the ICMPv6 "Packet Too Big" too: a path-MTU black hole over IPv6, where no router may cut packets
up. One should see packets of 1500 octets to the first peer repeated and never acknowledged, and messages of up
to some 1.2 kB delivered; the second peer takes everything. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(6101, version=6),
        paths={
            ("sender", "broken"): Path((Mtu(1396, icmp=False, direction="forward"),), delay=0.018),
            ("sender", "healthy"): Path(delay=0.031),
        },
        servers={
            "sender": sender("ports", timeout=12, final=21),
            "broken": receiver(),
            "healthy": receiver(),
        },
        mails=mails(
            (*sizes(6101, 5, 480, 1200), 1700, 4400, 9100, 31000, 80000), (640, 2100, 36000), (900, 14000)
        ),
        gap=0.8,
        captures=(Point(file="capture.pcapng"),),
        faults=(black_hole(1396, 6),),
    ),
    "orders-time-out": Plan(
        seed=6102,
        title="Orders to one supplier time out",
        story="""\
A path-MTU black hole behind PPPoE (1492 octets), recorded with the filter `port 25`: whether ICMP came back
cannot be said from these files, since the filter takes no ICMP. The packets of 1500 octets that are repeated
and never acknowledged, beside smaller ones that arrive, are there all the same; retries an hour later would
look alike, here they follow at once. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(6102),
        paths={
            ("sender", "broken"): Path((Mtu(1492, icmp=False),), delay=0.006, delay_back=0.009),
            ("sender", "healthy"): Path(delay=0.006),
        },
        servers={
            "sender": sender("default", zone="Europe/Berlin", timeout=7, final=9),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails((*sizes(6102, 4, 420, 1300), 1400, 1500, 2750, 7300, 26000, 61000), (1460, 7700), (850,)),
        gap=1.2,
        queue_runs=1,
        pings=False,
        tail=12,
        captures=(Point(filter="port 25", file="trace.pcap.gz"),),
        logs=(Log(file="mainlog.1.gz"),),
        faults=(black_hole(1492),),
    ),
    "customer-cannot-send": Plan(
        seed=6103,
        title="A customer cannot send us anything but short notes",
        story="""\
The receiving side's files: one client's larger packets vanish in front of us (path MTU 1420, no ICMP comes
back to that client), another client's mail arrives. One should see, from the first client, commands, our
`354`, and then nothing; we repeat the `354`, and the client's answer has a sequence number far ahead of what
arrived: data was sent and lost. Our log has `SMTP data timeout (message abandoned)`.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(6103, "sender", "broken", "colleague"),
        paths={
            ("sender", "broken"): Path((Mtu(1420, icmp=False, direction="forward"),), delay=0.021),
            ("colleague", "broken"): Path(delay=0.008),
        },
        servers={
            "sender": sender("ports", timeout=28, final=33),
            "colleague": sender("ports", timeout=28, final=33),
            "broken": receiver(
                {
                    "log_selector": "+millisec +pid +incoming_port +smtp_connection",
                    "smtp_receive_timeout": "17s",
                    "chunking_advertise_hosts": "",
                },
                zone="UTC",
            ),
        },
        mails=(
            *mails((*sizes(6103, 5, 430, 1180), 1450, 1900, 5200, 23000, 70000), ()),
            *(Mail(size, by="colleague") for size in (600, 1500, 3100, 18000, 47000)),
        ),
        captures=(Point(role="broken"),),
        logs=(Log("broken"),),
        pings=False,
        faults=(black_hole(1420, shows=(oversize_lost,)),),
    ),
    "waits-five-minutes": Plan(
        seed=6104,
        title="Each try takes five minutes",
        story="""\
A path-MTU black hole (1400 octets, ICMP lost) with nobody's timers touched: the receiving Exim gives up first,
after five minutes, and says so with a 421 that does reach the sender. The close is a symptom; the cause is the
packets of 1500 octets that were repeated, ever more slowly, and never acknowledged. Messages of up to some
1.3 kB arrive at once. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(6104),
        paths={
            ("sender", "broken"): Path((Mtu(1400, icmp=False, direction="forward"),), delay=0.016),
            ("sender", "healthy"): Path(delay=0.044),
        },
        servers={"sender": sender("times"), "broken": receiver(), "healthy": receiver()},
        mails=mails((*sizes(6104, 4, 480, 1200), 1500, 3700, 14000, 39000), (600, 4200, 27000), (940, 10500)),
        gap=2,
        tail=25,
        faults=(black_hole(1400),),
    ),
    "newsletters-stall": Plan(
        seed=6105,
        title="Newsletters stall since the firewall was replaced",
        story="""\
A router on the way says that packets above 1412 octets are too big, and its ICMP messages reach the sending
host; but the host's own new firewall drops them, so the kernel goes on with packets of 1500 octets: a path-MTU
black hole made at home. One should see the ICMP messages in the capture, and the same packet sent again and
again after them. `notebooks/1-incident.ipynb` shows it.""",
        hosts=(replace(cast(6105)[0], nft=DROP_ICMP), *cast(6105)[1:]),
        paths={
            ("sender", "broken"): Path((Mtu(1412),), delay=0.028),
            ("sender", "healthy"): Path(delay=0.012),
        },
        servers={
            "sender": sender("processes", zone="America/New_York", timeout=17, final=23),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails((*sizes(6105, 4, 420, 1250), 1240, 1455, 2900, 9000, 52000), (690, 1470, 34000), (8100,)),
        captures=(Point(interface="any", link_type="LINUX_SLL2"),),
        pings=False,
        faults=(black_hole(1412, shows=(oversize_lost, too_big_came)),),
    ),
    "only-the-log": Plan(
        seed=6106,
        title="Only the log of last night is left",
        story="""\
A path-MTU black hole (1440 octets), of which only Exim's log is left. The log shows timeouts after end of data
and after sending data block at one peer, for all messages above some 1.4 kB and none below, time and again;
the other peer takes everything. That fits a black hole, and other causes too: the log cannot decide, a capture
would. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(6106),
        paths={
            ("sender", "broken"): Path((Mtu(1440, icmp=False),), delay=0.011),
            ("sender", "healthy"): Path(delay=0.017),
        },
        servers={
            "sender": sender("times", zone="Europe/Lisbon", timeout=5, final=6),
            "broken": receiver({**NO_CHUNKING, "smtp_accept_max": "200"}),
            "healthy": receiver(),
        },
        mails=mails(sizes(6106, 8, 420, 1300) + sizes(6107, 9, 1460, 60000), sizes(6108, 7, 500, 90000)),
        gap=1.5,
        queue_runs=2,
        rest=4,
        tail=0,
        captures=(),
        faults=(black_hole(1440),),
        acceptable=(
            *(
                "pmtu_black_hole",
                "fragment_loss",
                "window_scaling",
                "state_loss",
                "packet_loss",
                "receiver_stall",
            ),
            *("remote_timeout", "content_pattern_drop", "unexplained"),
        ),
    ),
    "encrypted-mail-stalls": Plan(
        seed=6109,
        title="Mail stalls although STARTTLS works",
        story="""\
STARTTLS works, since its packets are small in both directions; then the message itself fills packets above the
path MTU of 1380 octets, which vanish without ICMP. One should see the TLS handshake complete, and behind it
packets of 1500 octets repeated and never acknowledged. What they carry cannot be seen, and need not be.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(6109),
        paths={
            ("sender", "broken"): Path((Mtu(1380, icmp=False, direction="forward"),), delay=0.013),
            ("sender", "healthy"): Path(delay=0.020),
        },
        servers={
            "sender": sender(
                "ports", zone="Asia/Kolkata", main={"log_timezone": "true"}, timeout=10, final=14
            ),
            "broken": receiver(NO_CHUNKING, key="ec"),
            "healthy": receiver(key="ec"),
        },
        mails=mails((480, 700, 870, 1000, 1100, 1440, 2400, 16000, 57000), (900, 7000, 30000), (600, 3000)),
        faults=(black_hole(1380),),
    ),
    "falls-back-to-clear": Plan(
        seed=6110,
        title="Mail to one partner leaves unencrypted, and late",
        story="""\
The partner's certificate chain is long, so that its TLS server flight fills whole packets; on the way back the
path MTU is 1400 octets, and the ICMP messages do not reach the server. STARTTLS times out, and Exim delivers
in clear on a second connection: a path-MTU black hole in the reverse direction that delays and bares mail. One
should see the ClientHello acknowledged and no ServerHello, or only the flight's last, short packet; in the log
`(gnutls_handshake): timed out` and `delivering unencrypted`. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(6110),
        paths={
            ("sender", "broken"): Path((Mtu(1400, icmp=False, direction="reverse"),), delay=0.012),
            ("sender", "healthy"): Path(delay=0.015),
        },
        servers={
            "sender": sender("full", timeout=11, final=18),
            "broken": receiver(key="rsa:4096"),
            "healthy": receiver(key="ec"),
        },
        mails=mails((480, 1000, 1440, 2400, 12000, 40000), (900, 7000, 30000), (600,)),
        captures=(Point(role="sender"), Point(role="broken", file="partner.pcap")),
        faults=(
            replace(
                black_hole(1400, direction="reverse", severity="warn"), hits=every, shows=(oversize_lost,)
            ),
        ),
    ),
    "no-session-without-tls": Plan(
        seed=6111,
        title="Nothing reaches the partner since encryption is required",
        story="""\
Encryption is required, and the partner's certificate chain is long: its TLS server flight fills packets that
are too big for the way back (path MTU 1340 octets, IPv6, no ICMPv6 arrives at the server). No handshake ends,
no mail goes. It is a path-MTU black hole in the reverse direction, not a fault of TLS. One should see the
ClientHello acknowledged, and then nothing, or only the last, short packet of the server's flight.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(6111, version=6),
        paths={
            ("sender", "broken"): Path((Mtu(1340, icmp=False, direction="reverse"),), delay=0.023),
            ("sender", "healthy"): Path(delay=0.011),
        },
        servers={
            "sender": sender("milliseconds", timeout=9, transport={"hosts_require_tls": "*"}),
            "broken": Behaviour(tls=Tls(octets=5000)),
            "healthy": receiver(key="ec"),
        },
        mails=mails((500, 2000, 9000, 31000), (480, 1200, 6400, 21000)),
        tail=15,
        faults=(replace(black_hole(1340, direction="reverse"), hits=every, shows=(oversize_lost,)),),
    ),
    "since-the-kernel-setting": Plan(
        seed=6112,
        title="Long mail fails since a setting that was to cure it",
        story="""\
To get around a black hole the sender clears DF (`net.ipv4.ip_no_pmtu_disc=1`). Now the router in front of the
narrow link (1400 octets) cuts packets up, and a firewall behind it drops the fragments after the first, which
have no ports. One should see, at the sender, packets of 1500 octets without DF repeated and never
acknowledged, and no ICMP "fragmentation needed"; at the receiver first fragments alone, and after 30 s its
ICMP "reassembly time exceeded". `notebooks/1-incident.ipynb` shows it.""",
        hosts=(replace(cast(6112)[0], sysctl=NO_PMTUD), *cast(6112)[1:]),
        paths={
            ("sender", "broken"): Path((Mtu(1400), DropFragments("later")), delay=0.010),
            ("sender", "healthy"): Path(delay=0.010),
        },
        servers={
            "sender": sender("ports", timeout=22, final=31),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails((*sizes(6112, 5, 430, 1250), 1500, 4100, 19000, 60000), (800, 2500, 30000), (11000,)),
        tail=35,
        captures=(Point(file="sender.pcap"), Point(role="broken", file="receiver.pcap")),
        faults=(
            replace(
                black_hole(1400),
                cause="fragment_loss",
                shows=(fragments_lost, no_too_big),
            ),
        ),
    ),
    "one-branch-office": Plan(
        seed=6113,
        title="Reports do not reach one branch office",
        story="""\
The sender's packets may be cut up (DF clear), a router before the branch office does so (1460 octets), and a
firewall there drops every fragment. Seen from the sender alone: packets of 1500 octets without DF repeated and
never acknowledged, smaller ones answered, no ICMP. The clear DF bit tells it from a path-MTU black hole.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=(replace(cast(6113)[0], sysctl=NO_PMTUD), *cast(6113)[1:]),
        paths={
            ("sender", "broken"): Path((Mtu(1460), DropFragments("all")), delay=0.034),
            ("sender", "healthy"): Path(delay=0.007),
        },
        servers={
            "sender": sender("default", timeout=8, final=13),
            "broken": receiver(),
            "healthy": receiver(),
        },
        mails=mails((*sizes(6113, 6, 430, 1300), 1600, 2950, 8800, 33000), sizes(6114, 4, 500, 50000)),
        captures=(Point(snap_length=128),),
        faults=(replace(black_hole(1460), cause="fragment_loss", shows=(fragments_lost, no_too_big)),),
    ),
}
