"""Servers that hang up, stay silent, stop reading or refuse (facts C, E1, F), and healthy ones like them."""

from lab.capture import Point
from lab.claims import (
    closed_after,
    deferred_first,
    delivered_late,
    every,
    gone_before_reply,
    holding,
    hung_up_after_data,
    hung_up_in_data,
    longer_than,
    never_greeted,
    no_answer,
    replied,
    replied_late,
    sent_in_clear,
    window_closed,
)
from lab.incidents.draw import NO_CHUNKING, cast, mails, receiver, sender, sizes
from lab.plan import Fault, Log, Mail, Plan
from lab.router import Path
from lab.server import Behaviour

PLANS = {
    "attachments-queue-up": Plan(
        seed=3101,
        title="Mail with attachments to one partner stays on the queue",
        story="""\
The first peer takes messages of up to 40 kB. When more octets come it does not answer 552: it closes the
connection with data still unread, and its kernel sends RST. The capture was taken on the interface `any`
(Linux cooked), so there is no Ethernet header. One should see: data that flows well and is acknowledged,
then a RST from the peer after about the same number of octets for every larger message, whatever it
holds; in the log `Remote host closed connection in response to sending data block` or the like. As Exim
takes that for an error of the host, short messages that come meanwhile are not even tried (`retry time
not reached`): they go through in the next queue run. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3101),
        paths={
            ("sender", "broken"): Path(delay=0.017),
            ("sender", "healthy"): Path(delay=0.029),
        },
        servers={
            "sender": sender("milliseconds", timeout=30),
            "broken": Behaviour(
                banner="220 {name} ESMTP service ready", receive_buffer=10000, close_above=40000, reset=True
            ),
            "healthy": receiver(NO_CHUNKING),
        },
        mails=mails(
            broken=(1100, 4600, 13000, 29000, 38500, 64000, 71000, 88000, 170000, 420000, 610000),
            healthy=sizes(3101, 5, 900, 80000),
            both=(2500,),
        ),
        gap=1.1,
        queue_runs=1,
        tail=8,
        captures=(
            Point(
                interface="any", link_type="LINUX_SLL2", filter="tcp port 25 or icmp", file="capture.pcap.gz"
            ),
        ),
        faults=(
            Fault(
                cause="size_limit_close",
                params={"size": 40000},
                hits=longer_than(40000),
                shows=(sent_in_clear, hung_up_in_data),
            ),
        ),
    ),
    "no-log-at-hand": Plan(
        seed=3102,
        title="A capture from a relay whose logs are gone",
        story="""\
Only a capture is left. The first peer offers CHUNKING, reads every message to its end, and when it was
larger than 24,576 octets hangs up (FIN) where the answer to `BDAT ... LAST` should be. One should see:
all chunks acknowledged within a round trip, a FIN from the peer with no reply before it, for large
messages only; smaller ones get their `250`. Retries meet the same end. `notebooks/1-incident.ipynb` shows
it.""",
        hosts=cast(3102),
        paths={
            ("sender", "broken"): Path(delay=0.008),
            ("sender", "healthy"): Path(delay=0.052),
        },
        servers={
            "sender": sender("default", timeout=20),
            "broken": Behaviour(
                keywords=("PIPELINING", "SIZE", "8BITMIME", "CHUNKING", "HELP"), close_after_dot_above=24576
            ),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(640, 1900, 7200, 15000, 23900, 25300, 31000, 44000, 52000),
            healthy=sizes(3102, 5, 700, 60000),
        ),
        gap=2.2,
        queue_runs=1,
        rest=9,
        tail=5,
        captures=(Point(file="capture.pcap.gz"),),
        logs=(),
        faults=(
            Fault(
                cause="size_limit_close",
                params={"size": 24576},
                hits=longer_than(24576),
                shows=(sent_in_clear, hung_up_after_data),
            ),
        ),
    ),
    "one-site-takes-nothing": Plan(
        seed=3103,
        title="Nothing arrives at one site, from a short note to a catalogue",
        story="""\
A proxy in front of the first peer gives the server behind it 4 seconds for its answer to the final dot,
and closes the connection without a word when they are over, which they always are. One should see (with a
snap length of 96: headers, and the first octets of the payload): everything acknowledged, the final dot
too, then a FIN from the peer 4.0 seconds later (Exim's own FIN rode on the last data, behind its QUIT),
for messages of every size. In the log, in Tokyo's time, `Remote host closed connection in response to end
of data`. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3103),
        paths={
            ("sender", "broken"): Path(delay=0.035, delay_back=0.044),
            ("sender", "healthy"): Path(delay=0.011),
        },
        servers={
            "sender": sender("default", zone="Asia/Tokyo", main={"log_timezone": "true"}, timeout=45),
            "broken": Behaviour(banner="220 {name} ESMTP proxy", close_after_dot_above=0, close_wait=4.0),
            "healthy": receiver(),
        },
        mails=mails(
            broken=sizes(3103, 9, 500, 140000), healthy=sizes(3113, 6, 500, 140000), both=(1200, 8000, 30000)
        ),
        gap=1.7,
        tail=10,
        captures=(Point(snap_length=96),),
        faults=(
            Fault(
                cause="close_after_data",
                params={"seconds": 4.0},
                hits=every,
                shows=(sent_in_clear, hung_up_after_data, closed_after(4.0)),
            ),
        ),
    ),
    "answer-from-one-partner-missing": Plan(
        seed=3104,
        title="One partner says that they get none of our mail",
        story="""\
Only the sender's log is there. The first peer hangs up half a second after the final dot of every
message, with FIN and without an answer. The log has `Remote host closed connection in response to end of
data` for messages of every size, so neither their size nor what they hold decides; which of the two ends
of the way closed, and whether the dot had arrived, only a capture could show.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3104),
        paths={
            ("sender", "broken"): Path(delay=0.026),
            ("sender", "healthy"): Path(delay=0.019),
        },
        servers={
            "sender": sender("times", zone="America/Halifax", main={"log_timezone": "true"}, timeout=30),
            "broken": Behaviour(close_after_dot_above=0, close_wait=0.5),
            "healthy": receiver(),
        },
        mails=mails(
            broken=sizes(3104, 10, 480, 250000), healthy=sizes(3114, 9, 480, 250000), both=(700, 90000)
        ),
        gap=3.0,
        queue_runs=1,
        rest=12,
        tail=2,
        captures=(),
        faults=(
            Fault(
                cause="close_after_data",
                params={"seconds": 0.5},
                hits=every,
                shows=(sent_in_clear, hung_up_after_data, closed_after(0.5)),
            ),
        ),
        acceptable=("close_after_data", "unexplained"),
    ),
    "long-letters-tried-again": Plan(
        seed=3105,
        title="Long letters are tried again and again",
        story="""\
The content scanner of the first peer chokes on messages of more than 20,000 octets: TCP acknowledges them
to the final dot, and no answer ever comes. Exim waits its time, gives up, and tries again later, in vain.
One should see: all data and the dot acknowledged, then silence; short messages answered at once. When
Exim gives up nothing is sent, since its QUIT and FIN went out with the last data. The log is what syslog
wrote, with `SMTP timeout after end of data` for large messages only, several times each.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3105),
        paths={
            ("sender", "broken"): Path(delay=0.044),
            ("sender", "healthy"): Path(delay=0.015),
        },
        servers={
            "sender": sender("default", timeout=8, final=11, syslog=True),
            "broken": Behaviour(banner="220 {name} ESMTP Mail Gateway", silent_above=20000),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(560, 2100, 6800, 12000, 19200, 21500, 27000, 39000, 60000),
            healthy=sizes(3105, 6, 600, 70000),
            both=(3300,),
        ),
        gap=1.4,
        queue_runs=2,
        rest=4,
        tail=15,
        captures=(Point(file="capture.pcap.gz"),),
        logs=(Log(file="mail.log"),),
        faults=(
            Fault(
                cause="remote_timeout",
                params={"size": 20000, "seconds": 11},
                hits=longer_than(20000),
                shows=(sent_in_clear, no_answer),
            ),
        ),
    ),
    "waits-at-the-door": Plan(
        seed=3106,
        title="Mail to one site by IPv6 waits before it has begun",
        story="""\
The first peer takes the connection at once and sends its greeting only 41 seconds later, as servers do
that ask a dead name server about their client; Exim has given up by then. One should see, over IPv6: SYN
and SYN-ACK within a round trip, not one octet from either side for half a minute, the client's FIN, and
at last a `220` that the client's kernel answers with RST. In the log `SMTP timeout after initial
connection`; sizes do not matter. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3106, version=6),
        paths={
            ("sender", "broken"): Path(delay=0.031),
            ("sender", "healthy"): Path(delay=0.009),
        },
        servers={
            "sender": sender("processes", timeout=27, final=35),
            "broken": Behaviour(wait={"banner": 41.0}),
            "healthy": receiver(),
        },
        mails=mails(broken=sizes(3106, 7, 600, 50000), healthy=sizes(3116, 8, 600, 50000)),
        gap=1.1,
        tail=25,
        captures=(Point(file="capture.pcapng"),),
        faults=(Fault(cause="remote_timeout", params={"seconds": 27}, hits=every, shows=(never_greeted,)),),
    ),
    "every-mail-to-one-site-waits": Plan(
        seed=3107,
        title="Since an update at the partner's every mail to them waits",
        story="""\
The first peer offers CHUNKING and fails at it: it takes the chunks of `BDAT`, acknowledges them, and
never answers, whatever is sent. The other peer offers it, too, and does it well. One should see: `BDAT`
and all its octets acknowledged, then silence; a test with `hosts_try_chunking` switched off for this peer
would pass. In the log `SMTP timeout after pipelined sending data block` or `end of data` for every
message to this peer, and between the tries `retry time not reached`. `notebooks/1-incident.ipynb` shows
it.""",
        hosts=cast(3107),
        paths={
            ("sender", "broken"): Path(delay=0.012),
            ("sender", "healthy"): Path(delay=0.018),
        },
        servers={
            "sender": sender("full", timeout=9),
            "broken": Behaviour(
                keywords=("SIZE 41943040", "PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8"),
                silent=frozenset({"BDAT", "dot"}),
            ),
            "healthy": receiver(),
        },
        mails=mails(broken=sizes(3107, 7, 450, 45000), healthy=sizes(3117, 6, 450, 45000), both=(21000,)),
        gap=1.9,
        queue_runs=1,
        rest=3,
        tail=12,
        captures=(Point(file="smtp.pcap", nanoseconds=True),),
        faults=(
            Fault(
                cause="remote_timeout",
                params={"seconds": 9},
                hits=every,
                shows=(sent_in_clear, no_answer),
            ),
        ),
    ),
    "ten-minutes-a-message": Plan(
        seed=3108,
        title="Every message to one partner hangs for ten minutes",
        story="""\
One partner's server takes every message whole, acknowledges the final dot, and then says nothing more:
what works on the mail behind it hangs. Exim waits its default ten minutes for the answer, gives up, and
keeps the message for another try, while everything to the other partner goes through.

One should see: every segment to the broken peer acknowledged within a round trip, the final dot too, and
not one packet more, since Exim's QUIT and FIN went out with the last data. In the log `SMTP timeout after
end of data` for messages of every size. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3108),
        paths={
            ("sender", "broken"): Path(delay=0.023),
            ("sender", "healthy"): Path(delay=0.041),
        },
        servers={
            "sender": sender("times"),
            "broken": Behaviour(
                banner="220 {name} ESMTP ready",
                keywords=("SIZE 26214400", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES"),
                silent=frozenset({"dot"}),
            ),
            "healthy": receiver(),
        },
        mails=mails(broken=sizes(3108, 9, 700, 60000), healthy=sizes(3109, 6, 800, 70000)),
        gap=7.0,
        captures=(Point(file="capture.pcap.gz"),),
        faults=(
            Fault(
                cause="remote_timeout", params={"seconds": 600}, hits=every, shows=(sent_in_clear, no_answer)
            ),
        ),
    ),
    "two-logs-disagree": Plan(
        seed=3110,
        title="They say we hang up, we say they do not answer",
        story="""\
Both ends' files. The receiving Exim has every message above 20 kB scanned before it answers the final
dot, and the scan takes 22 seconds; the sender waits 14, and logs `SMTP timeout after end of data`. What
comes of it depends on how the sender had ended: where QUIT and FIN went out with the data (first tries)
the receiver accepts the message, and its `250` meets a RST; where Exim closed when it gave up (queue run)
the receiver finds it gone, logs `SMTP connection lost after final dot` and drops the message. One should
see in both captures data and dot acknowledged and no answer in time; the receiver's log is in Helsinki's
time. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3110),
        paths={
            ("sender", "broken"): Path(delay=0.021),
            ("sender", "healthy"): Path(delay=0.007),
        },
        servers={
            "sender": sender("ports", timeout=14),
            "broken": receiver(
                {
                    **NO_CHUNKING,
                    "acl_smtp_data": "accept condition = "
                    "${if >{$message_size}{20480}{${run{/bin/sleep 22}{yes}{yes}}}{yes}}",
                    "log_selector": "+millisec +incoming_port +receive_time",
                    "log_timezone": "true",
                },
                zone="Europe/Helsinki",
            ),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(700, 2600, 8800, 17500, 19800, 22000, 26000, 37000, 48000),
            healthy=sizes(3110, 5, 600, 50000),
        ),
        gap=1.6,
        queue_runs=1,
        rest=10,
        tail=15,
        captures=(Point(file="sender.pcap.gz"), Point("broken", file="receiver.pcap.gz")),
        logs=(Log(file="mainlog-sender"), Log("broken", "mainlog-receiver")),
        faults=(
            Fault(
                cause="remote_timeout",
                params={"size": 20480, "seconds": 14},
                hits=longer_than(20480),
                shows=(sent_in_clear, no_answer, gone_before_reply),
            ),
        ),
    ),
    "same-letter-three-times": Plan(
        seed=3111,
        title="A partner got the same letter three times, and we still have it on the queue",
        story="""\
The first peer works on a message for 0.4 seconds a kilobyte before it answers the final dot, and the
sender waits no more than 12: what is longer than some 30 kB is accepted by a server whose `250` meets a
client that has gone. Both are wrong about the message: it is delivered, and tried again (RFC 1047). One
should see: the dot acknowledged, then, later than the client's patience, the `250`, answered with RST;
with shorter messages a time to the answer that grows with their size. In the log `SMTP timeout after end
of data`, once for each try. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3111),
        paths={
            ("sender", "broken"): Path(delay=0.028),
            ("sender", "healthy"): Path(delay=0.033),
        },
        servers={
            "sender": sender("milliseconds", zone="Europe/Lisbon", timeout=10, final=12),
            "broken": Behaviour(banner="220 {name} ESMTP MX", wait_per_megabyte=400.0),
            "healthy": receiver(NO_CHUNKING),
        },
        mails=mails(
            broken=(520, 3100, 9000, 16000, 26500, 34000, 41000, 58000), healthy=sizes(3111, 5, 500, 60000)
        ),
        gap=1.3,
        queue_runs=2,
        rest=6,
        tail=20,
        captures=(Point(file="capture.pcap.gz"),),
        faults=(
            Fault(
                cause="remote_timeout",
                params={"size": 30000, "seconds": 12},
                hits=longer_than(30000),
                shows=(sent_in_clear, no_answer, replied_late),
            ),
        ),
    ),
    "half-way-and-no-further": Plan(
        seed=3112,
        title="Large mail to one partner gets half-way and no further",
        story="""\
What reads on the first peer's socket stops after 12,000 octets of data, as with a full disk: its window
closes and stays closed. One should see: everything that was sent acknowledged, the window at 0, and
window probes at growing intervals, each answered with a window of 0, long after Exim has given up;
nothing is sent twice for want of an answer. In the log `SMTP timeout after end of data` where the rest of
the message fitted the sender's own buffer, `SMTP timeout after sending data block` where it did not.
Messages of a few kB pass. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3112),
        paths={
            ("sender", "broken"): Path(delay=0.016),
            ("sender", "healthy"): Path(delay=0.024),
        },
        servers={
            "sender": sender("ports", timeout=16, final=22),
            "broken": Behaviour(receive_buffer=12000, stop_reading_after=12000),
            "healthy": receiver(),
        },
        mails=mails(
            broken=(600, 1700, 4200, 9000, 11500, 90000, 130000, 160000, 240000),
            healthy=sizes(3112, 5, 600, 120000),
        ),
        gap=0.9,
        queue_runs=1,
        tail=30,
        captures=(Point(file="capture.pcap.gz"),),
        faults=(
            Fault(
                cause="receiver_stall",
                hits=longer_than(12000),
                shows=(sent_in_clear, window_closed),
            ),
        ),
    ),
    "bounces-to-the-sender": Plan(
        seed=3120,
        title="Some of the mail to one partner comes back",
        story="""\
Nothing is broken. The first peer, a real Exim, takes messages of up to 30 kB and says so: to `MAIL` with
a larger `SIZE=` it answers `552`, to `RCPT` of a user whom it does not know `550`. One should see:
replies within a round trip, a clean QUIT, no data sent. In the log `**` lines with the server's words,
and bounces to the authors. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3120),
        paths={
            ("sender", "broken"): Path(delay=0.013),
            ("sender", "healthy"): Path(delay=0.048),
        },
        servers={
            "sender": sender("default", zone="Europe/Vienna", timeout=40),
            "broken": receiver(
                {
                    **NO_CHUNKING,
                    "message_size_limit": "30K",
                    "acl_smtp_rcpt": '"deny local_parts = library : t.okafor\\n message = No such user at $primary_hostname\\naccept"',
                }
            ),
            "healthy": receiver(),
        },
        mails=mails(broken=sizes(3120, 14, 600, 120000), healthy=sizes(3121, 6, 600, 120000)),
        gap=2.5,
        tail=6,
        captures=(Point(file="capture.pcap.gz"),),
        faults=(
            Fault(
                cause="smtp_rejection",
                severity="warn",
                hits=lambda sent: any(
                    hit(sent)
                    for hit in (longer_than(30720), holding(b"To: library@"), holding(b"To: t.okafor@"))
                ),
                shows=(replied("552"), replied("550")),
            ),
        ),
    ),
    "long-mails-put-off": Plan(
        seed=3122,
        title="Longer mail to one partner is put off again and again",
        story="""\
The first peer's store is nearly full. As soon as more than 25,000 octets of a message came it answers
`421` with the reason, in the middle of the data, reads on until the client has seen it, and closes
properly. One should see: the reply before the final dot, nothing lost, FINs from both sides. In the log
`421` with the server's words after `end of data`; short messages pass. `notebooks/1-incident.ipynb` shows
it.""",
        hosts=cast(3122),
        paths={
            ("sender", "broken"): Path(delay=0.037),
            ("sender", "healthy"): Path(delay=0.02),
        },
        servers={
            "sender": sender("times", timeout=25),
            "broken": Behaviour(
                reply_in_data=(25000, "421 4.3.1 Insufficient system storage, try again later")
            ),
            "healthy": receiver(NO_CHUNKING),
        },
        mails=mails(
            broken=(750, 1900, 5600, 14000, 22500, 28000, 33000, 50000, 77000),
            healthy=sizes(3122, 5, 700, 80000),
        ),
        gap=1.0,
        queue_runs=1,
        rest=8,
        tail=6,
        captures=(Point(snap_length=128),),
        faults=(
            Fault(
                cause="smtp_rejection",
                severity="warn",
                params={"size": 25000},
                hits=longer_than(25000),
                shows=(sent_in_clear, replied("421")),
            ),
        ),
    ),
    "two-partners-complain": Plan(
        seed=3123,
        title="Two partners miss mail, a third one does not",
        story="""\
Two faults that have nothing to do with one another. One peer hangs up after the final dot, without an
answer, when a message has more than 18,000 octets; another stops reading after 9,000, and its window
stays at 0. A third takes everything. One should see: a FIN after the acknowledged dot at the first,
window probes at the second; in the log `Remote host closed connection in response to end of data` for the
one and `SMTP timeout after end of data` or `after sending data block` for the other.
`notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(3123, "sender", "broken", "second", "healthy"),
        paths={
            ("sender", "broken"): Path(delay=0.019),
            ("sender", "second"): Path(delay=0.038),
            ("sender", "healthy"): Path(delay=0.010),
        },
        servers={
            "sender": sender("ports", timeout=17, final=24),
            "broken": Behaviour(banner="220 {name} SMTP", close_after_dot_above=18000),
            "second": Behaviour(receive_buffer=9000, stop_reading_after=9000),
            "healthy": receiver(),
        },
        mails=(
            *mails(broken=(900, 3800, 11000, 16800, 19500, 26000, 47000), healthy=sizes(3123, 6, 800, 90000)),
            *(Mail(size, ("second",)) for size in (1200, 2900, 7700, 95000, 140000, 210000)),
        ),
        gap=1.2,
        queue_runs=1,
        tail=20,
        captures=(Point(file="capture.pcap.gz"),),
        faults=(
            Fault(
                cause="size_limit_close",
                params={"size": 18000},
                hits=longer_than(18000),
                shows=(sent_in_clear, hung_up_after_data),
            ),
            Fault(
                cause="receiver_stall",
                peer="second",
                hits=longer_than(9000),
                shows=(sent_in_clear, window_closed),
            ),
        ),
    ),
    "second-try-works": Plan(
        seed=3130,
        title="New partner, and nothing arrives at the first try",
        story="""\
A healthy control that looks guilty: the first peer greylists, that is, it answers `451` to RCPT for a
sender and recipient that it sees for the first time, and takes the mail 20 seconds later. One should see:
replies within a round trip, a clean QUIT, and everything delivered in a later queue run.
`notebooks/1-incident.ipynb` shows that nothing is to be done.""",
        hosts=cast(3130),
        paths={
            ("sender", "broken"): Path(delay=0.022),
            ("sender", "healthy"): Path(delay=0.014),
        },
        servers={
            "sender": sender("milliseconds", timeout=30),
            "broken": Behaviour(greylist=20.0),
            "healthy": receiver(),
        },
        mails=mails(broken=sizes(3130, 9, 600, 40000), healthy=sizes(3131, 5, 600, 40000), both=(2000,)),
        gap=1.0,
        queue_runs=1,
        rest=25,
        tail=4,
        looks_like=Fault(cause="smtp_rejection", shows=(replied("451"), deferred_first)),
    ),
    "slow-but-it-goes": Plan(
        seed=3132,
        title="Large mail to one partner takes a quarter of a minute",
        story="""\
A healthy control that looks guilty: a scanner at the first peer works on every message before the answer
to the final dot, the longer the larger, and the sender is patient enough. One should see: all data
acknowledged at once, seconds of silence, then a `250`; in the log nothing but deliveries, with delivery
times that grow with the size. `notebooks/1-incident.ipynb` shows that it is slow, and no more.""",
        hosts=cast(3132),
        paths={
            ("sender", "broken"): Path(delay=0.05),
            ("sender", "healthy"): Path(delay=0.027),
        },
        servers={
            "sender": sender("times", timeout=60),
            "broken": Behaviour(banner="220 {name} ESMTP", wait_per_megabyte=190.0),
            "healthy": receiver(),
        },
        mails=mails(broken=sizes(3132, 9, 700, 90000), healthy=sizes(3133, 6, 700, 90000), both=(84000,)),
        gap=1.5,
        tail=5,
        captures=(Point(file="capture.pcap.gz"),),
        looks_like=Fault(cause="remote_timeout", shows=(delivered_late(12.0),)),
    ),
    "some-of-each-batch-put-off": Plan(
        seed=3134,
        title="Of each batch of messages some are put off",
        story="""\
A healthy control that looks guilty: the first peer takes four messages on a connection and answers `421`
to the next `MAIL`. Exim, which sends what waits for one host over one connection, puts the fifth off and
comes back to it over another. One should see: several messages on a connection, a `421`, a proper end,
and all messages delivered soon after (`*` in the log marks a message on a connection that was open
already). `notebooks/1-incident.ipynb` shows that nothing is to be done.""",
        hosts=cast(3134),
        paths={
            ("sender", "broken"): Path(delay=0.018),
            ("sender", "healthy"): Path(delay=0.021),
        },
        servers={
            "sender": sender("full", timeout=30),
            "broken": Behaviour(limit_messages=4),
            "healthy": receiver(),
        },
        mails=mails(broken=sizes(3134, 11, 600, 15000), healthy=sizes(3135, 6, 600, 15000)),
        together=True,
        queue_runs=1,
        rest=5,
        tail=4,
        looks_like=Fault(cause="smtp_rejection", shows=(replied("421"), deferred_first)),
    ),
}
