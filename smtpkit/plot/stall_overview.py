"""All stalls of all connections: how long each was, how far the connection had come, how it ended."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter

from smtpkit.plot.canvas import BLUE, VERMILLION, axes, duration, legend, marks, nothing
from smtpkit.tables import KEY

_WHO = {"forward": "client's data", "reverse": "server's data"}


def stall_overview(stalls: pd.DataFrame, connections: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw each stall by the bytes acknowledged before it and by its length.

    Parameters
    ----------
    stalls
        Table `stalls`.
    connections
        Table `connections`: of how many these are.
    ax
        Axes to draw on; by default those of a new figure. x is in bytes of the stalled direction, linear up
        to 100 and logarithmic above, y in seconds, logarithmic.
    """
    ax = axes(ax)
    if stalls.empty:
        found = f"None of {len(connections):,} connections stalled" if len(connections) else "No connection"
        return nothing(ax, f"{found}: there is no stall to draw.")
    went_on = stalls["ended_by"] == "acknowledgment"
    for direction, fill in (("forward", "full"), ("reverse", "none")):
        mine = stalls["direction"] == direction
        _marks(ax, stalls[mine & went_on], "o", BLUE, f"{_WHO[direction]}: went on", fill)
        lost = "X" if fill == "full" else "P"
        _marks(ax, stalls[mine & ~went_on], lost, VERMILLION, f"{_WHO[direction]}: never went on", fill)
    _frame(ax)
    ax.set_label(_in_words(stalls, connections, int((~went_on).sum())))
    return ax


def _marks(ax: Axes, rows: pd.DataFrame, marker: str, colour: str, label: str, fill: str) -> None:
    # The first byte of data has the relative number 1, after the SYN.
    before = (rows["relative_seq"] - 1).clip(lower=0)
    marks(ax, before, rows["duration"], marker, colour, f"{label} ({len(rows)})", fillstyle=fill, alpha=0.7)


def _frame(ax: Axes) -> None:
    ax.set_xscale("symlog", linthresh=100)
    ax.set_yscale("log")
    (_, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    ax.set_xlim(-15, max(2 * right, 10_000))
    ax.set_ylim(min(bottom, 0.7), max(1.5 * top, 100))
    ax.xaxis.set_major_formatter(EngFormatter(unit="B"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    ax.set_xlabel("bytes acknowledged before the stall, logarithmic from 100 on")
    ax.set_ylabel("length of the stall [s]")
    legend(ax)


def _in_words(stalls: pd.DataFrame, connections: pd.DataFrame, never: int) -> str:
    stalled = len(stalls[KEY].drop_duplicates())
    words = f"Stalls of {stalled:,} of {len(connections):,} connections: {len(stalls) - never:,} went on, "
    words += f"{never:,} never did; the longest took {duration(stalls['duration'].max())}"
    return words + f", half of them {duration(stalls['duration'].median())} or more."
