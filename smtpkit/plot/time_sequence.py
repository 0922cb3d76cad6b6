"""The time-sequence diagram of a stalled connection, in the manner of tcptrace and Wireshark."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from smtpkit.plot.canvas import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SHADE,
    VERMILLION,
    axes,
    duration,
    legend,
    marks,
    nothing,
    strokes,
    text,
)
from smtpkit.printable import endpoint, printable

REPEATED = ["retransmission", "fast_retransmission", "spurious_retransmission"]
FIN, SYN, RST = 0x01, 0x02, 0x04
LETTER = 0.017  # width of a small letter, as a share of the Axes
_SMALL: dict[str, Any] = {"ha": "center", "va": "center", "size": "x-small"}


def time_sequence(
    packets: pd.DataFrame,
    stalls: pd.DataFrame,
    *,
    dialogue: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
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
    dialogue
        Table `dialogue`, of the same connection: the phases of SMTP then stand along the top.
    ax
        Axes to draw on; by default those of a new figure. x is in seconds since the stall began, y in bytes
        of the stalled direction (`relative_seq`).
    """
    ax = axes(ax)
    if packets.empty or stalls.empty:
        return nothing(ax, "No capture shows a connection that stalled: there is no such picture to draw.")
    stall = stalls.iloc[int(stalls["duration"].argmax())]
    _scales(ax, stall)
    every = packets.assign(seconds=(packets["time"] - stall["start"]).dt.total_seconds())
    shown = every[every["seconds"].between(*ax.get_xlim())]
    sender, icmp = shown["direction"] == stall["direction"], shown["icmp_type"].notna()
    names = ("client", "server") if stall["direction"] == "forward" else ("server", "client")
    _stall(ax, stall)
    _segments(ax, shown[sender & ~icmp], names[0])
    _answers(ax, shown[~sender & ~icmp], stall, names[1])
    _window(ax, every[every["direction"].notna()], stall, names[1])
    height = np.dot(ax.get_ylim(), (0.03, 0.97))
    marks(ax, shown.loc[icmp, "seconds"], np.full(icmp.sum(), height), "d", ORANGE, "ICMP error")
    if dialogue is not None:
        _phases(ax, dialogue, stall)
    legend(ax)
    ax.set_label(_in_words(stall, _title(ax, shown[sender & ~icmp])))
    return ax


def _scales(ax: Axes, stall: pd.Series) -> None:
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
    ax.axvspan(0, stall["duration"], color=SHADE, zorder=0, label=f"stall of {duration(stall['duration'])}")
    if pd.notna(stall["gap"]) and stall["gap"] > 0:
        hole = stall["relative_seq"], stall["relative_seq"] + stall["gap"]
        ax.axhspan(*hole, facecolor="none", edgecolor=BLACK, alpha=0.4, hatch="//", label="never came here")


def _segments(ax: Axes, sent: pd.DataFrame, name: str) -> None:
    """Draw what was sent. A label that begins with `_` is not in the legend, as its marks are."""
    data, rest = sent[sent["tcp_len"] > 0], sent[sent["tcp_len"] == 0]
    again = data[REPEATED].any(axis="columns")
    _bars(ax, data[~again], BLUE, f"{name}: data, first time")
    _bars(ax, data[again], VERMILLION, f"_{name}: data, sent again")
    for rows, marker, colour, what in (
        (data[again], "x", VERMILLION, "data, sent again"),
        (rest, ".", BLUE, "packet without data"),
    ):
        marks(ax, rows["seconds"], rows["relative_seq"], marker, colour, f"{name}: {what}")
    _closes(ax, sent, sent["relative_seq"], name)


def _answers(ax: Axes, received: pd.DataFrame, stall: pd.Series, name: str) -> None:
    """Draw what came back: a line of what was acknowledged, SACK blocks, data the other way, FIN or RST."""
    acks = received[received["relative_ack"].notna()]
    blocks, data = _sack_blocks(acks, stall), acks[acks["tcp_len"] > 0]
    line = _steps(ax, acks["seconds"], acks["relative_ack"])
    if len(acks):
        label = f"{name}: acknowledged up to here"
        (steps,) = ax.step(*line, "|-", where="post", color=GREEN, label=label)
        steps.set_markevery(slice(len(acks)))
    _bars(ax, blocks, PURPLE, f"_{name}: SACK")
    marks(ax, blocks["seconds"], blocks["relative_seq"], "+", PURPLE, f"{name}: SACK, got this part")
    marks(ax, data["seconds"], data["relative_ack"], "v", GREEN, f"{name}: data the other way")
    # A RST that answers an ACK acknowledges nothing itself (RFC 9293 3.10.7.1).
    _closes(ax, received, received["relative_ack"].fillna(stall["relative_seq"]), name)


def _window(ax: Axes, packets: pd.DataFrame, stall: pd.Series, name: str) -> None:
    """Draw up to where the receiver lets the sender go, if the SYNs tell the scale and it is in sight."""
    syns = packets[packets["flags"] & SYN > 0]
    back = packets[(packets["direction"] != stall["direction"]) & (packets["flags"] & (SYN | RST) == 0)]
    scales = syns.groupby("direction", observed=True)["window_scale"].max()
    if len(scales) < 2 or back["relative_ack"].isna().all():
        return
    shift = scales.drop(stall["direction"]).iloc[0] if scales.notna().all() else 0
    edge = back["relative_ack"] + back["window"].astype("Int64") * 2 ** int(shift)
    in_sight = back["seconds"].between(*ax.get_xlim()) & (edge <= ax.get_ylim()[1])
    if in_sight.any():
        label = f"{name}: its window ends here"
        ax.step(*_steps(ax, back["seconds"], edge), "--", where="post", color=BLACK, linewidth=1, label=label)


