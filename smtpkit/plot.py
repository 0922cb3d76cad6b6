"""Pictures: tables in, Axes out. What is drawn was computed elsewhere; here it gets its place and its colour.

Tables come first, the rest by keyword; each function draws on `ax`, or on a figure of its own. The label of
the Axes (``ax.get_label()``) says in words what is drawn, for those who do not see it. Where there is nothing
to draw it says that, and ``ax.has_data()`` is False.

The colours are those of Okabe and Ito, which the colour-blind tell apart; each has a marker or a line of its
own besides, so that a print in grey can be read.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

from smtpkit.printable import endpoint, printable

BLACK, BLUE, GREEN, SHADE = "#000000", "#0072B2", "#009E73", "#E4E4E4"
ORANGE, PURPLE, VERMILLION = "#E69F00", "#CC79A7", "#D55E00"
OUTCOMES = {"delivered": ("o", BLUE), "deferred": ("^", ORANGE), "failed": ("x", VERMILLION)}
REPEATED = ["retransmission", "fast_retransmission", "spurious_retransmission"]
FIN, RST = 0x01, 0x04
MOST_PEERS = 20  # rows that can be read in one figure


def time_sequence(packets: pd.DataFrame, stalls: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a stalled connection in the manner of tcptrace: what was sent when, and what was acknowledged.

    The longest of `stalls` decides the direction and the part that is shown: the bytes that were outstanding.
    Time is logarithmic from 0.1 s on, because repeats that wait twice as long each time then stand at even
    distances, and the tenth of a second in which all began can be seen beside the ten minutes that followed.

    Parameters
    ----------
    packets
        Table `packets` with the columns of `analysis`, of one connection.
    stalls
        Table `stalls`, of the same connection.
    ax
        Axes to draw on; by default those of a new figure. x is in seconds since the stall began, y in bytes
        of the stalled direction (`relative_seq`).
    """
    ax = _axes(ax)
    if packets.empty or stalls.empty:
        return _nothing(ax, "No capture shows a connection that stalled: there is no such picture to draw.")
    stall = stalls.iloc[int(stalls["duration"].argmax())]
    _time_sequence_scales(ax, stall)
    seconds = (packets["time"] - stall["start"]).dt.total_seconds()
    shown = packets.assign(seconds=seconds)[seconds.between(*ax.get_xlim())]
    sender = shown["direction"] == stall["direction"]
    icmp = shown["icmp_type"].notna()
    names = ("client", "server") if stall["direction"] == "forward" else ("server", "client")
    _stall(ax, stall)
    _segments(ax, shown[sender & ~icmp], names[0])
    _answers(ax, shown[~sender & ~icmp], stall, names[1])
    bottom, top = ax.get_ylim()
    _marks(ax, shown[icmp].assign(y=bottom + 0.97 * (top - bottom)), "d", ORANGE, "ICMP error")
    _legend(ax)
    ax.set_label(_stall_in_words(stall, _title(ax, shown[sender & ~icmp])))
    return ax


