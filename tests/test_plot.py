"""The figures, by asking their artists for what they show."""

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
