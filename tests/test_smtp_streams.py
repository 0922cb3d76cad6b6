"""Segments that come late, twice, cut, or not at all; what is hostile; what must not depend on order."""

import random
import tracemalloc
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_smtp import spoken

from smtpkit import smtp, tables
from smtpkit.capture import payload_of
from smtpkit.smtp.stream import MOST_HELD, MOST_HELD_ACKNOWLEDGED, Half, Place

NOWHERE = Place(0, "", 1, 0)
LETTER = (
    b"Message-ID: <1@a.example.org>\r\nReceived: x\r\n\tid 1abcDE-000001-2x\r\n\r\nhello\r\n..dot\r\nbye\r\n"
)
TALK = [
    ("<", b"220-mx.example.net ESMTP\r\n220 ready\r\n"),
    (">", b"EHLO a.example.org\r\n"),
    ("<", b"250-mx.example.net\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 1000\r\n"),
    (
        ">",
        b"MAIL FROM:<a@example.org> SIZE=99\r\n"
        b"RCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n",
    ),
    ("<", b"250 OK\r\n250 OK\r\n550 5.1.1 unknown\r\n354 go ahead\r\n"),
    (">", LETTER + b".\r\n"),
    ("<", b"250 2.0.0 OK id=1xyzZZ-000009-0A\r\n"),
    (
        ">",
        b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 6\r\none\r\n\nBDAT 5 LAST\r\ntwo\r\n",
    ),
    ("<", b"250 OK\r\n250 OK\r\n250 6 octets\r\n451 4.3.0 later\r\n"),
    (">", b"RSET\r\n"),
    ("<", b"250 reset\r\n"),
    (">", b"MAIL FROM:<a@example.org>\r\n"),
    ("<", b"530 5.7.0 STARTTLS first\r\n"),
    (">", b"QUIT\r\n"),
    ("<", b"221 closing\r\n"),
]


def cut_up(talk, size, seconds=0.01):
    """Cut what is said into segments of at most `size` octets."""
    pieces = [(sign, data[i : i + size]) for sign, data in talk for i in range(0, len(data), size)]
    return [(round(0.1 + seconds * n, 3), sign, data) for n, (sign, data) in enumerate(pieces)]


def listen(packets, payload):
    return smtp.listen([(packets, payload)])


def heard(lines):
    packets, payload = spoken(*lines)
    return listen(packets, payload_of(packets, payload))


def test_the_talk_as_it_is_typed():
    found = heard(cut_up(TALK, 1000))
    one, two, three = found.transactions.to_dict("records")
    assert (one["recipients"], one["recipients_accepted"], one["declared_size"]) == (2, 1, 99)
    assert (one["verb"], one["data_size"], one["bytes_sent"], one["bytes_delivered"]) == (
        "DATA",
        *[len(LETTER)] * 3,
    )
    assert (one["message_id"], one["header_message_id"]) == ("1abcDE-000001-2x", "1@a.example.org")
    assert (one["reply_code"], one["enhanced"], one["phase"]) == (250, "2.0.0", "end of data")
    assert (one["end_split"], one["end_acknowledged"]) == (False, True)
    assert one["longest_line"] == len(b"Message-ID: <1@a.example.org>")
    assert (two["verb"], two["data_size"], two["bytes_delivered"], two["reply_code"]) == ("BDAT", 11, 11, 451)
    assert (two["bare_lf"], two["phase"]) == (1, "end of data")
    assert (three["phase"], three["reply_code"], three["enhanced"]) == ("MAIL", 530, "5.7.0")
    assert pd.isna(three["start"])
    (session,) = found.sessions.to_dict("records")
    assert (session["greeting_code"], session["greeting"]) == (220, "mx.example.net ESMTP")
    assert session["greeting_wait"] == pytest.approx(0.07)  # the SYN-ACK is at 0.03
    assert (session["helo"], session["keywords"]) == ("EHLO", "PIPELINING CHUNKING SIZE")
    assert (session["starttls"], session["transactions"], session["quit"]) == ("not offered", 3, True)
    assert (session["phase"], session["answered"], session["last_command"]) == ("QUIT", True, "QUIT")
    assert (session["last_reply_code"], session["last_reply"]) == (221, "closing")
    whole = found.content.to_dict("records")
    assert [(row["transaction"], row["size"]) for row in whole] == [(0, len(LETTER) - 1), (1, 11)]
    assert (whole[0]["dot_lines"], whole[0]["data_size"], whole[0]["mime"]) == (1, len(LETTER), "text/plain")


