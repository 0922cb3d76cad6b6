"""The figures, by asking their artists for what they show."""

import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.cbook import is_math_text

from smtpkit import plot, tables

START = pd.Timestamp("2026-03-01 12:00:00", tz="UTC")
CLIENT, SERVER = ("192.0.2.10", 40112), ("203.0.113.25", 25)
FIN, RST, ACK = 1, 4, 16
HEADERS = {
    **{
        "capture": 0,
        "file": "capture.pcap",
        "frame": 1,
        "frame_len": 66,
        "captured_len": 66,
        "ip_version": 4,
    },
    **{
        "ip_protocol": 6,
        "ip_len": 52,
        "ttl": 64,
        "fragment_offset": 0,
        "more_fragments": False,
        "outer_len": 0,
        "checksum_offload": False,
    },
}


@pytest.fixture(autouse=True)
def _figures():
    mpl.use("Agg")
    yield
    plt.close("all")


def packets(*rows):
    """Packets of one connection: (seconds, direction, seq, ack, length, columns)."""
    full = []
    for seconds, direction, seq, ack, length, columns in rows:
        src, dst = (CLIENT, SERVER) if direction == "forward" else (SERVER, CLIENT)
        ends = {"src": src[0], "src_port": src[1], "dst": dst[0], "dst_port": dst[1], "direction": direction}
        numbers = {"relative_seq": seq, "relative_ack": ack, "tcp_len": length, "flags": ACK}
        full.append(HEADERS | {"time": START + pd.Timedelta(seconds=seconds)} | ends | numbers | columns)
    flags = {column.name: False for column in tables.TABLES["analysis"] if column.dtype == "bool"}
    rows = [flags | row for row in full]
    return pd.concat([tables.from_rows(rows, "packets"), tables.from_rows(rows, "analysis")], axis="columns")


def stalls(**columns):
    known = {"capture": 0, "stream": 0, "direction": "forward", "start": START + pd.Timedelta(seconds=1)}
    known |= {"seq": 5000, "relative_seq": 101, "duration": 600.0, "outstanding": 2896, "repeats": 2}
    return tables.from_rows([known | {"repeat_ip_len": 1500} | columns], "stalls")


AGAIN = {"retransmission": True}
STUCK = packets(
    (0.95, "forward", 101 - 40, 300, 40, {}),
    (0.98, "reverse", 300, 101, 37, {}),
    (1.0, "forward", 101, 337, 1448, {}),
    (1.0, "forward", 1549, 337, 1448, {}),
    (1.03, "reverse", 337, 101, 0, {"sack": "6448-7896"}),
    (1.4, "forward", 101, 337, 1448, AGAIN),
    (2.2, "forward", 101, 337, 1448, AGAIN),
    (301.0, "reverse", 337, 101, 0, {"flags": ACK | FIN}),
    (700.0, "forward", 2997, 338, 0, {"flags": RST}),
)


def points(ax, label):
    """Return the points of the marks with this label."""
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return [(round(float(x), 3), float(y)) for x, y in line.get_xydata()]


def bars(ax, label):
    """Return (x, from, to) of the upright bars with this label."""
    (line,) = [line for line in ax.lines if line.get_label() == label]
    ends = line.get_xydata().reshape(-1, 3, 2)
    assert np.isnan(ends[:, 2, 1]).all()
    return [(round(float(x), 3), float(low), float(high)) for (x, low), (_, high), _ in ends]


def spans(ax):
    """Return the extents of the shaded parts by label: left, right, bottom, top."""
    return {
        patch.get_label(): patch.get_extents().transformed(ax.transData.inverted()) for patch in ax.patches
    }


def labels(ax):
    return {text.get_text() for text in ax.get_legend().get_texts()}


def test_data_stand_from_their_first_to_their_last_byte():
    ax = plot.time_sequence(STUCK, stalls())
    assert bars(ax, "client: data, first time") == [
        *[(-0.05, 61, 101), (0, 101, 1549), (0, 1549, 2997)],
    ]


