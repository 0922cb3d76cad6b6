"""The plans of all incidents: plain data; the seed fixes what is drawn."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from lab.capture import Point
from lab.mail import Settings
from lab.namespaces import Host
from lab.plan import Hosts, Plan
from lab.router import Way

LOG_SELECTOR = (
    "+millisec +pid +incoming_interface +incoming_port +outgoing_interface +outgoing_port +smtp_connection "
    "+smtp_incomplete_transaction +smtp_no_mail +deliver_time +receive_time +queue_time +delivery_size "
    "+pipelining +protocol_detail"
)
NO_CHUNKING = {"chunking_advertise_hosts": ""}

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


def _hosts(
    sender: Host, broken: tuple[str, str], healthy: tuple[str, str], advmss: int | None = None
) -> Hosts:
    return sender, Host("broken", *broken, advmss=advmss), Host("healthy", *healthy)


def _exims(
    log: Mapping[str, str],
    data: int,
    final: int,
    *,
    peers: Mapping[str, str] = MappingProxyType({}),
    port: int = 25,
    submission: int = 587,
    key: str = "",
) -> dict[str, Settings]:
    """Set up a sender with its log options and its timeouts [s], and two peers alike."""
    transport = {"data_timeout": f"{data}s", "final_timeout": f"{final}s", "command_timeout": f"{data}s"}
    far = Settings(main={"timezone": "UTC", **peers}, port=port, key=key)
    near = Settings(main=log, transport={**transport, "port": str(port)}, port=submission)
    return {"sender": near, "broken": far, "healthy": far}


# Variants to develop with: the same fault, seen otherwise.
VARIANTS = {
    "ipv6": replace(
        BLACK_HOLE,
        seed=61,
        story="Over IPv6; the peers offer CHUNKING.",
        hosts=_hosts(
            Host("sender", "relay.example.com", "2001:db8:10::15"),
            ("in.example.net", "2001:db8:2050::19"),
            ("mx.example.org", "2001:db8:cafe::2:5"),
        ),
        forward=Way(mtu=1396, icmp=False, delay=0.018),
        exims=_exims({"log_selector": "+millisec +outgoing_port", "timezone": "UTC"}, 12, 21),
        to_broken=(520, 800, 1180, 1700, 4400, 9100, 31000, 150000),
        to_healthy=(640, 2100, 66000),
        to_both=(900, 24000),
    ),
    "snaplen96": replace(
        BLACK_HOLE,
        seed=62,
        story="Snap length 96, a GRE tunnel's MTU, Tokyo time with its zone.",
        hosts=_hosts(
            Host("sender", "out.example.net", "203.0.113.7"),
            ("mail.example.com", "192.0.2.202"),
            ("mx2.example.org", "198.51.100.3"),
        ),
        forward=Way(mtu=1476, icmp=False, delay=0.009),
        reverse=Way(delay=0.012),
        exims=_exims(
            {"log_selector": "+millisec +deliver_time", "timezone": "Asia/Tokyo", "log_timezone": "true"},
            20,
            30,
        ),
        to_broken=(450, 760, 1230, 1300, 1600, 3000, 15000, 54000, 160000),
        to_healthy=(500, 5000, 41000, 130000),
        capture=Point(snap_length=96),
    ),
    "cooked": replace(
        BLACK_HOLE,
        seed=63,
        story="Captured on all interfaces (Linux cooked v2), submissions on the loopback included.",
        hosts=_hosts(
            Host("sender", "smtp.example.org", "198.51.100.77"),
            ("mx-a.example.com", "203.0.113.140"),
            ("mx.example.net", "192.0.2.33"),
        ),
        forward=Way(mtu=1454, icmp=False, delay=0.020),
        reverse=Way(delay=0.016),
        exims=_exims({"log_selector": "+millisec +pid +outgoing_port", "timezone": "UTC"}, 10, 18),
        to_broken=(470, 990, 1270, 1900, 7200, 26000, 96000),
        to_healthy=(1500, 11000, 52000),
        to_both=(620, 1440),
        capture=Point(interface="any", link_type="LINUX_SLL2"),
    ),
    "cooked-v1": replace(
        BLACK_HOLE,
        seed=64,
        story="Captured on all interfaces (Linux cooked v1); submissions to a port that is not captured.",
        forward=Way(mtu=1440, icmp=False, delay=0.011),
        exims=_exims({"timezone": "UTC", "log_selector": "+outgoing_interface"}, 14, 22, submission=10025),
        to_broken=(470, 1250, 1490, 2600, 12000, 130000),
        to_healthy=(530, 8000, 90000),
        to_both=(1100, 19000, 700),
        pings=False,
        capture=Point(interface="any", link_type="LINUX_SLL"),
    ),
    "receiver-side": replace(
        BLACK_HOLE,
        seed=65,
        story="Captured at the receiver, with the sender's log.",
        hosts=_hosts(
            Host("sender", "post.example.com", "192.0.2.120"),
            ("mx.example.net", "198.51.100.130"),
            ("mx3.example.org", "203.0.113.61"),
        ),
        forward=Way(mtu=1380, icmp=False, delay=0.017),
        exims=_exims({"log_selector": "+millisec +outgoing_port +pid", "timezone": "UTC"}, 16, 24),
        to_broken=(500, 700, 1000, 1200, 1420, 2200, 6000, 22000, 48000, 170000),
        to_healthy=(800, 20000),
        to_both=(650, 3300),
        capture=Point(role="broken"),
    ),
    "receiver-both": replace(
        BLACK_HOLE,
        seed=66,
        story="Captured at the receiver, with the receiver's log: the far side's view.",
        forward=Way(mtu=1408, icmp=False, delay=0.013),
        exims=_exims(
            {"timezone": "UTC"},
            30,
            40,
            peers={
                "log_selector": "+millisec +pid +incoming_port +smtp_connection",
                "smtp_receive_timeout": "20s",
            },
        ),
        to_broken=(500, 720, 930, 1170, 1480, 3100, 9000, 40000, 140000),
        to_healthy=(600,),
        to_both=(820, 5600),
        capture=Point(role="broken"),
        log="broken",
    ),
    "mtu1420": replace(
        BLACK_HOLE,
        seed=67,
        story="A WireGuard tunnel's MTU; whole seconds of local time without a zone; port 587; a retry.",
        hosts=_hosts(
            Host("sender", "mailhub.example.org", "203.0.113.200"),
            ("relay.example.net", "198.51.100.9"),
            ("smtp.example.com", "192.0.2.44"),
        ),
        forward=Way(mtu=1420, icmp=False, delay=0.012),
        reverse=Way(mtu=1420, icmp=False, delay=0.012),
        exims=_exims({"timezone": "Europe/Berlin"}, 7, 11, port=587, submission=25),
        to_broken=(480, 640, 1100, 1240, 1445, 2800, 34000, 150000),
        to_healthy=(700, 6600, 47000),
        to_both=(1020,),
        gap=0.2,
        queue_runs=1,
        tail=40.0,
        pings=False,
    ),
    "offload": replace(
        BLACK_HOLE,
        seed=68,
        story="Segmentation offload on: the capture shows TCP super-packets, to the healthy peer too.",
        hosts=_hosts(
            Host("sender", "mta.example.net", "192.0.2.66", offload=True),
            ("mx.example.org", "203.0.113.18"),
            ("mail.example.com", "198.51.100.210"),
        ),
        forward=Way(mtu=1400, icmp=False, delay=0.015),
        exims=_exims({"log_selector": "+millisec +outgoing_port", "timezone": "UTC"}, 18, 28),
        to_broken=(510, 1150, 1420, 4700, 21000, 88000, 200000),
        to_healthy=(560, 3500, 33000, 140000),
        to_both=(940, 13000),
    ),
    "port25": replace(
        BLACK_HOLE,
        seed=69,
        story="Capture filter `port 25`: whether ICMP came back cannot be said.",
        forward=Way(mtu=1430, icmp=False, delay=0.019),
        exims=_exims({"log_selector": "+millisec", "timezone": "UTC"}, 13, 19),
        to_broken=(490, 680, 1190, 1520, 5000, 29000, 99000),
        to_healthy=(1490, 16000, 71000),
        to_both=(770, 2500),
        capture=Point(filter="port 25"),
    ),
    "icmp-ignored": replace(
        BLACK_HOLE,
        seed=70,
        story="The ICMP message comes back, into the capture, and is dropped by the sender's own firewall.",
        hosts=_hosts(
            Host(
                "sender",
                "mail.example.com",
                "198.51.100.14",
                nft="add table inet filter; "
                "add chain inet filter input { type filter hook input priority 0; policy accept; }; "
                "add rule inet filter input icmp type destination-unreachable drop",
            ),
            ("mx1.example.org", "192.0.2.90"),
            ("mx.example.net", "203.0.113.99"),
        ),
        forward=Way(mtu=1412, icmp=True, delay=0.014),
        exims=_exims({"log_selector": "+millisec +outgoing_port +deliver_time", "timezone": "UTC"}, 17, 23),
        to_broken=(460, 1080, 1230, 1455, 2900, 18000, 120000),
        to_healthy=(690, 1470, 64000),
        to_both=(850, 8100),
        pings=False,
        icmp_seen=True,
    ),
    "exim-defaults-like": replace(
        BLACK_HOLE,
        seed=71,
        story="The server gives up first, with 421, as with Exim's default timers.",
        forward=Way(mtu=1400, icmp=False, delay=0.016),
        exims=_exims(
            {"log_selector": "+millisec +deliver_time +queue_time", "timezone": "UTC"},
            40,
            60,
            peers={"smtp_receive_timeout": "16s", **NO_CHUNKING},
        ),
        to_broken=(480, 900, 1280, 1430, 3700, 14000, 39000, 130000),
        to_healthy=(600, 4200, 57000),
        to_both=(1040, 10500),
    ),
    "starttls-forward": replace(
        BLACK_HOLE,
        seed=72,
        story="STARTTLS works, since its packets are small; then a forward black hole.",
        forward=Way(mtu=1400, icmp=False, delay=0.013),
        exims=_exims({"log_selector": "+millisec +outgoing_port +pid", "timezone": "UTC"}, 15, 25, key="ec"),
        to_broken=(480, 700, 1000, 1150, 1440, 2400, 16000, 37000, 125000),
        to_healthy=(900, 7000, 80000),
        to_both=(600, 3000),
    ),
    "starttls-reverse": replace(
        BLACK_HOLE,
        seed=73,
        story="The server's certificate is too long for the way back: STARTTLS times out, then clear text.",
        hosts=_hosts(
            Host("sender", "mx.example.com", "203.0.113.44"),
            ("mail.example.net", "198.51.100.61"),
            ("in.example.org", "192.0.2.171"),
        ),
        forward=Way(delay=0.012),
        reverse=Way(mtu=1400, icmp=False, delay=0.015),
        exims=_exims(
            {"log_selector": "+millisec +outgoing_port +pid", "timezone": "UTC"}, 12, 20, key="rsa:4096"
        ),
        to_broken=(480, 1000, 1440, 2400, 16000, 60000),
        to_healthy=(900, 7000, 50000),
        to_both=(600, 3000),
        direction="reverse",
    ),
    "control-pmtud": replace(
        BLACK_HOLE,
        seed=81,
        story="Path MTU discovery works: the same drop, but the ICMP message comes and counts.",
        forward=Way(mtu=1400, icmp=True, delay=0.014),
        cause=None,
        direction=None,
        acceptable=(),
        stuck=False,
        icmp_seen=True,
    ),
    "control-clamp": replace(
        BLACK_HOLE,
        seed=82,
        story="The same narrow link, but the peer's MSS is clamped: no packet is too big.",
        hosts=_hosts(
            Host("sender", "mail.example.net", "192.0.2.25"),
            ("mx.example.com", "203.0.113.5"),
            ("mx.example.org", "198.51.100.40"),
            advmss=1360,
        ),
        forward=Way(mtu=1400, icmp=False, delay=0.014),
        exims=_exims({"log_selector": "+millisec +outgoing_port", "timezone": "UTC"}, 20, 30),
        cause=None,
        direction=None,
        acceptable=(),
        stuck=False,
    ),
    "control-loss": replace(
        BLACK_HOLE,
        seed=83,
        story="Five per cent of all packets are lost both ways, and TCP repairs it.",
        forward=Way(loss=0.05, delay=0.012),
        reverse=Way(loss=0.05, delay=0.012),
        other=Way(loss=0.05, delay=0.009),
        exims=_exims({"log_selector": "+millisec +outgoing_port", "timezone": "UTC"}, 40, 60),
        cause=None,
        direction=None,
        acceptable=(),
        stuck=False,
    ),
    "control-probing": replace(
        BLACK_HOLE,
        seed=84,
        story="A black hole that `tcp_mtu_probing` cures: delivered, after some seconds.",
        hosts=_hosts(
            Host("sender", "out.example.org", "198.51.100.150", sysctl={"net.ipv4.tcp_mtu_probing": "1"}),
            ("mx.example.net", "192.0.2.71"),
            ("mx2.example.com", "203.0.113.34"),
        ),
        forward=Way(mtu=1400, icmp=False, delay=0.014),
        exims=_exims({"log_selector": "+millisec +outgoing_port", "timezone": "UTC"}, 50, 70),
        to_broken=(480, 1100, 1425, 2300, 17000, 70000),
        to_healthy=(700, 12500, 60000),
        to_both=(1010, 9400, 3000),
        cause=None,
        direction=None,
    ),
}

PLANS = {"pmtu-black-hole": BLACK_HOLE, **VARIANTS}
