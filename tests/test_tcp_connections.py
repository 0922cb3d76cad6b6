"""What a row of `connections` says of a conversation typed by hand."""

import pandas as pd
import pytest
from conversation import analysed, conversation
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpkit import tables, tcp

HANDSHAKE = """
0.000 > S  seq=0 mss=1460 scale=7
0.030 < SA seq=0 ack=1 mss=1400 scale=8
0.031 > A  seq=1 ack=1
"""


def row(text, *, handshake=HANDSHAKE, **options):
    """The row of one conversation."""
    found = tcp.connections(analysed(handshake + text, **options))
    assert len(found) == 1
    return found.iloc[0]


def at(seconds):
    return pd.Timestamp("2026-01-31 12:00", tz="UTC") + pd.Timedelta(seconds=seconds)


# --- handshake ---------------------------------------------------------------------------------------------


def test_options_are_agreed_on_by_both_or_not_at_all():
    both = row("", handshake="0 > SEC seq=0 ts=1\n0.03 < SAE seq=0 ack=1 ts=9\n")
    assert [both[name] for name in ("sack_permitted", "timestamps", "ecn_offered", "ecn")] == [True] * 4
    one = row("", handshake="0 > SEC seq=0 ts=1\n0.03 < SA seq=0 ack=1 nosack\n")
    assert [one[name] for name in ("sack_permitted", "timestamps", "ecn_offered", "ecn")] == [
        *(False, False, True, False),
    ]


def test_what_one_side_alone_says_is_no_agreement_unless_it_says_no():
    alone = row("", handshake="0 > SEC seq=0 ts=1\n1 > S seq=0 ts=2\n3 > S seq=0 ts=4\n")
    assert (alone["syns"], alone["handshake"], alone["ecn_offered"]) == (3, "unanswered", True)
    assert pd.isna([alone[name] for name in ("sack_permitted", "timestamps", "ecn")]).all()
    assert not row("", handshake="0 > S seq=0\n")["ecn"]


def test_without_a_handshake_nothing_is_known_of_it():
    half = row("0 > A seq=1 ack=1 len=10\n0.1 < A seq=1 ack=11", handshake="")
    assert half["syns"] == 0
    assert pd.isna([half[name] for name in ("sack_permitted", "timestamps", "ecn_offered", "ecn")]).all()


# --- who closed --------------------------------------------------------------------------------------------

CLIENT_FIN_FIRST = "1.00 > FA seq=1 ack=1\n1.03 < FA seq=1 ack=2\n1.04 > A seq=2 ack=2"


@pytest.mark.parametrize(
    ("text", "closed_by", "unprompted", "time"),
    [
        (CLIENT_FIN_FIRST, "client", (True, False), 1.0),
        ("1.03 < FA seq=1 ack=2\n1.05 > FA seq=1 ack=1", "client", (True, False), 1.05),
        ("1.00 < FA seq=1 ack=1\n1.01 > FA seq=1 ack=2\n1.04 < A seq=2 ack=2", "server", (False, True), 1.0),
        ("1.00 > FA seq=1 ack=1\n1.02 < FA seq=1 ack=1", pd.NA, (True, True), 1.0),
        ("10.0 > FA seq=1 ack=1\n300 < FA seq=1 ack=1", "client", (True, True), 10.0),
        ("1.00 > FA seq=1 ack=1\n1.02 < RA seq=1 ack=1", pd.NA, (True, True), 1.0),
        ("1.00 > FA seq=1 ack=1\n1.02 < R seq=1", pd.NA, (True, pd.NA), 1.0),
        ("1.00 < RA seq=1 ack=1", "server", (pd.NA, True), 1.0),
        ("", pd.NA, (pd.NA, pd.NA), None),
    ],
    ids=[
        "client",
        "late FIN",
        "server",
        "both at once",
        "far apart",
        "RST at once",
        "mute RST",
        "RST",
        "none",
    ],
)
def test_acknowledgments_tell_who_closed_first(text, closed_by, unprompted, time):
    found = row(text)
    assert found["closed_by"] is closed_by or found["closed_by"] == closed_by
    told = [found["unprompted_client"], found["unprompted_server"]]
    assert ["?" if pd.isna(x) else x for x in told] == ["?" if pd.isna(x) else x for x in unprompted]
    assert pd.isna(found["close_time"]) if time is None else found["close_time"] == at(time)