def test_each_line_has_its_row_and_each_reply_its_command():
    said = heard(cut_up(TALK, 1000)).dialogue
    sent = said[said["direction"] == "forward"]
    assert sent["verb"].tolist() == [
        *("EHLO", "MAIL", "RCPT", "RCPT", "DATA", "end of data"),
        *("MAIL", "RCPT", "BDAT", "BDAT", "RSET", "MAIL", "QUIT"),
    ]
    back = said[said["direction"] == "reverse"]
    assert back["verb"].tolist() == [
        *("banner", "banner", "EHLO", "EHLO", "EHLO", "EHLO", "MAIL", "RCPT", "RCPT", "DATA", "end of data"),
        *("MAIL", "RCPT", "BDAT", "BDAT", "RSET", "MAIL", "QUIT"),
    ]


def same(one, other):
    for name in smtp.Heard._fields:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))


LINES_ONLY = ["verb", "argument", "reply_code", "text", "relative_seq", "length"]


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 200))
def test_how_it_is_cut_into_segments_changes_no_line(size):
    one, other = heard(cut_up(TALK, size)), heard(cut_up(TALK, 1000))
    for lines in zip(
        *(sorted(map(str, h.dialogue[LINES_ONLY].to_numpy().tolist())) for h in (one, other)), strict=True
    ):
        assert lines[0] == lines[1]
    columns = [
        "data_size",
        "longest_line",
        "nul_count",
        "ends_with",
        "reply",
        "message_id",
        "phase",
        "data_seq",
    ]
    pd.testing.assert_frame_equal(one.transactions[columns], other.transactions[columns])