def packet_sizes(sizes: pd.DataFrame, path_mtu: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many data packets of each size were delivered (upward) and lost (downward).

    Super-packets of segmentation offload are left out, as they were never on the wire at their size.

    Parameters
    ----------
    sizes
        Table `sizes`, of one path and direction.
    path_mtu
        The row of table `path_mtu` for it: its bracket is shaded.
    ax
        Axes to draw on; by default those of a new figure. x is in bytes of the IP packet, y in packets, on a
        scale that is linear up to 1 and logarithmic above.
    """
    ax = _axes(ax)
    counts = sizes[~sizes["offload"]].groupby("ip_len")[["delivered", "lost"]].sum()
    counts = counts[counts.sum(axis="columns") > 0]
    if counts.empty:
        return _nothing(ax, "No capture shows what became of data packets: there are no sizes to draw.")
    limits = _limits(path_mtu)
    _sticks(ax, counts["delivered"], "o", BLUE, "delivered")
    _sticks(ax, -counts["lost"], "x", VERMILLION, "lost")
    _draw_limits(ax, limits)
    _packet_sizes_frame(ax, counts)
    ax.set_label(_sizes_in_words(counts, limits))
    return ax


def attempts_by_size(
    attempts: pd.DataFrame, *, ax: Axes | None = None, threshold: Sequence[float] | None = None
) -> Axes:
    """Draw each delivery attempt by the size of its message and the server that it went to.

    Parameters
    ----------
    attempts
        Table `attempts`. Of many servers the 20 with most failures are drawn.
    ax
        Axes to draw on; by default those of a new figure. x is the message size in bytes, logarithmic.
    threshold
        Largest size that passed and smallest that failed, in bytes; shaded.
    """
    known = attempts[attempts["size"] > 0]
    known = known.assign(peer=known["peer"].fillna("this host"))
    failures = (known["outcome"] != "delivered").groupby(known["peer"]).sum()
    peers = failures.sort_values(ascending=False, kind="stable").index[:MOST_PEERS]
    ax = _axes(ax, height=2 + 0.6 * max(len(peers), 1))
    if known.empty:
        return _nothing(ax, "No log tells the sizes of messages that were tried: there is nothing to draw.")
    if threshold is not None:
        ax.axvspan(*threshold, color=SHADE, zorder=0, label="between passed and failed")
    _strips(ax, known[known["peer"].isin(peers)], peers)
    _attempts_frame(ax, peers)
    ax.set_label(_attempts_in_words(known, peers, len(failures)))
    return ax


def png(ax: Axes) -> bytes:
    """Return the figure of `ax` as a PNG file, and close it; the file names no program or time."""
    figure, image = ax.get_figure(root=True), io.BytesIO()
    assert figure is not None, "an Axes that is drawn has a figure"
    figure.savefig(image, format="png", dpi=180, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return image.getvalue()


def _axes(ax: Axes | None, height: float = 4.2) -> Axes:
    if ax is None:
        ax = plt.subplots(figsize=(5.6, height), layout="constrained")[1]
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _nothing(ax: Axes, why: str) -> Axes:
    ax.set_axis_off()
    ax.set_label(why)
    return ax


def _text(text: object) -> str:
    """Text of others for a figure: matplotlib takes what stands between two dollars for math."""
    return printable(text).replace("$", r"\$")


def _legend(ax: Axes) -> None:
    """Put the legend below the axis, where it hides nothing."""
    legend = ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=4.5, ncols=2, fontsize="small"
    )
    legend.set_frame_on(False)


# The time-sequence diagram


def _time_sequence_scales(ax: Axes, stall: pd.Series) -> None:
    ax.set_xscale("symlog", linthresh=0.1)
    ax.set_xlim(-0.1, max(1.3 * stall["duration"], 0.2))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    ax.set_xlabel(f"seconds since the stall began at {stall['start']:%H:%M:%S} UTC, logarithmic from 0.1 on")
    size = stall[["outstanding", "gap", "repeat_ip_len"]].dropna().max()
    first, size = float(stall["relative_seq"]), max(float(size), 100.0)
    ax.set_ylim(first - 0.12 * size, first + 1.12 * size)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda byte, _: f"{byte:,.0f}"))
    ax.set_ylabel("byte of the stream (relative sequence number)")


def _stall(ax: Axes, stall: pd.Series) -> None:
    ax.axvspan(0, stall["duration"], color=SHADE, zorder=0, label=f"stall of {_duration(stall['duration'])}")
    if pd.notna(stall["gap"]) and stall["gap"] > 0:
        hole = stall["relative_seq"], stall["relative_seq"] + stall["gap"]
        ax.axhspan(*hole, facecolor="none", edgecolor=BLACK, alpha=0.4, hatch="//", label="never came here")


def _segments(ax: Axes, sent: pd.DataFrame, name: str) -> None:
    """Draw what was sent. A label that begins with `_` is not in the legend, as its marks are."""
    data, rest = sent[sent["tcp_len"] > 0], sent[sent["tcp_len"] == 0]
    again = data[REPEATED].any(axis="columns")
    _bars(ax, data[~again], BLUE, f"{name}: data, first time")
    _bars(ax, data[again], VERMILLION, f"_{name}: data, sent again")
    _marks(ax, data[again].assign(y=data["relative_seq"]), "x", VERMILLION, f"{name}: data, sent again")
    _marks(ax, rest.assign(y=rest["relative_seq"]), ".", BLUE, f"{name}: packet without data")
    _closes(ax, sent.assign(y=sent["relative_seq"]), name)


def _answers(ax: Axes, received: pd.DataFrame, stall: pd.Series, name: str) -> None:
    """Draw what came back: a line of what was acknowledged, SACK blocks, data the other way, FIN or RST."""
    acks = received[received["relative_ack"].notna()]
    acks = acks.assign(y=acks["relative_ack"])
    blocks = _sack_blocks(acks, stall)
    if len(acks):
        until = acks.tail(1).assign(seconds=ax.get_xlim()[1])
        line = pd.concat([acks, until])[["seconds", "y"]].astype(float)
        label = f"{name}: acknowledged up to here"
        (steps,) = ax.step(line["seconds"], line["y"], "|-", where="post", color=GREEN, label=label)
        steps.set_markevery(slice(len(acks)))
    _bars(ax, blocks, PURPLE, f"_{name}: SACK")
    _marks(ax, blocks.assign(y=blocks["relative_seq"]), "+", PURPLE, f"{name}: SACK, got this part")
    _marks(ax, acks[acks["tcp_len"] > 0], "v", GREEN, f"{name}: data the other way")
    # A RST that answers an ACK acknowledges nothing itself (RFC 9293 3.10.7.1).
    _closes(ax, received.assign(y=received["relative_ack"].fillna(stall["relative_seq"])), name)


def _sack_blocks(acks: pd.DataFrame, stall: pd.Series) -> pd.DataFrame:
    """Return a row for each SACK block: `seconds`, `relative_seq` of its left edge, `tcp_len`."""
    blocks = acks.assign(block=acks["sack"].str.split(" ")).explode("block").dropna(subset="block")
    edges = blocks["block"].str.extract(r"(?P<left>\d+)-(?P<right>\d+)").astype("Int64")
    beyond = (edges["left"] - int(stall["seq"]) + 2**31) % 2**32 - 2**31
    length = (edges["right"] - edges["left"]) % 2**32
    left = stall["relative_seq"] + beyond
    return pd.DataFrame({"seconds": blocks["seconds"], "relative_seq": left, "tcp_len": length})


def _bars(ax: Axes, data: pd.DataFrame, colour: str, label: str) -> None:
    """Draw all bars as one line with gaps: a million take a second so, and a minute as a LineCollection."""
    if len(data):
        left = data["relative_seq"].to_numpy(float)
        right = left + data["tcp_len"].to_numpy(float)
        bytes_ = np.column_stack([left, right, np.full(len(data), np.nan)]).ravel()
        seconds = np.repeat(data["seconds"].to_numpy(float), 3)
        (line,) = ax.plot(seconds, bytes_, color=colour, linewidth=2.5, label=label, rasterized=True)
        line.set_solid_capstyle("butt")


def _marks(ax: Axes, points: pd.DataFrame, marker: str, colour: str, label: str) -> None:
    if len(points):
        seconds, y = points["seconds"], points["y"].astype(float)
        ax.plot(seconds, y, marker, color=colour, label=label, zorder=4, rasterized=True)


def _closes(ax: Axes, packets: pd.DataFrame, name: str) -> None:
    _marks(ax, packets[packets["flags"] & RST > 0], "X", BLACK, f"{name}: RST")
    _marks(ax, packets[packets["flags"] & (RST | FIN) == FIN], "s", BLACK, f"{name}: FIN")


def _title(ax: Axes, sent: pd.DataFrame) -> str:
    """Put the connection's ends above the picture, and return them."""
    if sent.empty:
        return "a connection"
    first = sent.iloc[0]
    ends = (endpoint(first["src"], first["src_port"]), endpoint(first["dst"], first["dst_port"]))
    ax.set_title(" → ".join(map(_text, ends)), loc="left", fontsize="medium")
    return " to ".join(map(printable, ends))


def _stall_in_words(stall: pd.Series, connection: str) -> str:
    words = f"Time-sequence diagram of {connection}: for {_duration(stall['duration'])} nothing from byte "
    words += f"{stall['relative_seq']:,} on was acknowledged"
    if stall["repeats"] > 0:
        words += f", though it was sent again {stall['repeats']} times".replace(" 1 times", " once")
        words += (
            f" in IP packets of {stall['repeat_ip_len']} bytes" if pd.notna(stall["repeat_ip_len"]) else ""
        )
    if pd.notna(stall["gap"]):
        words += f"; {stall['gap']:,} bytes never came to where the capture was taken"
    return words + "."


def _duration(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


# Packet sizes


def _sticks(ax: Axes, counts: pd.Series, marker: str, colour: str, label: str) -> None:
    counts = counts[counts != 0].astype(float)
    if len(counts):
        ax.vlines(counts.index.astype(float), 0, counts, color=colour, linewidth=1.5)
        ax.plot(counts.index.astype(float), counts, marker, color=colour, label=label)


def _limits(path_mtu: pd.DataFrame) -> dict[str, int]:
    low, high = path_mtu["delivered"].max(), path_mtu["lost"].min()
    full, icmp = path_mtu["full_size"].max(), path_mtu["next_hop_mtu"].min()
    found = {"delivered": low, "lost": high, "full size by MSS": full, "MTU by ICMP": icmp}
    return {name: int(size) for name, size in found.items() if pd.notna(size)}


def _draw_limits(ax: Axes, limits: dict[str, int]) -> None:
    if {"delivered", "lost"} <= limits.keys():
        low, high = limits["delivered"], limits["lost"]
        ax.axvspan(low, high, color=SHADE, zorder=0, label=f"path MTU: at least {low}, below {high}")
    for name, style in (("full size by MSS", "dashed"), ("MTU by ICMP", "dotted")):
        if name in limits:
            label = f"{name}: {limits[name]}"
            ax.axvline(limits[name], color=BLACK, linestyle=style, linewidth=1, zorder=1, label=label)


def _packet_sizes_frame(ax: Axes, counts: pd.DataFrame) -> None:
    most = counts.to_numpy().max()
    if most > 20:
        ax.set_yscale("symlog", linthresh=1)
    else:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{abs(count):,.0f}"))
    ax.margins(y=0.15)
    ax.axhline(0, color=BLACK, linewidth=0.8)
    ax.set_xlim(left=0)
    ax.set_xlabel("IP packet [byte]")
    ax.set_ylabel("packets: lost (down), delivered (up)")
    _legend(ax)


def _sizes_in_words(counts: pd.DataFrame, limits: dict[str, int]) -> str:
    delivered, lost = (counts.index[counts[fate] > 0] for fate in ("delivered", "lost"))
    words = [f"delivered up to {delivered.max()} bytes" if len(delivered) else "none known to be delivered"]
    words += [f"lost from {lost.min()} to {lost.max()} bytes" if len(lost) else "none lost"]
    if {"delivered", "lost"} <= limits.keys():
        words += [f"the path MTU is at least {limits['delivered']} and below {limits['lost']} bytes"]
    return f"Data packets by the length of the IP packet: {', '.join(words)}."


# Attempts by size


def _strips(ax: Axes, drawn: pd.DataFrame, peers: pd.Index) -> None:
    heights = drawn["peer"].map({peer: row for row, peer in enumerate(peers)}) + _spread(drawn)
    for outcome, (marker, colour) in OUTCOMES.items():
        points = drawn[drawn["outcome"] == outcome]
        if len(points):
            sizes, rows = points["size"].astype(float), heights[points.index]
            label = f"{outcome} ({len(points)})"
            ax.plot(sizes, rows, marker, color=colour, fillstyle="none", label=label, rasterized=True)


def _spread(attempts: pd.DataFrame) -> pd.Series:
    """Return a shift for each attempt, so that those of one size lie next to each other."""
    same = attempts.groupby(["peer", "size"])["outcome"]
    count = same.transform("size")
    return ((same.cumcount() + 0.5) / count - 0.5) * (0.15 * count).clip(upper=0.8)


def _attempts_frame(ax: Axes, peers: pd.Index) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(EngFormatter(unit="B"))
    ax.set_xlabel("size of the message [byte]")
    ax.set_yticks(range(len(peers)), [_text(peer) for peer in peers])
    ax.set_ylim(len(peers) - 0.5, -0.5)
    _legend(ax)


def _attempts_in_words(known: pd.DataFrame, peers: pd.Index, servers: int) -> str:
    words = ["Delivery attempts by message size.", *(_peer_in_words(known, peer) for peer in peers)]
    if servers > len(peers):
        words.append(f"{servers - len(peers)} more servers are not drawn.")
    return " ".join(words)


def _peer_in_words(known: pd.DataFrame, peer: str) -> str:
    at_peer = known[known["peer"] == peer]
    passed = at_peer["outcome"] == "delivered"
    parts = _sizes(at_peer[passed], "delivered"), _sizes(at_peer[~passed], "not delivered")
    return f"{printable(peer)}: {', '.join(parts)}."


def _sizes(attempts: pd.DataFrame, what: str) -> str:
    if attempts.empty:
        return f"none {what}"
    low, high = attempts["size"].min(), attempts["size"].max()
    return f"{len(attempts)} {what} (of {low:,} to {high:,} bytes)"