def test_repeats_are_marked_apart():
    ax = plot.time_sequence(STUCK, stalls())
    assert points(ax, "client: data, sent again") == [(0.4, 101), (1.2, 101)]
    assert bars(ax, "_client: data, sent again") == [(0.4, 101, 1549), (1.2, 101, 1549)]


@pytest.mark.parametrize("flag", ["retransmission", "fast_retransmission", "spurious_retransmission"])
def test_all_kinds_of_retransmission_are_repeats(flag):
    ax = plot.time_sequence(packets((1.5, "forward", 101, 1, 10, {flag: True})), stalls())
    assert points(ax, "client: data, sent again") == [(0.5, 101)]


def test_the_line_of_acknowledgments_lies_flat_until_the_end():
    ax = plot.time_sequence(STUCK, stalls())
    line = points(ax, "server: acknowledged up to here")
    assert [y for _, y in line] == [101] * 4
    assert line[-1][0] == round(ax.get_xlim()[1], 3)


def test_sack_is_drawn_in_bytes_of_the_stream():
    # 6448 is 1448 past the first unacknowledged byte, 5000 in the header and 101 in the stream.
    assert points(plot.time_sequence(STUCK, stalls()), "server: SACK, got this part") == [(0.03, 1549)]


def test_sack_goes_on_past_the_end_of_the_sequence_numbers():
    sack = packets((1.1, "reverse", 1, 101, 0, {"sack": "4294967290-4 500-600"}))
    ax = plot.time_sequence(sack, stalls(seq=2**32 - 106))
    assert points(ax, "server: SACK, got this part") == [(0.1, 201), (0.1, 707)]
    assert bars(ax, "_server: SACK") == [(0.1, 201, 211), (0.1, 707, 807)]


def test_closing_and_icmp_are_marked():
    ax = plot.time_sequence(
        pd.concat([STUCK, packets((1.01, "reverse", pd.NA, pd.NA, pd.NA, {"icmp_type": 3, "flags": pd.NA}))]),
        stalls(),
    )
    assert points(ax, "server: FIN") == [(300, 101)]
    assert points(ax, "client: RST") == [(699, 2997)]
    assert [x for x, _ in points(ax, "ICMP error")] == [0.01]


def test_a_reset_that_acknowledges_nothing_is_marked_too():
    ax = plot.time_sequence(packets((2.0, "reverse", 1, pd.NA, 0, {"flags": RST})), stalls())
    assert points(ax, "server: RST") == [(1, 101)]


def test_icmp_stands_inside_the_picture_far_down_the_stream():
    error = packets((1.5, "reverse", pd.NA, pd.NA, pd.NA, {"icmp_type": 3}))
    ax = plot.time_sequence(error, stalls(relative_seq=2_000_000_000))
    bottom, top = ax.get_ylim()
    assert bottom < points(ax, "ICMP error")[0][1] < top


def test_the_picture_is_about_the_stall():
    ax = plot.time_sequence(STUCK, stalls())
    bottom, top = ax.get_ylim()
    assert bottom < 101
    assert 2997 < top < 4000
    assert ax.get_xlim()[0] < 0 < 600 < ax.get_xlim()[1]
    stall = spans(ax)["stall of 600 s"]
    assert (stall.x0, stall.x1) == (pytest.approx(0, abs=1e-9), pytest.approx(600))


def test_what_never_came_to_the_capture_is_hatched():
    ax = plot.time_sequence(STUCK, stalls(gap=1448, missing=True, repeats=0, repeat_ip_len=pd.NA))
    hole = spans(ax)["never came here"]
    assert (hole.y0, hole.y1) == (pytest.approx(101), pytest.approx(1549))
    assert ax.get_label().endswith("; 1,448 bytes never came to where the capture was taken.")


def test_a_stall_of_the_server_names_the_server_as_sender():
    ax = plot.time_sequence(packets((1.0, "reverse", 101, 1, 1448, {})), stalls(direction="reverse"))
    assert "server: data, first time" in labels(ax)
    assert ax.get_title(loc="left") == "203.0.113.25:25 → 192.0.2.10:40112"