def test_first_fin_and_rst_of_both_sides():
    found = row("1 > FA seq=1 ack=1\n2 > FA seq=1 ack=1\n3 < RA seq=1 ack=2\n4 < R seq=1")
    assert (found["fin_forward"], found["rst_reverse"]) == (at(1), at(3))
    assert pd.isna([found["fin_reverse"], found["rst_forward"]]).all()


# --- resets ------------------------------------------------------------------------------------------------

SERVER_AT_59 = """
0.000 > S  seq=0
0.030 < SA seq=0 ack=1 ttl=59 id=0
0.031 > A  seq=1 ack=1
0.060 < PA seq=1 ack=1 len=30 ttl=59 id=500 win=510
0.061 > PA seq=1 ack=31 len=10
0.090 < PA seq=31 ack=11 len=30 ttl=59 id=501 win=510
0.120 < PA seq=61 ack=11 len=30 ttl=59 id=502 win=509
0.150 < PA seq=91 ack=11 len=30 ttl=59 id=504 win=509
"""


@pytest.mark.parametrize(
    ("reset", "forged"),
    [
        ("ttl=59 id=505 win=509", False),
        ("ttl=59 id=0 win=0", False),  # Linux, for a socket that is gone
        ("ttl=243 id=0 win=0", True),  # 12 hops away, the server 5
        ("ttl=123 id=0 win=0", False),  # 5 hops, from 128: another system's default, the same distance
        ("ttl=59 id=40000 win=0", False),
        ("ttl=59 id=505 win=8192", False),
        ("ttl=59 id=40000 win=8192", True),
    ],
)
def test_a_reset_from_elsewhere_is_marked(reset, forged):
    found = row(f"0.2 < RA seq=121 ack=11 {reset}", handshake=SERVER_AT_59)
    assert (found["reset_forged"], found["reset_frame"]) == (forged, 9)
    assert found["reset_ttl"] == int(reset.split()[0].removeprefix("ttl="))


def test_of_several_resets_the_odd_one_is_named():
    resets = "0.2 < RA seq=121 ack=11 ttl=59\n0.3 < RA seq=121 ack=11 ttl=243"
    found = row(resets, handshake=SERVER_AT_59)
    assert (found["reset_forged"], found["reset_frame"], found["reset_ttl"]) == (True, 10, 243)


def test_a_reset_without_other_packets_of_its_host_cannot_be_judged():
    refused = row("", handshake="0 > S seq=0\n0.03 < RA seq=0 ack=1 ttl=250")
    assert (refused["handshake"], refused["reset_frame"]) == ("refused", 2)
    assert refused["reset_forged"] is pd.NA
    assert row("")["reset_forged"] is pd.NA


# --- traffic -----------------------------------------------------------------------------------------------


def test_repeated_bytes_count_as_far_as_they_are_repeated():
    found = row(
        "0.1 > A seq=1 ack=1 len=100\n0.2 > A seq=101 ack=1 len=100\n"
        "0.9 > A seq=51 ack=1 len=200\n0.93 < A seq=1 ack=251"
    )
    assert (found["bytes_retransmitted_forward"], found["bytes_sent_forward"]) == (150, 250)
    assert found["bytes_retransmitted_reverse"] == 0


def test_duplicate_acks_count_for_the_side_that_sends_them():
    found = row(
        "0.1 > A seq=1 ack=1 len=100\n0.1 > A seq=101 ack=1 len=100\n0.1 > A seq=201 ack=1 len=100\n"
        "0.13 < A seq=1 ack=1 win=9\n0.13 < A seq=1 ack=1 win=9\n0.13 < A seq=1 ack=1 win=9"
    )
    assert (found["duplicate_acks_reverse"], found["duplicate_acks_forward"]) == (2, 0)


def test_sack_edges_lie_within_what_was_sent():
    data = "0.1 > A seq=1 ack=1 len=100\n0.1 > A seq=101 ack=1 len=100\n"
    within = row(data + "0.13 < A seq=1 ack=1 sack=101-201\n0.2 < A seq=1 ack=201 sack=1-101")
    assert (within["sacks"], within["sack_outside"]) == (2, 0)  # the second one is a D-SACK
    above = row(data + "0.13 < A seq=1 ack=1 sack=101-201\n0.2 < A seq=1 ack=1 sack=900101-900201")
    assert (above["sacks"], above["sack_outside"], above["sack_outside_frame"]) == (2, 1, 7)
    below = row(
        data + "0.13 < A seq=1 ack=1 sack=-5000--4900".replace("-5000--4900", "2147480000-2147480100")
    )
    assert below["sack_outside"] == 1


