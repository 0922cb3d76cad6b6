"""Boxes on the way that lose, forget or misread what passes (facts D)."""

from collections.abc import Callable

from lab.boxes.inspection import SplitDot
from lab.boxes.loss import Loss
from lab.boxes.order import Duplicate, Reorder
from lab.boxes.sequence import Renumber
from lab.boxes.state import Forget
from lab.boxes.window import ChangeScale, UnscaledWindow
from lab.capture import Point
from lab.claims import (
    beyond_window_lost,
    duplicated,
    foreign_reset,
    forgotten,
    longer_than,
    lossy,
    reordered,
    repaired,
    sack_untranslated,
    scale_changed,
    split_dot_lost,
)
from lab.incidents.draw import NO_CHUNKING, SELECTORS, cast, mails, receiver, sender, sizes, tuned
from lab.plan import Fault, Log, Mail, Plan
from lab.router import Path
from lab.run import Sent
from lab.server import Behaviour

BLOCK = 8190  # octets that Exim writes at once, give or take one
MSS = 1460  # without timestamps
CALL_BACK = "accept delay = ${if match{$sender_address_local_part}{news|lindt}{25s}{0s}}"


def written_by(*names: str) -> Callable[[Sent], bool]:
    """Tell messages by the local part of their author."""
    return lambda sent: any(f"\nFrom: {name}@".encode() in sent.content for name in names)


def ends_across(mss: int) -> Callable[[Sent], bool]:
    """Tell messages whose CRLF.CRLF lies across the end of a segment."""
    return lambda sent: any(
        at % BLOCK % mss == 0 for at in range(len(sent.data) - 1, len(sent.data) + len(".\r\n"))
    )