def test_the_stall_is_told_in_words():
    assert plot.time_sequence(STUCK, stalls()).get_label() == (
        "Time-sequence diagram of 192.0.2.10:40112 to 203.0.113.25:25: for 600 s nothing from byte 101 on "
        "was acknowledged, though it was sent again 2 times in IP packets of 1500 bytes."
    )


def test_the_longest_stall_is_drawn():
    both = tables.concat([stalls(duration=3.0), stalls(duration=20.0)], "stalls")
    assert "for 20 s" in plot.time_sequence(STUCK, both).get_label()


SIZES = tables.from_rows(
    [
        {"ip_len": 52, "offload": False, "delivered": 40, "lost": 0},
        {"ip_len": 1400, "offload": False, "delivered": 2, "lost": 0},
        {"ip_len": 1400, "offload": False, "delivered": 1, "lost": 0},
        {"ip_len": 1500, "offload": False, "delivered": 0, "lost": 9},
        {"ip_len": 8244, "offload": True, "delivered": 3, "lost": 1},
        {"ip_len": 700, "offload": False, "delivered": 0, "lost": 0},
    ],
    "sizes",
)
PATH = tables.from_rows(
    [{"delivered": 1400, "lost": 1500, "full_size": 1500, "next_hop_mtu": 1420}], "path_mtu"
)


def test_sizes_add_up_and_leave_offload_out():
    ax = plot.packet_sizes(SIZES, PATH)
    assert points(ax, "delivered") == [(52, 40), (1400, 3)]
    assert points(ax, "lost") == [(1500, -9)]


def test_the_bracket_and_the_limits_are_drawn():
    ax = plot.packet_sizes(SIZES, PATH)
    bracket = spans(ax)["path MTU: at least 1400, below 1500"]
    assert (bracket.x0, bracket.x1) == (pytest.approx(1400), pytest.approx(1500))
    upright = {line.get_label(): line.get_xdata()[0] for line in ax.lines}
    assert upright["full size by MSS: 1500"] == 1500
    assert upright["MTU by ICMP: 1420"] == 1420


def test_without_a_bracket_nothing_is_shaded():
    ax = plot.packet_sizes(SIZES, tables.empty("path_mtu"))
    assert spans(ax) == {}
    assert ax.get_label() == (
        "Data packets by the length of the IP packet: delivered up to 1400 bytes, "
        "lost from 1500 to 1500 bytes."
    )


def tried(peer, outcome, *sizes):
    return [{"peer": peer, "outcome": outcome, "size": size} for size in sizes]


ATTEMPTS = tables.from_rows(
    [
        *tried("198.51.100.7", "delivered", 600, 90_000),
        *tried("203.0.113.25", "delivered", 700),
        *tried("203.0.113.25", "deferred", 5000, 5000, pd.NA),
        *tried("203.0.113.25", "failed", 5000),
    ],
    "attempts",
)


def test_attempts_stand_in_the_row_of_their_server_worst_first():
    ax = plot.attempts_by_size(ATTEMPTS)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["203.0.113.25", "198.51.100.7"]
    assert points(ax, "delivered (3)") == [(600, 1), (90_000, 1), (700, 0)]
    assert [x for x, _ in points(ax, "deferred (2)")] == [5000, 5000]
    assert points(ax, "failed (1)")[0][0] == 5000


def test_attempts_of_one_size_do_not_hide_each_other():
    ax = plot.attempts_by_size(tables.from_rows(tried("192.0.2.1", "failed", *[900] * 50), "attempts"))
    heights = [y for _, y in points(ax, "failed (50)")]
    assert len(set(heights)) == 50
    assert np.abs(heights).max() < 0.5


def test_the_threshold_is_shaded():
    shaded = spans(plot.attempts_by_size(ATTEMPTS, threshold=(700, 5000)))["between passed and failed"]
    assert (shaded.x0, shaded.x1) == (pytest.approx(700), pytest.approx(5000))