def test_sack_edges_past_two_to_the_32():
    text = "0.1 > A seq=1 ack=1 len=100\n0.1 > A seq=101 ack=1 len=100\n0.13 < A seq=1 ack=1 sack=101-201"
    assert row(text, isn=(2**32 - 150, 5))["sack_outside"] == 0


def test_sack_of_a_side_that_was_not_captured_is_not_judged():
    found = row("0.1 < A seq=1 ack=1 sack=101-201", handshake="")
    assert (found["sacks"], found["sack_outside"]) == (1, pd.NA)
    assert row("")["sack_outside"] == 0


def test_time_at_a_window_of_zero_counts_for_the_side_that_waits():
    found = row(
        "1 < A seq=1 ack=1 win=0\n3 > A seq=0 ack=1\n3.1 < A seq=1 ack=1 win=0\n5 < A seq=1 ack=1 win=9"
    )
    assert found["zero_window_time_forward"] == pytest.approx(4)
    assert found["zero_window_time_reverse"] == 0
    to_the_end = row("1 < A seq=1 ack=1 win=0\n3 > A seq=0 ack=1\n8 > A seq=0 ack=1")
    assert to_the_end["zero_window_time_forward"] == pytest.approx(7)
    reset = row("1 < A seq=1 ack=1\n2 < RA seq=1 ack=1 win=0\n3 > R seq=1")
    assert reset["zero_window_time_forward"] == 0


UNSCALED = """
0.06 < A  seq=1 ack=1 win=2000
0.07 > A  seq=1 ack=1 len=1400
0.07 > A  seq=1401 ack=1 len=1400
0.07 > A  seq=2801 ack=1 len=1400
0.10 < A  seq=1 ack=1401 win=2000
0.30 > A  seq=1401 ack=1 len=1400
"""


def test_the_first_lost_byte_is_seen_from_the_end_of_the_unscaled_window():
    assert row(UNSCALED)["lost_at_window_forward"] == 1401 - (1 + 2000)
    whole = UNSCALED.replace("0.30 > A  seq=1401", "0.30 > A  seq=2801")
    assert row(whole)["lost_at_window_forward"] == 2801 - (1 + 2000)


@pytest.mark.parametrize("scale", ["", " scale=0"])
def test_without_a_scale_the_window_is_what_it_says(scale):
    assert row(UNSCALED, handshake=HANDSHAKE.replace(" scale=8", scale))["lost_at_window_forward"] is pd.NA


def test_without_loss_there_is_no_first_lost_byte():
    found = row("0.1 > A seq=1 ack=1 len=10\n0.13 < A seq=1 ack=11")
    assert found["lost_at_window_forward"] is pd.NA


def test_the_longest_pause_and_the_last_of_each_side():
    found = row("0.1 > PA seq=1 ack=1 len=10\n0.13 < A seq=1 ack=11\n60.13 > PA seq=11 ack=1 len=10")
    assert (found["max_pause"], found["pause_start"]) == (60, at(0.13))
    assert (found["last_forward"], found["last_reverse"]) == (at(60.13), at(0.13))
    single = row("0 > S seq=0", handshake="")
    assert pd.isna([single["max_pause"], single["pause_start"], single["last_reverse"]]).all()


# --- when nothing passes any more --------------------------------------------------------------------------

DEAD = ["dead_packets_forward", "dead_smallest_forward", "dead_largest_forward", "dead_packets_reverse"]
ALIVE = "0.10 > PA seq=1 ack=1 len=10\n0.13 < PA seq=1 ack=11 len=20\n0.14 > A seq=11 ack=21\n"


def test_after_a_pause_nothing_of_any_size_is_answered():
    found = row(
        ALIVE + "60.0 > PA seq=11 ack=21 len=1400\n60.3 > A seq=11 ack=21 len=1400\n"
        "61.0 > FA seq=1411 ack=21\n63.0 > A seq=11 ack=21 len=1400"
    )
    assert found["dead_from"] == at(60)
    assert [found[name] for name in DEAD] == [4, 40, 1440, 0]