@settings(max_examples=60, deadline=None)
@given(size=st.integers(5, 120), seed=st.integers(0, 2**32), twice=st.floats(0, 0.5))
def test_reordering_and_duplication_change_nothing(size, seed, twice):
    """Packets keep their stamps; a copy comes later than the first one."""
    packets, payload = spoken(*cut_up(TALK, size))
    data, chance = payload_of(packets, payload), random.Random(seed)
    order = [*range(3), *sorted(range(3, len(packets)), key=lambda row: row + chance.uniform(0, 12))]
    copies = [row for row in order for _ in range(1 + (chance.random() < twice))]
    assert len(set(order)) == len(packets)
    mixed = packets.iloc[copies].reset_index(drop=True)
    same(listen(packets, data), listen(mixed, [data[row] for row in copies]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_batches_and_connections_apart(seed):
    packets, payload = spoken(*cut_up(TALK, 40))
    data, chance = payload_of(packets, payload), random.Random(seed)
    other = packets.assign(stream=1, src_port=packets["src_port"].replace({40000: 40001}))
    other["dst_port"] = packets["dst_port"].replace({40000: 40001})
    both = pd.concat([packets, other]).sort_values("time", kind="stable")
    mixed = [data[row] for row in both.index]
    cuts = sorted(chance.sample(range(1, len(both)), 3))
    batches = zip([0, *cuts], [*cuts, len(both)], strict=True)
    together = smtp.listen((both.iloc[a:b].reset_index(drop=True), mixed[a:b]) for a, b in batches)
    apart = [listen(one, data) for one in (packets, other)]
    for name in smtp.Heard._fields:
        rows = tables.concat([getattr(one, name) for one in apart], name)
        pd.testing.assert_frame_equal(getattr(together, name), rows, check_categorical=False)


def acknowledged(lines, chance):
    """Add bare acknowledgments, of every second packet or so, and some that are of no use."""
    for time, sign, data in lines:
        yield time, sign, data
        other = "<" if sign == ">" else ">"
        for by in chance.choice([[], [], [other], [other, sign]]):
            yield round(time + 0.001, 3), by, b""


def disturbed(rows, chance):
    """Let some packets get lost, some come twice, and some late; the capture may end early."""
    copies = [row for row in rows for _ in range(chance.choices([0, 1, 2], [1, 40, 3])[0])]
    late = sorted(copies, key=lambda row: row + chance.uniform(0, 30) * (chance.random() < 0.05))
    return late[: chance.choice([None, len(late) // 2])]


@settings(max_examples=10, deadline=None)
@given(size=st.integers(200, 1460), seed=st.integers(0, 2**32), in_order=st.booleans())
def test_what_is_sent_in_one_go_is_heard_like_single_packets(size, seed, in_order):
    chance = random.Random(seed)
    odd = [b"--x", b"..", b"", b"\0", b"a" * 999, b"\xe4\xe4", b"x\ry", b"x\ny", b"bbb" * 9, b"the end."]
    lines = [*LETTER.split(b"\r\n")[:-1], *chance.choices([b"A line of text.", *odd], k=250)]
    letter = b"".join(b".." * line.startswith(b".") + line + b"\r\n" for line in lines)
    talk = [(sign, data.replace(LETTER, letter)) for sign, data in TALK]
    packets, payload = spoken(*acknowledged(cut_up(talk, size), chance))
    data = payload_of(packets, payload)
    rows = range(len(packets)) if in_order else disturbed(range(len(packets)), chance)
    packets, data = packets.iloc[rows].reset_index(drop=True), [data[row] for row in rows]
    data = [one.swapcase() if chance.random() < 0.1 else one for one in data]  # so that copies may differ
    single = ((packets.iloc[[n]].reset_index(drop=True), data[n : n + 1]) for n in range(len(packets)))
    same(listen(packets, data), smtp.listen(single))


# --- gaps -----------------------------------------------------------------------------------------------


def without(lines, *missing):
    """What is heard when some of the packets are not captured."""
    packets, payload = spoken(*lines)
    data = payload_of(packets, payload)
    rows = [row for row in range(len(packets)) if row - 3 not in missing]
    return listen(packets.iloc[rows].reset_index(drop=True), [data[row] for row in rows])


def test_a_gap_in_the_data_is_never_joined_over():
    lines = cut_up(TALK, 40)
    inside = next(n for n, (_, _, data) in enumerate(lines) if b"hello" in data)
    one = without(lines, inside).transactions.iloc[0]
    assert (one["data_size"], one["data_seen"]) == (len(LETTER), len(LETTER) - len(lines[inside][2]))
    assert without(lines, inside).content["transaction"].tolist() == [1]
    assert without(lines, inside).sessions["gaps_forward"].all()


@pytest.mark.parametrize("kept", [60, 90])
def test_with_a_snap_length_sessions_are_still_told_apart(kept):
    packets, payload = spoken(*cut_up(TALK, 1000))
    data = [one[:kept] for one in payload_of(packets, payload)]
    found = listen(packets, data)
    assert found.transactions["reply_code"].iloc[0] == 250
    assert found.transactions["reply"].iloc[0] == "2.0.0 OK id=1xyzZZ-000009-0A"[: max(kept - 4, 0)]
    assert found.transactions["bytes_delivered"].iloc[0] >= len(LETTER)
    assert found.sessions["quit"].all()


def test_one_side_only():
    packets, payload = spoken(*cut_up(TALK, 1000))
    rows = [row for row, end in enumerate(packets["dst_port"]) if end == 25]
    data = payload_of(packets, payload)
    found = listen(packets.iloc[rows].reset_index(drop=True), [data[row] for row in rows])
    assert found.transactions["data_size"].tolist()[:2] == [len(LETTER), 11]
    assert found.transactions["recipients_accepted"].isna().all()
    assert found.transactions["reply_code"].isna().all()
    assert found.sessions["answered"].isna().all()


def test_the_final_dot_over_two_segments():
    lines = [
        *cut_up(TALK[:5], 1000),
        (1.0, ">", LETTER + b"."),
        (1.1, ">", b"\r\n"),
        (2.5, "<", b"250 OK\r\n"),
    ]
    one = heard(lines).transactions.iloc[0]
    assert one["end_split"]
    assert one["data_size"] == len(LETTER)
    assert one["reply_wait"] == pytest.approx(1.4)


# --- what is said -----------------------------------------------------------------------------------------


def session(*lines):
    return heard([(0.1 * n, *line) for n, line in enumerate(lines, 1)]).sessions.iloc[0]


GREETED = (("<", b"220 mx ESMTP\r\n"), (">", b"EHLO a\r\n"), ("<", b"250-mx\r\n250 STARTTLS\r\n"))


@pytest.mark.parametrize(
    ("lines", "phase", "answered"),
    [
        ((), "banner", None),
        (GREETED[:1], "banner", None),
        (GREETED[:2], "EHLO", False),
        (GREETED, "EHLO", True),
        ((*GREETED, (">", b"MAIL FROM:<>\r\n")), "MAIL", False),
        ((*GREETED, (">", b"MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n")), "MAIL", False),
        ((*GREETED, (">", b"MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n"), ("<", b"250 a\r\n")), "RCPT", False),
        ((*GREETED, (">", b"DATA\r\n"), ("<", b"354 go\r\n"), (">", b"x")), "sending data block", True),
        ((*GREETED, (">", b"DATA\r\n"), ("<", b"354 go\r\n"), (">", b"x\r\n.\r\n")), "end of data", False),
        ((*GREETED, (">", b"BDAT 5 LAST\r\nx\r\n")), "sending data block", False),
        ((*GREETED, (">", b"BDAT 3 LAST\r\nx\r\n")), "end of data", False),
        ((*GREETED, (">", b"STARTTLS\r\n")), "STARTTLS", False),
        ((*GREETED, (">", b"STARTTLS\r\n"), ("<", b"220 go\r\n"), (">", b"\x16\3\1\2\0\1")), "TLS", None),
        ((*GREETED, (">", b"QUIT\r\n")), "QUIT", False),
    ],
)
def test_where_it_ended(lines, phase, answered):
    found = session(*lines)
    assert found["phase"] == phase
    assert found["answered"] == answered if answered is not None else pd.isna(found["answered"])


@pytest.mark.parametrize(
    "lines",
    [
        [(">", b"AUTH PLAIN c2VjcmV0\r\n")],
        [(">", b"AUTH c2VjcmV0\r\n")],
        [(">", b"AUTH LOGIN\r\n"), ("<", b"334 VXNlcm5hbWU6\r\n"), (">", b"c2VjcmV0\r\n")],
        [(">", b"AUTH LOGIN\r\n"), (">", b"c2VjcmV0\r\n")],  # the challenge was not captured
        [("<", b"334 c2VjcmV0\r\n"), (">", b"c2VjcmV0 c2VjcmV0\r\n")],
        [(">", b"XAUTH c2VjcmV0\r\n")],
        [(">", b"PASS c2VjcmV0\r\n")],
    ],
)
def test_no_secret_stands_in_any_table(lines):
    found = heard([(0.1 * n, *line) for n, line in enumerate([*GREETED, *lines], 1)])
    assert not any("c2VjcmV0" in str(getattr(found, name).to_dict()) for name in smtp.Heard._fields)


@pytest.mark.parametrize(
    ("lines", "masked"),
    [
        (GREETED, False),
        ((("<", b"220 ****************\r\n"),), True),
        ((*GREETED[:1], (">", b"XXXX a\r\n"), ("<", b"500 what\r\n")), True),
        ((*GREETED[:2], ("<", b"250-mx\r\n250-XXXXXXXA\r\n250 SIZE\r\n")), True),
    ],
)
def test_esmtp_inspection(lines, masked):
    assert session(*lines)["masked"] == masked


CLIENT_HELLO = b"\x16\3\1" + (200).to_bytes(2) + b"\1" + bytes(199)
SERVER_FLIGHT = (
    b"\x16\3\3" + (90).to_bytes(2) + b"\2" + bytes(89) + b"\x17\3\3" + (3000).to_bytes(2) + bytes(3000)
)
STARTED = (*GREETED, (">", b"STARTTLS\r\n"), ("<", b"220 go\r\n"), (">", CLIENT_HELLO))


@pytest.mark.parametrize(
    ("lines", "tls", "alert"),
    [
        ((), "client hello", None),
        ((("<", SERVER_FLIGHT[:50]),), "server hello", None),
        ((("<", SERVER_FLIGHT), (">", b"\x17\3\3\0\5hello")), "established", None),
        ((("<", b"\x15\3\3\0\2\2\x28"),), "alert", (40, "server")),
        ((("<", SERVER_FLIGHT), (">", b"\x15\3\3\0\2\2\x2a")), "alert", (42, "client")),
    ],
)
def test_tls_in_clear(lines, tls, alert):
    found = session(*STARTED, *lines)
    assert (found["starttls"], found["tls"], found["client_hello_size"]) == ("accepted", tls, 205)
    assert pd.isna(found["transactions"])
    assert (found["tls_alert"], found["tls_alert_by"]) == alert if alert else pd.isna(found["tls_alert"])
    if len(lines) == 2:
        assert found["server_flight_size"] == len(SERVER_FLIGHT)


# --- hostile input ----------------------------------------------------------------------------------------


def test_copies_that_differ_are_flagged():
    half = Half()
    half.relative(0, syn=True)
    assert [piece.data for piece in half.take(1, b"abc", 3, NOWHERE)] == [b"abc"]
    half.take(1, b"abc", 3, NOWHERE)
    assert not half.conflict
    assert [piece.data for piece in half.take(2, b"bXd", 3, NOWHERE)] == [b"d"]
    assert half.conflict


def test_what_differs_after_its_acknowledgment_harms_nobody():
    half = Half()
    half.relative(0, syn=True)
    half.take(1, b"abc", 3, NOWHERE)
    half.acknowledge(4, 1)
    half.take(1, b"xyz", 3, NOWHERE)
    assert not half.conflict


@given(
    data=st.binary(min_size=1, max_size=60),
    cuts=st.lists(st.tuples(st.integers(0, 59), st.integers(1, 30)), max_size=40),
    seed=st.integers(0, 99),
    isn=st.sampled_from([0, 2**32 - 20, 2**31]),
)
def test_a_stream_of_any_pieces_is_a_part_of_what_was_sent(data, cuts, seed, isn):
    half, got = Half(), {}
    half.relative(isn, syn=True)
    segments = [(start, data[start : start + size]) for start, size in cuts if start < len(data)]
    random.Random(seed).shuffle(segments)
    pieces = []
    for start, part in segments:
        pieces += half.take(half.relative((isn + 1 + start) % 2**32), part, len(part), NOWHERE)
    pieces += half.close()
    for before, after in pairwise(pieces):
        assert before.end == after.start
    for piece in pieces:
        got |= dict(enumerate(piece.data, piece.start))
    covered = {1 + start + i for start, part in segments for i in range(len(part))}
    assert got == {n: data[n - 1] for n in covered}
    assert not half.conflict


@pytest.mark.parametrize(("ack", "most"), [(1, MOST_HELD), (2**20, MOST_HELD_ACKNOWLEDGED)])
def test_what_waits_for_a_hole_is_bounded(ack, most):
    half = Half()
    half.relative(0, syn=True)
    half.acknowledge(ack, 0)
    start, given_ = 11, []
    while not given_:
        given_ = half.take(start, bytes(1400), 1400, NOWHERE)
        start += 1400
    assert most < start < most + 3000
    assert not given_[0].data  # the hole


def many(data, size=1400):
    return [
        *cut_up(TALK[:2], 1000),
        *((1 + n / 1e4, ">", data[i : i + size]) for n, i in enumerate(range(0, len(data), size))),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 3_000_000,  # a command of megabytes
        b"\r\n" * 100_000,
        b"NOOP\r\n" * 50_000,
        b"MAIL FROM:<>\r\n" * 30_000,
        b"BDAT 99999999999999999999\r\n" * 1000,
        b"BDAT 0\r\n" * 20_000,
        b"DATA\r\n" + b".\r\n" * 50_000,
        b"AUTH LOGIN\r\n" * 10_000,
        b"\x16\3\1\0\0" * 100_000,
    ],
    ids=["line", "empty", "noop", "mail", "huge chunk", "no chunk", "dots", "auth", "records"],
)
def test_floods_of_the_client(data):
    found = heard(many(data))
    assert len(found.dialogue) <= 20_000
    assert len(found.transactions) <= 10_000


@pytest.mark.parametrize(
    "line", [b"250-more\r\n", b"250 OK\r\n", b"250", b"\0"], ids=["endless", "unasked", "line", "nul"]
)
def test_floods_of_the_server(line):
    data = line * 60_000
    talk = [(0.1 + i / 1e6, "<", data[i : i + 1400]) for i in range(0, len(data), 1400)]
    assert len(heard(talk).dialogue) <= 20_000


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("<>"),
            st.one_of(
                st.binary(min_size=1, max_size=50),
                st.sampled_from([data for _, data in TALK]),
                st.sampled_from(
                    [
                        b"354 \r\n",
                        b"BDAT 3\r\n",
                        b"DATA\r\n",
                        b"AUTH LOGIN\r\n",
                        b"334 \r\n",
                        CLIENT_HELLO,
                        b"\r\n.\r\n",
                    ]
                ),
            ),
            st.integers(0, 60),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_no_talk_is_an_error(talk):
    packets, payload = spoken(*((0.1 + n / 10, sign, data) for n, (sign, data, _, _) in enumerate(talk)))
    data = payload_of(packets, payload)
    cut = [one[: limit[2]] for one, limit in zip(data, [(0, 0, 0)] * 3 + talk, strict=True)]
    kept = [row for row in range(len(packets)) if row < 3 or talk[row - 3][3]]
    listen(packets.iloc[kept].reset_index(drop=True), [cut[row] for row in kept])


def test_memory_does_not_grow_with_the_message():
    line = b"QUJD" * 18 + b"\r\n"
    segment = line * 200
    lines = [*cut_up(TALK[:4], 1000), (0.5, "<", b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n")]
    first, payload = spoken(*lines, *((1 + n / 1e5, ">", segment) for n in range(600)))
    data = payload_of(first, payload)
    streams = smtp.Streams()
    streams.feed(first.iloc[:20].reset_index(drop=True), data[:20])
    tracemalloc.start()
    for start in range(20, len(first), 50):
        streams.feed(first.iloc[start : start + 50].reset_index(drop=True), data[start : start + 50])
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert streams.close().transactions["data_seen"].iloc[0] == 600 * len(segment)
    assert grown < 1 << 20


def test_another_protocol_on_port_25_and_smtp_on_another_port():
    web = session((">", b"GET / HTTP/1.1\r\n\r\n"), ("<", b"HTTP/1.1 200 OK\r\n\r\n"))
    assert web["is_smtp"] == False  # noqa: E712
    packets, payload = spoken(*cut_up(TALK, 1000))
    moved = packets.assign(src_port=packets["src_port"].replace({25: 2626}))
    moved["dst_port"] = packets["dst_port"].replace({25: 2626})
    found = listen(moved, payload_of(packets, payload))
    assert found.sessions["is_smtp"].tolist() == [True]
    quiet = spoken((0.1, "<", b"220 ftp\r\n"), (0.2, ">", b"USER a\r\n"))
    moved = quiet[0].assign(src_port=quiet[0]["src_port"].replace({25: 2121}))
    moved["dst_port"] = quiet[0]["dst_port"].replace({25: 2121})
    assert all(frame.empty for frame in listen(moved, payload_of(*quiet)))


def test_a_syn_without_answer():
    packets, payload = spoken()
    found = listen(packets.iloc[:1], payload_of(packets, payload)[:1])
    assert found.sessions["phase"].tolist() == ["connect"]
    assert found.sessions["is_smtp"].isna().all()


@pytest.mark.parametrize("size", [1000, 7])
def test_messages_are_read_again_as_they_were_sent(size):
    packets, payload = spoken(*cut_up(TALK, size))
    data = payload_of(packets, payload)
    wanted = listen(packets, payload_of(packets, payload)).transactions
    expected = {(0, 0, 0): LETTER, (0, 0, 1): b"one\r\n\nBDAT 5 LAST\r\ntwo\r\n"[:11]}
    found = smtp.texts([(packets, data)], wanted)
    assert found == expected
    half = len(packets) // 2
    batches = [(packets[:half], data[:half]), (packets[half:], data[half:])]
    assert smtp.texts(batches, wanted[wanted["transaction"] == 0]) == {(0, 0, 0): LETTER}


def test_a_message_with_a_hole_is_not_read_again():
    packets, payload = spoken(*cut_up(TALK, 40))
    data = payload_of(packets, payload)
    wanted = listen(packets, data).transactions
    hole = next(n for n, octets in enumerate(data) if b"hello" in octets)
    kept = [n for n in range(len(data)) if n != hole]
    assert (0, 0, 0) not in smtp.texts([(packets.iloc[kept], [data[n] for n in kept])], wanted)
