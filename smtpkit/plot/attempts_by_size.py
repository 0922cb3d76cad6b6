"""Delivery attempts by the size of their message: a strip for each server."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from smtpkit.plot.canvas import MOST_PEERS, OUTCOMES, SHADE, axes, legend, marks, nothing, text
from smtpkit.printable import printable


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
    ax = axes(ax, height=2 + 0.6 * max(len(peers), 1))
    if known.empty:
        return nothing(ax, "No log tells the sizes of messages that were tried: there is nothing to draw.")
    if threshold is not None:
        ax.axvspan(*threshold, color=SHADE, zorder=0, label="between passed and failed")
    _strips(ax, known[known["peer"].isin(peers)], peers)
    _frame(ax, peers)
    ax.set_label(_in_words(known, peers, len(failures)))
    return ax


def _strips(ax: Axes, drawn: pd.DataFrame, peers: pd.Index) -> None:
    heights = drawn["peer"].map({peer: row for row, peer in enumerate(peers)}) + _spread(drawn)
    for outcome, (marker, colour) in OUTCOMES.items():
        points = drawn[drawn["outcome"] == outcome]
        label = f"{outcome} ({len(points)})"
        marks(ax, points["size"], heights[points.index], marker, colour, label, fillstyle="none")


def _spread(attempts: pd.DataFrame) -> pd.Series:
    """Return a shift for each attempt, so that those of one size lie next to each other."""
    same = attempts.groupby(["peer", "size"])["outcome"]
    count = same.transform("size")
    return ((same.cumcount() + 0.5) / count - 0.5) * (0.15 * count).clip(upper=0.8)


def _frame(ax: Axes, peers: pd.Index) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(EngFormatter(unit="B"))
    ax.set_xlabel("size of the message [byte]")
    ax.set_yticks(range(len(peers)), [text(peer) for peer in peers])
    ax.set_ylim(len(peers) - 0.5, -0.5)
    legend(ax)


def _in_words(known: pd.DataFrame, peers: pd.Index, servers: int) -> str:
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