def test_seen_from_the_server_its_own_packets_are_in_vain():
    found = row(ALIVE + "9 < PA seq=21 ack=11 len=60\n9.3 < PA seq=21 ack=11 len=60\n11 < FA seq=81 ack=11")
    assert (found["dead_packets_forward"], found["dead_packets_reverse"]) == (0, 3)
    assert found["dead_smallest_reverse"] == 40
    assert found["dead_from"] == at(9)


def test_in_a_black_hole_small_packets_still_arrive():
    found = row(
        ALIVE + "1.0 > A seq=11 ack=21 len=1400\n1.0 > PA seq=1411 ack=21 len=90\n"
        "1.03 < A seq=21 ack=11 sack=1411-1501\n1.3 > A seq=11 ack=21 len=1400\n"
        "1.9 > A seq=11 ack=21 len=1400\n3.1 > A seq=11 ack=21 len=1400"
    )
    assert found["dead_from"] == at(1.3)
    assert [found[name] for name in DEAD] == [3, 1440, 1440, 0]


@pytest.mark.parametrize(
    "rest",
    [
        "5 > FA seq=11 ack=21\n5.03 < FA seq=21 ack=12\n5.04 > A seq=12 ack=22",
        "9 > PA seq=11 ack=21 len=9\n9.3 > PA seq=11 ack=21 len=9\n12 < R seq=21",  # a RST answers, too
        "9 > A seq=10 ack=21\n19 > A seq=10 ack=21\n19.03 < A seq=21 ack=11",  # keep-alives
    ],
)
def test_what_is_answered_at_last_is_not_dead(rest):
    found = row(ALIVE + rest)
    assert pd.isna(found["dead_from"])
    assert [found[name] for name in DEAD] == [0, pd.NA, pd.NA, 0]


def test_keep_alives_without_answer_are_dead():
    found = row(ALIVE + "9 > A seq=10 ack=21\n19 > A seq=10 ack=21\n29 > A seq=10 ack=21")
    assert [found[name] for name in DEAD] == [3, 40, 40, 0]


@pytest.mark.parametrize(
    "text",
    [
        HANDSHAKE + ALIVE + "0.2 > PA seq=11 ack=21 len=10\n0.5 > PA seq=11 ack=21 len=10",  # too early
        "0 > A seq=1 ack=1 len=10\n5 > A seq=1 ack=1 len=10\n9 > A seq=1 ack=1 len=10",  # one side alone
    ],
)
def test_where_nobody_can_know_nothing_is_said(text):
    found = row(text, handshake="")
    assert pd.isna([found["dead_from"], *(found[name] for name in DEAD)]).all()


# --- ICMP and fragments ------------------------------------------------------------------------------------

NO_TCP = ["src_port", "dst_port", "seq", "ack", "flags", "tcp_len", "tcp_header_len"]


def icmp(packets, kind, code, *, to="192.0.2.10", frame=99):
    """An ICMP error about the first packet."""
    found = packets.iloc[[0]].assign(
        src="203.0.113.1", dst=to, ip_protocol=1, icmp_type=kind, icmp_code=code, frame=frame
    )
    found[NO_TCP] = pd.NA
    return found


def test_icmp_errors_other_than_too_big():
    packets = conversation("0 > S seq=0\n1 > S seq=0")
    errors = [icmp(packets, *each) for each in ((3, 4), (5, 1), (3, 13), (3, 1))]
    errors = [error.assign(frame=10 + n) for n, error in enumerate(errors)]
    found = tcp.connections(tcp.analysis(tables.concat([packets, *errors], "packets"))).iloc[0]
    assert found[["unreachable_type", "unreachable_code", "unreachable_frame"]].tolist() == [3, 13, 12]
    assert (found["too_big_forward"], found["reassembly_exceeded_forward"]) == (1, 0)


def fragment(first, offset, length, *, more, frame):
    """A later fragment of the packet `first`."""
    found = first.assign(
        fragment_offset=offset, ip_len=20 + length, more_fragments=more, frame=frame, captured_len=34 + length
    )
    found[NO_TCP] = pd.NA
    return found