def test_of_many_servers_those_that_fail_are_drawn():
    rows = [row for n in range(30) for row in tried(f"192.0.2.{n}", "delivered", 500)]
    ax = plot.attempts_by_size(tables.from_rows([*rows, *tried("192.0.2.29", "failed", 600)], "attempts"))
    assert len(ax.get_yticklabels()) == 20
    assert ax.get_yticklabels()[0].get_text() == "192.0.2.29"
    assert ax.get_label().endswith("10 more servers are not drawn.")


def test_text_of_others_is_no_math_and_no_control():
    ax = plot.attempts_by_size(tables.from_rows(tried("$\\frac{1}{0}$\x1b\u202e", "failed", 600), "attempts"))
    (label,) = [text.get_text() for text in ax.get_yticklabels()]
    assert not is_math_text(label)
    assert label == r"\$\frac{1}{0}\$\x1b\u202e"
    assert plot.png(ax).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("ax", "words"),
    [
        (lambda: plot.time_sequence(STUCK.iloc[:0], tables.empty("stalls")), "No capture shows a connection"),
        (lambda: plot.packet_sizes(tables.empty("sizes"), tables.empty("path_mtu")), "No capture shows what"),
        (lambda: plot.attempts_by_size(tables.empty("attempts")), "No log tells the sizes"),
        (lambda: plot.loss_by_size(tables.empty("loss_rates")), "No data packet is known to be lost"),
        (lambda: plot.stall_overview(tables.empty("stalls"), tables.empty("connections")), "No connection"),
        (
            lambda: plot.timeline(*map(tables.empty, ("attempts", "connections", "stalls", "captures"))),
            "Neither a log nor a capture",
        ),
        (
            lambda: plot.smtp_ladder(*map(tables.empty, ("dialogue", "transactions", "connections"))),
            "No capture shows an SMTP session",
        ),
        (lambda: plot.failure_by_feature(EXPLAINED.iloc[:0]), "No feature is known"),
        (lambda: plot.hexdump(b""), "No payload is shown"),
    ],
)
def test_where_there_is_nothing_to_draw_it_says_so(ax, words):
    drawn = ax()
    assert not drawn.has_data()
    assert drawn.get_label().startswith(words)


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plot.time_sequence(STUCK, stalls(), ax=ax),
        lambda ax: plot.packet_sizes(SIZES, PATH, ax=ax),
        lambda ax: plot.attempts_by_size(ATTEMPTS, ax=ax),
        lambda ax: plot.loss_by_size(RATES, ax=ax),
        lambda ax: plot.stall_overview(stalls(), tables.empty("connections"), ax=ax),
        lambda ax: plot.failure_by_feature(EXPLAINED, ax=ax),
        lambda ax: plot.hexdump(b"abc", ax=ax),
    ],
)
def test_a_figure_goes_where_it_is_told(draw):
    ax = plt.subplots()[1]
    assert draw(ax) is ax
    assert plt.get_fignums() == [1]


def test_a_png_closes_its_figure_and_names_no_program():
    image = plot.png(plot.packet_sizes(SIZES, PATH))
    assert plt.get_fignums() == []
    assert b"tEXt" not in image
    assert b"matplotlib" not in image.lower()


def said(*rows):
    """Dialogue of one connection: (seconds, direction, verb, reply code)."""
    names = ("time", "direction", "verb", "reply_code")
    full = [
        dict(zip(names, (START + pd.Timedelta(seconds=seconds), *rest), strict=True))
        for seconds, *rest in rows
    ]
    return tables.from_rows([{"file": "capture.pcap", "frame": 1} | row for row in full], "dialogue")