def _steps(ax: Axes, seconds: pd.Series, byte: pd.Series) -> tuple[list[float], list[float]]:
    """Return a line that lies flat from its last point to the right edge."""
    known = byte.notna()
    x, y = seconds[known].astype(float).tolist(), byte[known].astype(float).tolist()
    return [*x, float(ax.get_xlim()[1])], [*y, *y[-1:]]


def _phases(ax: Axes, dialogue: pd.DataFrame, stall: pd.Series) -> None:
    """Put a strip along the top with the phases of SMTP, named where the name fits."""
    left, right = ax.get_xlim()
    begun = [*_begun(dialogue, stall["start"]), (right, "")]
    spans = [(max(begin, left), min(end, right), name) for (begin, name), (end, _) in pairwise(begun)]
    style: dict[str, Any] = {"edgecolor": BLACK, "linewidth": 0.5, "clip_on": False}
    for number, (begin, end, name) in enumerate(span for span in spans if span[0] < span[1]):
        colour, place = ("white", SHADE)[number % 2], ax.get_xaxis_transform()
        strip = Rectangle((begin, 1.01), end - begin, 0.06, facecolor=colour, transform=place, **style)
        ax.add_patch(strip)
        first, last = (_across(ax, seconds) for seconds in (begin, end))
        if last - first > LETTER * len(name):
            ax.annotate(text(name), ((first + last) / 2, 1.04), xycoords="axes fraction", **_SMALL)


def _begun(dialogue: pd.DataFrame, start: pd.Timestamp) -> Iterator[tuple[float, str]]:
    """Yield when each phase began: its command was the oldest without an answer, as Exim counts too."""
    commands = _runs(dialogue[dialogue["direction"] == "forward"])
    replies = _runs(dialogue[(dialogue["direction"] == "reverse") & (dialogue["verb"] != "banner")])
    sent = commands["first"].iloc[: len(replies) + 1].reset_index(drop=True)
    answered = replies["last"].reset_index(drop=True).shift()
    begin = sent.where(~(answered.reindex(sent.index) > sent), answered)
    yield from zip((begin - start).dt.total_seconds(), commands["verb"], strict=False)


def _runs(said: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each verb in turn: RCPT after RCPT is one, and so are the lines of a reply."""
    verbs = said["verb"].fillna("?")
    groups = said.assign(verb=verbs).groupby((verbs != verbs.shift(fill_value="")).astype(int).cumsum())
    return groups.agg(verb=("verb", "first"), first=("time", "first"), last=("time", "last"))


def _across(ax: Axes, seconds: float) -> float:
    """Return how far to the right of the Axes a time is, from 0 to 1."""
    return float(ax.transAxes.inverted().transform(ax.transData.transform((seconds, 0)))[0])


def _sack_blocks(acks: pd.DataFrame, stall: pd.Series) -> pd.DataFrame:
    """Return a row for each SACK block: `seconds`, `relative_seq` of its left edge, `tcp_len`."""
    blocks = acks.assign(block=acks["sack"].str.split(" ")).explode("block").dropna(subset="block")
    edges = blocks["block"].str.extract(r"(?P<left>\d+)-(?P<right>\d+)").astype("Int64")
    beyond = (edges["left"] - int(stall["seq"]) + 2**31) % 2**32 - 2**31
    length = (edges["right"] - edges["left"]) % 2**32
    left = stall["relative_seq"] + beyond
    return pd.DataFrame({"seconds": blocks["seconds"], "relative_seq": left, "tcp_len": length})


def _bars(ax: Axes, data: pd.DataFrame, colour: str, label: str) -> None:
    """Draw each packet's data upright, from its first to its last byte."""
    seconds, first = data["seconds"], data["relative_seq"]
    strokes(ax, (seconds, first), (seconds, first + data["tcp_len"]), colour, label=label)


def _closes(ax: Axes, packets: pd.DataFrame, height: pd.Series, name: str) -> None:
    for flag, mask, marker in (("RST", RST, "X"), ("FIN", RST | FIN, "s")):
        rows = packets[packets["flags"] & mask == (RST if flag == "RST" else FIN)]
        marks(ax, rows["seconds"], height[rows.index], marker, BLACK, f"{name}: {flag}")


def _title(ax: Axes, sent: pd.DataFrame) -> str:
    """Put the connection's ends above the picture, and return them."""
    if sent.empty:
        return "a connection"
    first = sent.iloc[0]
    ends = (endpoint(first["src"], first["src_port"]), endpoint(first["dst"], first["dst_port"]))
    ax.set_title(" → ".join(map(text, ends)), loc="left", fontsize="medium", y=1.07)
    return " to ".join(map(printable, ends))


def _in_words(stall: pd.Series, connection: str) -> str:
    words = f"Time-sequence diagram of {connection}: for {duration(stall['duration'])} nothing from byte "
    words += f"{stall['relative_seq']:,} on was acknowledged"
    if stall["repeats"] > 0:
        words += f", though it was sent again {stall['repeats']} times".replace(" 1 times", " once")
        words += (
            f" in IP packets of {stall['repeat_ip_len']} bytes" if pd.notna(stall["repeat_ip_len"]) else ""
        )
    if pd.notna(stall["gap"]):
        words += f"; {stall['gap']:,} bytes never came to where the capture was taken"
    return words + "."