@pytest.mark.parametrize(
    ("lost", "expected"), [((), [2, 1, 1]), ((0,), [1, 1, 0]), ((1,), [1, 1, 0]), ((0, 1), [0, 1, 0])]
)
def test_fragments_make_a_whole_or_not(lost, expected):
    packets = conversation(HANDSHAKE + "0.1 > A seq=1 ack=1 len=1356 id=77")
    first = packets.iloc[[3]].assign(more_fragments=True)  # 20 + 1376 bytes
    later = [
        fragment(first, 1448, 84, more=False, frame=50),  # before the other one, and they overlap
        fragment(first, 1376, 96, more=True, frame=51),
    ]
    kept = [piece for n, piece in enumerate(later) if n not in lost]
    error = icmp(packets, 11, 1)
    packets = tables.concat([packets.iloc[:3], first, *kept, error], "packets")
    found = tcp.connections(tcp.analysis(packets)).iloc[0]
    names = ["fragments_forward", "fragmented_forward", "reassembled_forward"]
    assert found[names].tolist() == expected
    assert found["reassembly_exceeded_forward"] == 1


def test_a_segment_in_fragments_is_as_long_as_all_of_them():
    packets = conversation(
        HANDSHAKE + "0.1 > A seq=1 ack=1 len=1356 id=77\n0.1 > A seq=1421 ack=1 len=10 id=78"
    )
    first = packets.iloc[[3]].assign(more_fragments=True)  # 20 + 1376 bytes, 1356 of them data
    rest = fragment(first, 1376, 64, more=False, frame=50)
    whole = tcp.analysis(tables.concat([packets.iloc[:3], first, rest, packets.iloc[4:]], "packets"))
    assert not whole["lost_segment"].any()
    in_part = tcp.analysis(tables.concat([packets.iloc[:3], first, packets.iloc[4:]], "packets"))
    assert in_part["lost_segment"].tolist() == [False, False, False, False, True]


def test_of_ipv6_fragments_nobody_knows_which_belong_together():
    packets = conversation(
        HANDSHAKE + "0.1 > A seq=1 ack=1 len=1356", client="2001:db8::1", server="2001:db8::2"
    )
    packets.loc[3, "more_fragments"] = True
    found = tcp.connections(tcp.analysis(packets)).iloc[0]
    assert found[["fragmented_forward", "reassembled_forward"]].isna().all()
    assert found["fragments_forward"] == 0


# --- what a network may do ---------------------------------------------------------------------------------

BURST = [
    "> A seq=1 ack=1 len=100",
    "> A seq=101 ack=1 len=100",
    "> A seq=201 ack=1 len=100",
    "> FA seq=301 ack=1",
]
ANSWER = """
0.10 < PA seq=1 ack=302 len=20
0.11 > A  seq=302 ack=21
0.12 < FA seq=21 ack=302
0.13 > A  seq=302 ack=22
"""
STAYS = {
    **{"handshake": "complete", "syns": 1, "closed_by": "client", "ended_how": "FIN"},
    **{"bytes_sent_forward": 300, "bytes_acknowledged_forward": 300, "bytes_sent_reverse": 20},
    **{"dead_packets_forward": 0, "dead_packets_reverse": 0, "sack_outside": 0},
    **{"zero_window_time_forward": 0.0, "unprompted_client": True, "unprompted_server": False},
}


@settings(max_examples=40, deadline=None)
@given(
    order=st.permutations(range(4)),
    twice=st.lists(st.integers(0, 3), max_size=4),
    isn=st.tuples(st.integers(0, 2**32 - 1), st.integers(2**32 - 300, 2**32 - 1)),
)
def test_reordering_and_duplication_change_no_fact(order, twice, isn):
    burst = [BURST[n] for n in [*order, *twice]]
    lines = [f"{0.06 + n / 10000:.4f} {line}" for n, line in enumerate(burst)]
    found = row("\n".join(lines) + ANSWER, isn=isn)
    assert found[list(STAYS)].to_dict() == STAYS
    assert found["reset_forged"] is pd.NA


LINES = st.builds(
    "{} {} {} seq={} ack={} len={} win={} ttl={} id={}".format,
    st.integers(0, 9),
    st.sampled_from("<>"),
    st.sampled_from(["A", "S", "SA", "FA", "R", "RA", "PA", "F"]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 3000),
    st.integers(0, 65535),
    st.integers(0, 255),
    st.integers(0, 65535),
)


@settings(max_examples=40, deadline=None)
@given(lines=st.lists(LINES, min_size=1, max_size=12))
def test_no_packets_however_odd_are_refused(lines):
    packets = analysed("\n".join(sorted(lines)))
    assert len(tcp.connections(packets)) == 1
    tcp.stalls(packets)