# Commands pipelined (RFC 2920); the final dot has no answer. The stall begins one second after START.
DIALOGUE = said(
    (0.0, "reverse", "banner", 220),
    (0.91, "forward", "EHLO", pd.NA),
    (0.92, "reverse", "EHLO", 250),
    (0.92, "reverse", "EHLO", 250),
    (0.93, "forward", "MAIL", pd.NA),
    (0.93, "forward", "RCPT", pd.NA),
    (0.93, "forward", "RCPT", pd.NA),
    (0.93, "forward", "DATA", pd.NA),
    (0.95, "reverse", "MAIL", 250),
    (0.97, "reverse", "RCPT", 250),
    (0.97, "reverse", "RCPT", 550),
    (0.99, "reverse", "DATA", 354),
    (1.2, "forward", "end of data", pd.NA),
    (1.2, "forward", "QUIT", pd.NA),
)


def test_the_phases_are_the_oldest_commands_without_an_answer():
    ax = plot.time_sequence(STUCK, stalls(), dialogue=DIALOGUE)
    strips = [patch for patch in ax.patches if patch.get_y() == 1.01]
    begins = [round(float(strip.get_x()), 3) for strip in strips]
    # EHLO, MAIL at once after it, RCPT, DATA, then the final dot, which QUIT cannot overtake
    assert begins == [-0.09, -0.07, -0.05, -0.03, 0.2]
    assert [text.get_text() for text in ax.texts][-1] == "end of data"


def test_the_window_is_drawn_where_both_syns_tell_its_scale():
    syns = [(0.1, "forward", 0, 0, 0, {"flags": 2}), (0.2, "reverse", 0, 1, 0, {"flags": 18})]
    scaled = packets(*((*syn[:5], syn[5] | {"window_scale": 2}) for syn in syns))
    ack = packets((1.1, "reverse", 1, 101, 0, {"window": 500}))
    ax = plot.time_sequence(pd.concat([scaled, ack]), stalls())
    assert points(ax, "server: its window ends here")[0] == (0.1, 101 + 4 * 500)
    ax = plot.time_sequence(pd.concat([packets(*syns), ack]), stalls())
    assert points(ax, "server: its window ends here")[0] == (0.1, 601)
    assert "server: its window ends here" not in labels(plot.time_sequence(ack, stalls()))


def test_a_window_out_of_sight_is_not_in_the_legend():
    syns = packets((0.1, "forward", 0, 0, 0, {"flags": 2}), (0.2, "reverse", 0, 1, 0, {"flags": 18}))
    wide = packets((1.1, "reverse", 1, 101, 0, {"window": 65535}))
    assert "server: its window ends here" not in labels(plot.time_sequence(pd.concat([syns, wide]), stalls()))


def test_sizes_that_passed_all_the_same_are_no_bracket():
    ax = plot.packet_sizes(SIZES, PATH.assign(delivered_above=3))
    assert spans(ax) == {}


RATES = tables.from_rows(
    [
        {"low": 1501, "sent": 4, "lost": 1, "rate": 0.25, "rate_low": 0.01, "rate_high": 0.8},
        {"low": 0, "high": 576, "sent": 9, "lost": 0, "rate": 0.0, "rate_low": 0.0, "rate_high": 0.34},
        {"low": 1500, "high": 1500, "sent": 8, "lost": 8, "rate": 1.0, "rate_low": 0.63, "rate_high": 1.0},
    ],
    "loss_rates",
)


def test_rates_of_loss_stand_by_size_with_their_intervals():
    ax = plot.loss_by_size(RATES)
    names = [text.get_text() for text in ax.get_xticklabels()]
    assert names == ["0–576\n0 of 9", "1500\n8 of 8", "above 1500\n1 of 4"]
    ((rates, _, (intervals,)),) = ax.containers
    assert rates.get_ydata().tolist() == [0, 1, 0.25]
    ends = [sorted(round(float(y), 6) for _, y in bar) for bar in intervals.get_segments()]
    assert ends == [[0, 0.34], [0.63, 1], [0.01, 0.8]]


