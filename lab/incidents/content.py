"""Messages that fail for what they hold (facts B)."""

from lab.boxes.inspection import Inspection
from lab.capture import Point
from lab.claims import (
    cut_off_at_pattern,
    holding,
    hung_up,
    longer_than,
    no_answer,
    odd_content_passed,
    passed_over_tls,
    reset_forged,
    segment_lost,
    with_lines_above,
)
from lab.incidents.draw import ANY_LINE, NO_CHUNKING, cast, mails, receiver, sender, sizes, tuned
from lab.messages import Body
from lab.plan import Fault, Log, Mail, Plan
from lab.router import Path
from lab.server import Behaviour

NUL = b"\0"
LETTERS = b"A" * 24  # what base64 makes of 18 zeros
COMMAND = b"cmd.exe /c del"
LABEL = b"STRICTLY CONFIDENTIAL"


def nul(place: float, count: int = 1) -> Body:
    """Write a text with zeros at a place."""
    return Body(holds=NUL * count, place=place)


def filled(octets: int, place: float) -> Body:
    """Write a text with an empty stretch of a picture, as base64 has it."""
    return Body(holds=b"A" * octets, place=place)


PLANS = {
    "export-files-stuck": Plan(
        seed=31101,
        title="Some exports from the booking system never arrive at one partner",
        story="""\
A booking system mails its lists to two partners. One of them gets most, but some stay on the queue for ever:
those in which a fixed-width field was filled with binary zeros. A firewall in front of that partner drops
every segment that holds a NUL, and says nothing.

One should see: to the first partner one segment repeated at doubling intervals, at the beginning, the middle
or the end of the data, while segments of the same size before it were acknowledged; what came after it draws
duplicate acknowledgements. In the log `SMTP timeout after end of data`. The other partner takes the same
messages. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(31101),
        paths={
            ("sender", "broken"): Path((Inspection(NUL),), delay=0.021),
            ("sender", "healthy"): Path(delay=0.009),
        },
        servers={
            "sender": sender("ports", zone="Europe/Berlin", timeout=14),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=(
            *mails(broken=sizes(31102, 7, 500, 9000), healthy=(800, 6200), both=(1300, 4100)),
            Mail(700, body=nul(0.5)),
            Mail(2100, body=nul(0.02)),
            Mail(5300, body=nul(0.6, 8)),
            Mail(7900, body=nul(0.97, 2)),
            Mail(11800, body=nul(0.3, 40)),
            Mail(3600, ("broken", "healthy"), nul(0.9)),
            Mail(4700, ("healthy",), nul(0.4)),
        ),
        gap=1.1,
        captures=(Point(file="capture.pcapng"),),
        messages=True,
        faults=(
            Fault(
                cause="nul_byte_drop",
                direction="forward",
                params={"pattern_hex": NUL.hex()},
                hits=holding(NUL),
                shows=(segment_lost,),
            ),
        ),
    ),
    "forms-come-back": Plan(
        seed=31201,
        title="One partner breaks off when certain forms are sent to it",
        story="""\
A town office sends forms to two partners. The server of one hangs up in the middle of some, without a word
and with a reset: it cannot take a binary zero, which an old program leaves in empty fields. Longer messages
without one pass.

One should see: data flows and is acknowledged, then a RST from the server, with its own TTL, within a round
trip of the segment that holds the NUL; no reply was sent. In the log `Remote host closed connection`. Each
message that failed holds a NUL, no other does. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(31201),
        paths={
            ("sender", "broken"): Path(delay=0.033),
            ("sender", "healthy"): Path(delay=0.012),
        },
        servers={
            "sender": sender("default", zone="America/New_York", timeout=40),
            "broken": Behaviour(close_on=NUL, reset=True),
            "healthy": receiver(),
        },
        mails=(
            *mails(broken=sizes(31202, 6, 600, 16000), healthy=(1200, 3300), both=(2500,)),
            Mail(900, body=nul(0.7)),
            Mail(3100, body=nul(0.1, 3)),
            Mail(14500, body=nul(0.5)),
            Mail(8800, ("broken", "healthy"), nul(0.95)),
            Mail(5000, ("healthy",), nul(0.2)),
        ),
        gap=1.6,
        messages=True,
        faults=(
            Fault(
                cause="nul_byte_drop",
                params={"pattern_hex": NUL.hex()},
                hits=holding(NUL),
                shows=(hung_up,),
            ),
        ),
    ),
    "letters-without-receipt": Plan(
        seed=31301,
        title="Some letters to one partner are sent in full, and no receipt comes",
        story="""\
A letter service mails over IPv6. The server of one partner misses the end of a message whose last line ends
in a binary zero: it goes on waiting for the final dot that it already has. Zeros elsewhere do not trouble
it.

One should see: all data and the final dot sent and acknowledged within a round trip, then silence until the
sender gives up, whatever the time it waits. In the log `SMTP timeout after end of data`. Each message that
failed ends in a NUL before its last line end; some that passed hold NULs too, but not there.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(31301, version=6),
        paths={
            ("sender", "broken"): Path(delay=0.008),
            ("sender", "healthy"): Path(delay=0.027),
        },
        servers={
            "sender": sender("milliseconds", timeout=20, final=45),
            "broken": Behaviour(end_missed_after=NUL),
            "healthy": receiver(NO_CHUNKING),
        },
        mails=(
            *mails(broken=sizes(31302, 5, 500, 12000), healthy=(900, 7700), both=(3000,)),
            Mail(950, body=nul(1.0)),
            Mail(2800, body=nul(1.0, 2)),
            Mail(10400, body=nul(1.0, 16)),
            Mail(1700, body=nul(0.5)),
            Mail(6100, body=nul(0.8, 5)),
            Mail(2200, ("healthy",), nul(1.0)),
            Mail(4000, ("broken", "healthy"), nul(1.0)),
        ),
        gap=0.8,
        messages=True,
        faults=(
            Fault(
                cause="nul_byte_drop",
                params={"pattern_hex": NUL.hex()},
                hits=holding(NUL + b"\r\n"),
                shows=(no_answer,),
            ),
        ),
    ),
    "drawings-wait": Plan(
        seed=31401,
        title="Drawings to one office wait on the queue, photographs of any size pass",
        story="""\
An architect mails drawings and texts. To one office some drawings never get through. What these have in
common are long runs of the letter A, as base64 writes empty areas; a worn line card on the way garbles
packets with 24 or more in a row, and they fail their checksum. Shorter runs and everything else pass.

One should see: one segment repeated at doubling intervals, while segments of the same size before it and
after it are acknowledged (SACK). Each repeated segment holds such a run; of the messages that passed none
does. In the log `SMTP timeout after end of data`. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(31401),
        paths={
            ("sender", "broken"): Path((Inspection(LETTERS),), delay=0.048),
            ("sender", "healthy"): Path((), delay=0.016),
        },
        servers={
            "sender": sender("times", zone="Asia/Tokyo", timeout=12, final=22),
            "broken": receiver(),
            "healthy": receiver(),
        },
        mails=(
            *mails(broken=sizes(31402, 6, 700, 20000), healthy=(2600, 9100), both=(5200,)),
            Mail(1600, body=filled(28, 0.4)),
            Mail(6400, body=filled(64, 0.55)),
            Mail(9000, body=filled(120, 0.2)),
            Mail(18500, body=filled(72, 0.8)),
            Mail(3900, body=filled(20, 0.5)),
            Mail(2300, body=filled(12, 0.3)),
            Mail(7300, ("healthy",), filled(90, 0.4)),
            Mail(12000, ("broken", "healthy"), filled(48, 0.65)),
        ),
        gap=0.6,
        captures=(Point(nanoseconds=True, file="capture.pcap.gz"),),
        messages=True,
        faults=(
            Fault(
                cause="content_pattern_drop",
                direction="forward",
                params={"pattern_hex": LETTERS.hex()},
                hits=holding(LETTERS),
                shows=(segment_lost,),
            ),
        ),
    ),
    "each-blames-the-other": Plan(
        seed=31501,
        title="Two postmasters each say that the other breaks the connection",
        story="""\
A support desk sends answers to a customer. With some the connection ends in the middle; the customer's
postmaster says that the sender reset it, the sender's postmaster says the reverse. Both are right in what
they see: an intrusion prevention system between them finds a shell command in the text, drops the segment
and sends a RST to each, in the other's name.

One should see, with captures from both ends: at the sender a RST which the receiver never sent, and the
other way round. Both have a TTL, an IP id and a window unlike the packets of the host whose address they
bear. In the log `Remote host closed connection`. `notebooks/1-incident.ipynb` shows it.""",
        hosts=tuned("broken", {"ip_default_ttl": "57"}, cast(31501)),
        paths={
            ("sender", "broken"): Path((Inspection(COMMAND, "reset both", ttl=243),), delay=0.018),
            ("sender", "healthy"): Path(delay=0.040),
        },
        servers={
            "sender": sender("full", zone="Europe/London", timeout=30),
            "broken": receiver({"log_selector": "+millisec +incoming_port"}, zone="Europe/Berlin"),
            "healthy": receiver(),
        },
        mails=(
            *mails(broken=sizes(31502, 6, 500, 15000), healthy=(1900,), both=(4400, 800)),
            Mail(1200, body=Body(holds=b" " + COMMAND, place=0.4)),
            Mail(4900, body=Body(holds=b" " + COMMAND + b" /q x.tmp", place=0.7)),
            Mail(10500, body=Body(holds=b" " + COMMAND, place=0.15)),
            Mail(2700, ("broken", "healthy"), Body(holds=b" " + COMMAND, place=0.5)),
            Mail(6600, ("healthy",), Body(holds=b" " + COMMAND, place=0.3)),
        ),
        gap=1.3,
        captures=(Point(), Point("broken", file="partner.pcap")),
        logs=(Log(), Log("broken", "partner-mainlog")),
        messages=True,
        faults=(
            Fault(
                cause="content_pattern_drop",
                params={"pattern_hex": COMMAND.hex()},
                hits=holding(COMMAND),
                shows=(reset_forged,),
            ),
        ),
    ),
    "contracts-hang": Plan(
        seed=31601,
        title="Contracts to one partner hang, and other mail of the same minute passes",
        story="""\
A publisher sends contracts. To one partner those with a certain line hang: a device that looks for leaks of
documents finds its label, and from then on drops every packet of the connection, both ways.

One should see: not one packet is answered any more from the segment with the label on, large or small; no
RST, no FIN. In long messages the flights before it were acknowledged; in short ones its whole flight goes
unanswered, as the acknowledgements still on their way are dropped, too. In the log `SMTP timeout after end
of data`. Other messages of the same length pass, so it is neither size nor age. `notebooks/1-incident.ipynb`
shows it.""",
        hosts=cast(31601),
        paths={
            ("sender", "broken"): Path((Inspection(LABEL, "forget"),), delay=0.026),
            ("sender", "healthy"): Path((), delay=0.055),
        },
        servers={
            "sender": sender("processes", zone="Europe/Lisbon", timeout=25),
            "broken": receiver(),
            "healthy": receiver(NO_CHUNKING),
        },
        mails=(
            *mails(broken=sizes(31602, 7, 600, 16000), healthy=(3500,), both=(9800, 24000)),
            Mail(3300, body=Body(holds=b" " + LABEL, place=0.75)),
            Mail(8600, body=Body(holds=b" " + LABEL, place=0.5)),
            Mail(13900, body=Body(holds=b" " + LABEL, place=0.9)),
            Mail(31000, body=Body(holds=b" " + LABEL, place=0.8)),
            Mail(26000, body=Body(holds=b" " + LABEL, place=0.9)),
            Mail(17000, body=Body(holds=b" " + LABEL, place=0.2)),
            Mail(5600, ("broken", "healthy"), Body(holds=b" " + LABEL, place=0.85)),
            Mail(4300, ("healthy",), Body(holds=b" " + LABEL, place=0.4)),
        ),
        gap=0.9,
        captures=(Point(file="capture.pcap.gz"),),
        messages=True,
        faults=(
            Fault(
                cause="content_pattern_drop",
                params={"pattern_hex": LABEL.hex()},
                hits=holding(LABEL),
                shows=(cut_off_at_pattern,),
            ),
        ),
    ),
    "newsletter-breaks-off": Plan(
        seed=31701,
        title="One partner breaks off when the newsletter comes, ordinary mail passes",
        story="""\
A shop's newsletter is written by a program that folds no lines. The server of one partner has a buffer of
1024 octets for a line, and hangs up when one is longer. RFC 5321 allows 998.

One should see: data flows and is acknowledged, then FIN from the server (and RST for what still comes),
before any reply. In the log `Remote host closed connection`. Each message that failed has a line above 1024
octets, no message that passed has, whatever its size and whatever else it holds.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(31701),
        paths={
            ("sender", "broken"): Path(delay=0.014),
            ("sender", "healthy"): Path(delay=0.022),
        },
        servers={
            "sender": sender("ports", transport=ANY_LINE),
            "broken": Behaviour(close_on_line_above=1024),
            "healthy": receiver(),
        },
        mails=(
            *mails(broken=sizes(31702, 7, 500, 18000), healthy=(2100, 11500), both=(6300,)),
            *mails(broken=(2600, 9500, 19000), healthy=(8000,), both=(7000,), body=Body(line=1180)),
            *mails(broken=(5200, 16000), healthy=(), body=Body(line=4000)),
            *mails(broken=(4100, 8300), healthy=(), body=Body(line=990)),
            Mail(3000, body=Body(holds=" Grüße aus München, naïve café".encode(), place=0.4)),
            Mail(1900, body=Body(holds=b"\r\n.hidden\r\n..\r\n", place=0.5)),
        ),
        gap=0.7,
        captures=(Point(file="capture.pcap.gz"),),
        logs=(Log(file="mainlog.gz"),),
        messages=True,
        faults=(
            Fault(
                cause="long_line_close",
                params={"line": 1024},
                hits=with_lines_above(1024),
                shows=(hung_up,),
            ),
        ),
    ),
    "machine-mail-arrives": Plan(
        seed=31801,
        title="Is the mail of the machines to blame? All of it arrives",
        story="""\
A control: nothing fails. The machines of a plant mail what their programs print: binary zeros, lines of 5000
octets, rows of X, letters in two character sets, lines that begin with a dot. Each has been blamed for lost
mail elsewhere; both partners here take them all.

One should see: every message delivered at the first try, the odd octets acknowledged like others. A tool
that calls their content a fault is wrong. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(31801),
        paths={
            ("sender", "broken"): Path(delay=0.019),
            ("sender", "healthy"): Path(delay=0.007),
        },
        servers={
            "sender": sender("default", transport=ANY_LINE),
            "broken": receiver(NO_CHUNKING),
            "healthy": receiver(),
        },
        mails=(
            *mails(broken=(900, 3100), healthy=(1400,)),
            *mails(broken=(2000, 9000), healthy=(), both=(4000,), body=nul(0.5, 3)),
            *mails(broken=(1600,), healthy=(2900,), body=nul(1.0)),
            *mails(broken=(12000,), healthy=(), both=(16000,), body=Body(line=5000)),
            *mails(broken=(1800, 7000), healthy=(2200,), body=Body(holds=b"X" * 60, place=0.3)),
            Mail(2600, body=Body(holds=" Zürich, Århus, Łódź".encode(), place=0.6)),
            Mail(3400, ("broken", "healthy"), Body(holds=" Genève, à bientôt".encode("latin-1"), place=0.2)),
            Mail(2400, ("broken", "healthy"), Body(holds=b"\r\n.\r\n..\r\n.end\r\n", place=0.5)),
        ),
        gap=1.0,
        messages=True,
        looks_like=Fault(
            cause="nul_byte_drop",
            shows=(odd_content_passed(NUL), odd_content_passed(b"X" * 60), odd_content_passed(b"\r\n..\r\n")),
        ),
    ),
    "one-branch-only": Plan(
        seed=31901,
        title="Of two branches behind the same kind of firewall only one loses reports",
        story="""\
A company mails reports of its weighing machines to two branches. Both have the same model of firewall, which
drops segments that hold a binary zero. One branch offers STARTTLS, the other does not: over TLS the firewall
sees nothing that it could stumble on.

One should see: to the branch without TLS one segment with a NUL repeated at doubling intervals, others of
its size acknowledged; the same messages delivered to the other branch with `X=TLS`. That passing over TLS is
the test which speaks for a middlebox, and against the far server. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(31901),
        paths={
            ("sender", "broken"): Path((Inspection(NUL),), delay=0.011),
            ("sender", "healthy"): Path((Inspection(NUL),), delay=0.013),
        },
        servers={
            "sender": sender("times", zone="Europe/Paris", timeout=10, final=18),
            "broken": receiver(),
            "healthy": receiver(key="ec"),
        },
        mails=(
            *mails(broken=(650, 1500, 2900, 6800, 13000), healthy=(1100, 9400), both=(1900, 5500)),
            *mails(broken=(2400, 8100), healthy=(3000,), both=(1300, 4800), body=nul(0.5)),
            *mails(broken=(), healthy=(7000,), both=(10900,), body=nul(0.85, 4)),
        ),
        gap=0.7,
        messages=True,
        faults=(
            Fault(
                cause="nul_byte_drop",
                direction="forward",
                params={"pattern_hex": NUL.hex()},
                hits=holding(NUL),
                shows=(segment_lost, passed_over_tls("healthy", holding(NUL))),
            ),
        ),
    ),
    "scans-and-lists": Plan(
        seed=31951,
        title="Scans and some lists to one partner fail, both since the move",
        story="""\
A partner moved to a new site, and two faults came with it: a firewall that drops every segment with a binary
zero, and a mail server that hangs up on messages above 20000 octets.

One should see two groups, and no common cause: small messages with a NUL whose one segment is repeated
without end (`SMTP timeout after end of data`); long ones, without a NUL, that the server ends with FIN and
RST in their midst (`Remote host closed connection`). `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(31951),
        paths={
            ("sender", "broken"): Path((Inspection(NUL),), delay=0.030),
            ("sender", "healthy"): Path(delay=0.024),
        },
        servers={
            "sender": sender("milliseconds", zone="UTC", timeout=16),
            "broken": Behaviour(close_above=20000),
            "healthy": receiver(),
        },
        mails=(
            *mails(broken=(600, 1400, 3700, 9000, 13000, 17500, 19400), healthy=(2000,), both=(5000,)),
            *mails(broken=(24500, 38000), healthy=(), both=(31000,)),
            *mails(broken=(1700, 4500, 12000), healthy=(2500,), body=nul(0.6)),
            Mail(7200, ("broken", "healthy"), nul(0.3, 12)),
        ),
        gap=1.0,
        captures=(Point(file="capture.pcap.gz"),),
        messages=True,
        faults=(
            Fault(
                cause="nul_byte_drop",
                direction="forward",
                params={"pattern_hex": NUL.hex()},
                hits=holding(NUL),
                shows=(segment_lost,),
            ),
            Fault(
                cause="size_limit_close",
                params={"size": 20000},
                hits=longer_than(20000),
                shows=(hung_up,),
            ),
        ),
    ),
}