PLANS = {
    "yearbooks-stop-midway": Plan(
        seed=32101,
        title="Yearbooks to one school stop midway, letters arrive",
        story="""\
A printer mails proofs over IPv6 to two schools. To one of them long messages stop in the middle. A firewall
there takes part of its table of connections for full when 40000 octets have passed, and forgets the
connection: from then on it drops all its packets, of any size and in both directions.

One should see: full-size packets acknowledged at first; then, at about the same number of octets each time,
not one packet more from the server, though the sender repeats its own. In the log `SMTP timeout after end of
data` or `after sending data block`. Size of packets is innocent: many of the same size were acknowledged
before. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(32101, version=6),
        paths={
            ("sender", "broken"): Path((Forget(octets=40000),), delay=0.017),
            ("sender", "healthy"): Path(delay=0.029),
        },
        servers={
            "sender": sender("times", zone="Europe/Vienna", timeout=14, final=20),
            "broken": receiver(),
            "healthy": receiver(NO_CHUNKING),
        },
        mails=mails(
            broken=(*sizes(32102, 8, 600, 30000), 29000, 48000, 61000, 95000, 160000),
            healthy=(1500, 52000),
            both=(3000, 72000),
        ),
        gap=0.8,
        captures=(Point(snap_length=160),),
        faults=(
            Fault(
                cause="state_loss",
                params={"octets": 40000},
                hits=longer_than(40000),
                shows=(forgotten,),
            ),
        ),
    ),
    "first-mail-of-new-people": Plan(
        seed=32201,
        title="Mail of some colleagues fails at one partner, always after a long wait",
        story="""\
The server of one partner calls back to verify senders that it does not know, which takes it 25 seconds. The
firewall in front of it forgets a connection after 10 seconds without a packet, silently: the reply to MAIL
is dropped, and so is all that follows.

One should see, with captures from both ends: at the sender commands sent and acknowledged, then nothing at
all until it gives up; at the receiver the replies, sent after 25 seconds and repeated at doubling intervals,
never acknowledged. In the log `SMTP timeout after pipelined MAIL FROM`. Senders that are known get their
answer at once, and pass. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(32201),
        paths={
            ("sender", "broken"): Path((Forget(idle=10),), delay=0.009),
            ("sender", "healthy"): Path(delay=0.032),
        },
        servers={
            "sender": sender("full", zone="Europe/Madrid", timeout=40),
            "broken": receiver(
                {
                    **NO_CHUNKING,
                    "acl_smtp_mail": CALL_BACK,
                }
            ),
            "healthy": receiver(),
        },
        mails=mails(broken=sizes(32202, 16, 500, 20000), healthy=(1200, 4000), both=(2600, 9000)),
        gap=0.9,
        captures=(Point(file="capture.pcap.gz"), Point("broken", file="partner.pcap.gz")),
        faults=(
            Fault(
                cause="state_loss",
                params={"seconds": 10},
                hits=written_by("news", "k.lindt"),
                shows=(forgotten,),
            ),
        ),
    ),
    "big-offers-unanswered": Plan(
        seed=32301,
        title="Offers with large drawings go out in full, and the receipt never comes",
        story="""\
One partner's server scans what it gets before it answers, 0.3 seconds for each 1000 octets. A firewall on
the way forgets connections after 6 seconds without a packet; so the answer to messages above some 20000
octets finds the connection forgotten. The sender's kernel sends keep-alives after 12 seconds, too late.

One should see: all data and the final dot acknowledged, then silence, then keep-alives that nobody answers,
although a host that is alive answers each at once: the connection is dead for packets of every size, which a
slow server alone does not explain. In the log `SMTP timeout after end of data`. Messages that are scanned in
less than 6 seconds pass. `notebooks/1-incident.ipynb` shows it.""",
        hosts=tuned("sender", {"tcp_keepalive_time": "12", "tcp_keepalive_intvl": "5"}, cast(32301)),
        paths={
            ("sender", "broken"): Path((Forget(idle=6),), delay=0.023),
            ("sender", "healthy"): Path(delay=0.015),
        },
        servers={
            "sender": sender("default", zone="Australia/Sydney", timeout=30, final=45),
            "broken": Behaviour(wait_per_megabyte=300),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(*sizes(32302, 7, 700, 14000), 33000, 42000, 58000, 75000),
            healthy=(2000, 64000),
            both=(5000, 38000),
        ),
        gap=1.4,
        captures=(Point(snap_length=128),),
        faults=(
            Fault(
                cause="state_loss",
                params={"seconds": 6},
                hits=longer_than(20000),
                shows=(forgotten,),
            ),
        ),
    ),
    "long-calls-cut": Plan(
        seed=32401,
        title="A slow partner breaks off long transfers, and says that it was not him",
        story="""\
One partner's server makes its clients wait before it greets and before it answers RCPT, and has a small
window, so that long messages take their time. A firewall on the way keeps no connection longer than 15
seconds; what comes later is answered with a RST in the other end's name.

One should see, in the capture alone: transfers that go well, until 15 seconds after their SYN a RST ends
them, whatever is being sent; its TTL is unlike that of the server's packets, and it carries no timestamp.
Short messages are through by then. `notebooks/1-incident.ipynb` shows it.""",
        hosts=tuned("broken", {"ip_default_ttl": "60", "tcp_rmem": "4096 6144 6144"}, cast(32401)),
        paths={
            ("sender", "broken"): Path((Forget(age=15, reset=True, ttl=255),), delay=0.057),
            ("sender", "healthy"): Path(delay=0.020),
        },
        servers={
            "sender": sender("default", timeout=60),
            "broken": Behaviour(wait={"banner": 5.0, "RCPT": 3.0}),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(*sizes(32402, 7, 500, 15000), 250000, 310000, 280000), healthy=(1000, 40000), both=(7000,)
        ),
        gap=0.5,
        captures=(Point(snap_length=100),),
        logs=(),
        faults=(
            Fault(
                cause="state_loss",
                params={"seconds": 15},
                hits=longer_than(200000),
                shows=(forgotten, foreign_reset),
            ),
        ),
    ),
    "friday-afternoon": Plan(
        seed=32501,
        title="On Friday afternoon half the mail to one partner fails",
        story="""\
The line to one partner is congested: 40 of 100 packets are lost, in both directions, whatever their size.
Connections come about late or not at all, data crawls, and many deliveries run into a timeout.

One should see: to this partner repeats at many different places and of all sizes, SYNs and commands as well
as data; most are cured by one or two repeats, and full-size packets do arrive. In the log timeouts in
several phases. To the other partner nothing is lost. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(32501),
        paths={
            ("sender", "broken"): Path((Loss(0.4),), delay=0.013),
            ("sender", "healthy"): Path(delay=0.018),
        },
        servers={
            "sender": sender("milliseconds", zone="America/Chicago", timeout=12, final=15),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails(broken=sizes(32502, 16, 600, 40000), healthy=(900, 25000, 3000), both=(2000, 14000)),
        gap=0.35,
        captures=(Point(nanoseconds=True, snap_length=200),),
        faults=(Fault(cause="packet_loss", params={"loss_rate": 0.4}, shows=(lossy,)),),
    ),
    "branch-mail-comes-late": Plan(
        seed=32601,
        title="Mail of one branch gets lost on the way in, that of the other does not",
        story="""\
Seen at the receiver: two branches send mail to the head office. The line of one loses packets in bursts, about
a third of all, both ways: six in a row on average.

One should see, in the capture taken at the head office: gaps in what comes from this branch, of any size and
at any place, later filled; acknowledgements and replies that have to be sent again; SYNs answered several
times. In the receiver's log `SMTP command timeout` and `SMTP data timeout`, from this branch only.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(32601, "sender", "broken", "other"),
        paths={
            ("sender", "broken"): Path((Loss(0.45, burst=8),), delay=0.021),
            ("other", "broken"): Path(delay=0.026),
        },
        servers={
            "sender": sender("default", timeout=20),
            "other": sender("default", timeout=20),
            "broken": receiver(
                {**NO_CHUNKING, "smtp_receive_timeout": "9s", "log_selector": SELECTORS["full"]},
                zone="Europe/Rome",
            ),
        },
        mails=(
            *mails(broken=sizes(32602, 14, 700, 50000), healthy=()),
            *(Mail(size, by="other") for size in sizes(32603, 6, 700, 50000)),
        ),
        gap=0.45,
        captures=(Point("broken", snap_length=160),),
        logs=(Log("broken"),),
        faults=(Fault(cause="packet_loss", params={"loss_rate": 0.45}, shows=(lossy,)),),
    ),
    "evening-copies-time-out": Plan(
        seed=32631,
        title="Copies sent over the radio link in the evening time out, small mail passes",
        story="""\
The radio link to one partner loses 10 of 100 packets in the evening, which TCP with selective acknowledgements
would cope with. But a firewall on the way hides the sender's sequence numbers behind random ones and forgets
to translate those in the SACK option, so that the sender throws every SACK away, and waits for a timer after
each loss.

One should see: after each loss duplicate acknowledgements whose SACK blocks lie outside of all that was ever
sent, no fast retransmission, and a pause of a third of a second or, if the repeat is lost too, twice as much. In the
log `SMTP timeout after end of data` for long messages. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(32631),
        paths={
            ("sender", "broken"): Path((Renumber(), Loss(0.1)), delay=0.045),
            ("sender", "healthy"): Path(delay=0.014),
        },
        servers={
            "sender": sender("ports", zone="Europe/Athens", timeout=6),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(*sizes(32632, 8, 600, 12000), 160000, 190000, 220000, 250000),
            healthy=(2200, 90000),
            both=(3600,),
        ),
        gap=0.5,
        captures=(Point(snap_length=120),),
        faults=(Fault(cause="packet_loss", params={"loss_rate": 0.1}, shows=(sack_untranslated,)),),
    ),
    "one-in-four-hangs": Plan(
        seed=32651,
        title="About one message in four to a partner hangs; with a word added it passes",
        story="""\
An old firewall in front of one partner follows SMTP packet by packet. It drops the packet with the rest of
the final CRLF.CRLF when these five octets are cut over two packets, which depends on nothing but the length
of the message, modulo that of a segment.

One should see: all data acknowledged but the last one to four octets, and these few, with the QUIT behind
them, repeated at doubling intervals. In the log `SMTP timeout after end of data`. Messages a few octets
longer or shorter pass, larger ones as well as smaller. `notebooks/1-incident.ipynb` shows it.""",
        hosts=tuned("broken", {"tcp_timestamps": "0"}, cast(32651)),
        paths={
            ("sender", "broken"): Path((SplitDot(),), delay=0.037),
            ("sender", "healthy"): Path(delay=0.005),
        },
        servers={
            "sender": sender("full", zone="Europe/Warsaw", timeout=17),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(
                *sizes(32652, 9, 500, 14000),
                *(MSS - 2, 2 * MSS + 1, 4 * MSS - 1, 5 * MSS, BLOCK + 2 * MSS),
                *(MSS - 6, 2 * MSS + 5, 4 * MSS - 4, 5 * MSS + 2, BLOCK + 2 * MSS + 9),
            ),
            healthy=(3 * MSS, 5000),
            both=(3 * MSS - 1, 1800),
        ),
        gap=0.7,
        captures=(Point(file="capture.pcap.gz"),),
        faults=(
            Fault(cause="split_dot", direction="forward", hits=ends_across(MSS), shows=(split_dot_lost,)),
        ),
    ),
    "uploads-crawl": Plan(
        seed=32701,
        title="Since the new firewall long messages to one partner crawl, and fail",
        story="""\
A firewall in front of one partner does not know TCP's window scale option. It takes the window in the
partner's packets, 2048 times 128 octets, for 2048 octets, and drops all data that lie beyond. One full-size
segment passes, the next are lost until a timer repeats them.

One should see: what is lost begins beyond the last acknowledgement plus the window as it stands in the
header, while the scaled window would allow it; full-size packets within are acknowledged. Each few kilobytes
wait for a retransmission timer. In the log, for long messages, `SMTP timeout after sending data block` and
`after end of data`; shorter ones get through, slowly. `notebooks/1-incident.ipynb` shows it.""",
        hosts=tuned("broken", {"tcp_rmem": "4096 524288 4194304", "tcp_moderate_rcvbuf": "0"}, cast(32701)),
        paths={
            ("sender", "broken"): Path((UnscaledWindow("forward"),), delay=0.040),
            ("sender", "healthy"): Path(delay=0.010),
        },
        servers={
            "sender": sender("ports", zone="Africa/Johannesburg", timeout=6),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(*sizes(32702, 8, 600, 20000), 60000, 75000, 110000, 140000),
            healthy=(2000, 80000),
            both=(5000,),
        ),
        gap=0.7,
        captures=(Point(snap_length=120, file="capture.pcapng"),),
        faults=(
            Fault(
                cause="window_scaling",
                direction="forward",
                hits=longer_than(40000),
                shows=(beyond_window_lost,),
            ),
        ),
    ),
    "drop-by-drop": Plan(
        seed=32801,
        title="Mail to one partner leaves drop by drop, and long messages not at all",
        story="""\
A router on the way to one partner takes the window scale option out of the server's SYN, but not out of the
client's. The server goes on to scale its windows, the client takes them as they stand: some 510 octets at
most, where 65000 were meant. It sends so little only when a timer tells it to.

One should see, with captures from both ends: the option in the SYN of the server as it left, NOPs in its
place as it arrived. At the sender one segment of the size of the whole tiny window every third of a second,
all of them acknowledged at once; nothing is lost. In the log `SMTP timeout after end of data` for long
messages. `notebooks/1-incident.ipynb` shows it.""",
        hosts=tuned("broken", {"tcp_rmem": "4096 131072 4194304"}, cast(32801)),
        paths={
            ("sender", "broken"): Path((ChangeScale("strip", "reverse"),), delay=0.025),
            ("sender", "healthy"): Path(delay=0.010),
        },
        servers={
            "sender": sender("milliseconds", zone="Europe/Helsinki", timeout=16),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(*sizes(32802, 7, 500, 9000), 45000, 60000, 80000),
            healthy=(2000, 50000),
            both=(1200, 52000),
        ),
        gap=1.0,
        captures=(Point(snap_length=160), Point("broken", snap_length=160, file="partner.pcap")),
        faults=(
            Fault(
                cause="window_scaling",
                hits=longer_than(30000),
                shows=(scale_changed,),
            ),
        ),
    ),
    "radio-link": Plan(
        seed=32901,
        title="A partner behind a radio link: is it to blame for anything?",
        story="""\
A control: nothing fails. The radio link to one partner loses 4 of 100 packets, both ways; TCP sends them
again, and all mail is delivered at the first try.

One should see: repeats and selective acknowledgements, each repaired in a fraction of a second. A tool that
makes a fault of them is wrong. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(32901),
        paths={
            ("sender", "broken"): Path((Loss(0.04),), delay=0.034),
            ("sender", "healthy"): Path(delay=0.012),
        },
        servers={"sender": sender("default"), "broken": receiver(), "healthy": receiver()},
        mails=mails(broken=(*sizes(32902, 9, 700, 60000), 110000), healthy=(1500, 30000), both=(4000, 20000)),
        gap=0.9,
        captures=(Point(snap_length=200),),
        looks_like=Fault(cause="packet_loss", shows=(repaired,)),
    ),
    "two-uplinks": Plan(
        seed=32951,
        title="A partner that is reached over two uplinks at once",
        story="""\
A control: nothing fails. The provider spreads packets over two uplinks of different length, so that one
packet in eight comes later than those sent after it; duplicate acknowledgements and needless repeats follow.

One should see: packets out of order at the receiver, duplicate acknowledgements with SACK, some spurious
repeats (D-SACK); no packet is lost, every message is delivered. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(32951, version=6),
        paths={
            ("sender", "broken"): Path((Reorder(0.12, held=0.015),), delay=0.011),
            ("sender", "healthy"): Path(delay=0.019),
        },
        servers={
            "sender": sender("ports", zone="America/Sao_Paulo"),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=mails(broken=(*sizes(32952, 8, 700, 50000), 120000), healthy=(2500, 45000), both=(6000, 18000)),
        gap=0.7,
        captures=(Point(snap_length=128), Point("broken", snap_length=128, file="partner.pcap")),
        looks_like=Fault(cause="packet_loss", shows=(reordered,)),
    ),
    "mirrored-switch": Plan(
        seed=32991,
        title="A partner's network sends packets twice",
        story="""\
A control: nothing fails. A loop in the switches of one partner lets one packet in five arrive twice, either
way. TCP throws the second away, and says so (D-SACK).

One should see: packets of the server that come twice within 2 milliseconds, with the same IP id;
acknowledgements with a D-SACK; no message is delayed. Taken for retransmissions they would look like a bad
line. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(32991),
        paths={
            ("sender", "broken"): Path((Duplicate(0.2, after=0.002),), delay=0.028),
            ("sender", "healthy"): Path(delay=0.042),
        },
        servers={
            "sender": sender("times", zone="Asia/Kolkata"),
            "broken": receiver(),
            "healthy": receiver(NO_CHUNKING),
        },
        mails=mails(broken=(*sizes(32992, 8, 500, 40000), 70000), healthy=(3000, 22000), both=(8000, 1100)),
        gap=0.6,
        captures=(Point(nanoseconds=True, snap_length=150),),
        looks_like=Fault(cause="packet_loss", shows=(duplicated,)),
    ),
}