def test_rates_of_loss_in_words():
    assert plot.loss_by_size(RATES).get_label() == (
        "Data packets lost, by the length of the IP packet, with 95% intervals: "
        "of 0–576 bytes 0 of 9 (0.0%, interval 0.0% to 34.0%); "
        "of 1500 bytes 8 of 8 (100.0%, interval 63.0% to 100.0%); "
        "of above 1500 bytes 1 of 4 (25.0%, interval 1.0% to 80.0%)."
    )


def test_stalls_that_went_on_are_told_from_those_that_never_did():
    both = tables.concat(
        [
            stalls(duration=2.0, ended_by="acknowledgment", relative_seq=1),
            stalls(duration=600.0, ended_by="RST", relative_seq=5001),
            stalls(duration=90.0, ended_by="silence", relative_seq=301, direction="reverse", stream=1),
        ],
        "stalls",
    )
    ax = plot.stall_overview(both, tables.from_rows([{}] * 7, "connections"))
    assert points(ax, "client's data: went on (1)") == [(0, 2)]
    assert points(ax, "client's data: never went on (1)") == [(5000, 600)]
    assert points(ax, "server's data: never went on (1)") == [(300, 90)]
    assert ax.get_label() == (
        "Stalls of 2 of 7 connections: 1 went on, 2 never did; the longest took 600 s, "
        "half of them 90 s or more."
    )


EXPLAINED = pd.DataFrame(
    {
        "feature": ["binary zeros", "octets of data"],
        "low": [0, 800],
        "high": [1, 900],
        "failed_above": [3, 2],
        "failed_below": [0, 1],
        "passed_above": [0, 2],
        "passed_below": [6, 4],
    }
)


def test_features_show_the_share_that_fails_on_both_sides_of_the_limit():
    ax = plot.failure_by_feature(EXPLAINED)
    assert points(ax, "from the limit on") == [(1, 0), (0.5, 1)]
    assert points(ax, "below the limit") == [(0, 0), (0.2, 1)]
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "binary zeros\nlimit 1",
        "octets of data\nlimit 900",
    ]
    assert "binary zeros (limit 1): 3 of 3 failed from the limit on, 0 of 6 below" in ax.get_label()


def connection(stream, server, seconds, **columns):
    start, end = (START + pd.Timedelta(seconds=one) for one in seconds)
    ends = {"client": CLIENT[0], "client_port": 40000 + stream, "server": server, "server_port": 25}
    return {"capture": 0, "stream": stream, "start": start, "end": end} | ends | columns


def test_the_timeline_has_a_row_for_each_connection_worst_server_first():
    seen = [connection(0, "203.0.113.1", (0, 1)), connection(1, "203.0.113.2", (5, 65))]
    logged = [
        {"capture": 0, "stream": 0, "peer": "203.0.113.1", "outcome": "delivered", "end": START},
        {"capture": 0, "stream": 1, "peer": "203.0.113.2", "outcome": "deferred", "end": START},
        {"peer": "203.0.113.2", "outcome": "deferred", "end": START + pd.Timedelta(seconds=90)},
    ]
    ax = plot.timeline(
        tables.from_rows(logged, "attempts"),
        tables.from_rows(seen, "connections"),
        stalls(stream=1, end=START + pd.Timedelta(seconds=61)),
        tables.from_rows([{"capture": 0, "clock_offset": 3.0}], "captures"),
    )
    day = (START - pd.Timestamp(0, tz="UTC")).total_seconds()
    assert [y for _, y in points(ax, "log: deferred (2)")] == [0, 1]
    assert [y for _, y in points(ax, "log: delivered (1)")] == [2]
    (line,) = [line for line in ax.lines if line.get_label() == "it stalled"]
    begin, end, _ = line.get_xdata()
    # the capture's clock is three seconds behind the log's
    assert (round(begin * 86400 - day), round(end * 86400 - day)) == (4, 64)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["203.0.113.2", "203.0.113.1"]
    assert (
        "2 connections were captured, with 1 stalls; the log tells of 2 deferred, 1 delivered."
        in ax.get_label()
    )


def test_a_connection_captured_at_both_ends_is_one_row():
    seen = [connection(0, "203.0.113.1", (0, 1)), connection(0, "203.0.113.1", (0, 1), capture=1)]
    ax = plot.timeline(
        tables.empty("attempts"),
        tables.from_rows(seen, "connections"),
        tables.empty("stalls"),
        tables.from_rows([{"capture": 0}, {"capture": 1}], "captures"),
    )
    (line,) = [line for line in ax.lines if line.get_label() == "connection, as captured"]
    assert set(line.get_ydata()[[0, 1, 3, 4]]) == {0}


def ladder(**columns):
    sent = [{"start": START + pd.Timedelta(seconds=1), "bytes_sent": 5000, "bytes_delivered": 0}]
    one = connection(0, "203.0.113.1", (0, 300), **columns)
    return plot.smtp_ladder(
        DIALOGUE, tables.from_rows(sent, "transactions"), tables.from_rows([one], "connections")
    )


def test_the_ladder_tells_commands_replies_and_data_in_turn():
    ax = ladder(fin_forward=START + pd.Timedelta(seconds=60))
    said = [text.get_text() for text in ax.texts if not re.search(r"^$|\d s", text.get_text())]
    assert said == [
        *("220", "EHLO", "250", "MAIL", "RCPT", "RCPT", "DATA", "250", "250", "550", "354"),
        *("5,000 bytes of message, 0 acknowledged", "final dot", "QUIT"),
        *("FIN: has no more to send", "last packet", "client", "server"),
    ]
    assert "59 s later" in " ".join(text.get_text() for text in ax.texts)


def test_arrows_go_from_who_speaks():
    ax = ladder()
    arrows = [text for text in ax.texts if getattr(text, "arrow_patch", None)]
    assert [(arrow.xyann[0], arrow.xy[0]) for arrow in arrows][:3] == [(1, 0), (0, 1), (1, 0)]
    assert ax.get_label().endswith("nobody: last packet, never closed at 300.0 s.")


def test_the_ladder_shows_neither_mailbox_nor_text():
    private = DIALOGUE.assign(argument="<secret@example.org>", text="secret")
    one = tables.from_rows([connection(0, "203.0.113.1", (0, 1))], "connections")
    ax = plot.smtp_ladder(private, tables.empty("transactions"), one)
    assert "secret" not in ax.get_label() + " ".join(text.get_text() for text in ax.texts)


def test_suspected_octets_are_marked_twice():
    ax = plot.hexdump(b"abc$\0\0def", suspects=[b"\0"])
    bold = [text.get_text() for text in ax.texts if text.get_weight() == "bold"]
    assert bold == ["00", ".", "00", "."]
    assert len(ax.patches) == 4
    words = [text.get_text() for text in ax.texts]
    assert words[0:8:2] == ["61", "62", "63", "24"]
    assert ax.get_label() == (
        "Hexdump of a segment of 9 octets, 9 of them from 0 on: 2 suspected ones are marked, the first at 4."
    )


def test_the_dump_is_about_the_suspects():
    ax = plot.hexdump(bytes(5000) + b"virus" + bytes(5000), suspects=[b"virus"])
    offsets = [text.get_text() for text in ax.texts if len(text.get_text()) == 6]
    assert offsets[0] == "001300"  # 8 rows of 16 above 5000, which is 0x1388
    assert len(offsets) == 16


MANY = 100_000


def test_many_rows_are_one_artist():
    rows = np.arange(MANY)
    times = START + pd.to_timedelta(rows, unit="ms")
    many = tables.conform(
        pd.DataFrame(
            {"stream": rows, "start": times, "end": times, "server": "203.0.113.1", "client_port": rows}
        ),
        "connections",
    ).assign(capture=pd.array([0] * MANY, "Int16"))
    ax = plot.timeline(tables.empty("attempts"), many, tables.empty("stalls"), tables.empty("captures"))
    assert len(ax.lines) == 1
    assert ax.lines[0].get_rasterized()
