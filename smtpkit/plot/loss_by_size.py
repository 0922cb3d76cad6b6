"""The rate of loss by class of packet sizes, with its intervals."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from smtpkit.plot.canvas import BLACK, VERMILLION, axes, nothing


def loss_by_size(loss_rates: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw which share of the data packets of each class of sizes was lost.

    Parameters
    ----------
    loss_rates
        Table `loss_rates`, of one path and direction.
    ax
        Axes to draw on; by default those of a new figure. x has a place for each class of IP lengths, y is
        the share that was lost, with its 95% interval (Clopper and Pearson).
    """
    ax = axes(ax, height=3.2)
    if not loss_rates["lost"].sum():
        return nothing(ax, "No data packet is known to be lost on this path: there is no loss to draw.")
    rates = loss_rates.sort_values("low")
    names = [_name(one) for one in rates.itertuples()]
    low, rate, high = (rates[name].to_numpy(float) for name in ("rate_low", "rate", "rate_high"))
    ax.errorbar(
        range(len(rates)), rate, [rate - low, high - rate], fmt="x", color=VERMILLION, ecolor=BLACK, capsize=4
    )
    _frame(ax, rates, names)
    ax.set_label(_in_words(rates, names))
    return ax


def _name(one: Any) -> str:
    if pd.isna(one.high):
        return f"above {one.low - 1}"
    return f"{one.low}–{one.high}" if one.low < one.high else str(one.low)


def _frame(ax: Axes, rates: pd.DataFrame, names: list[str]) -> None:
    counts = [f"{one.lost:,} of {one.sent:,}" for one in rates.itertuples()]
    labels = [f"{name}\n{count}" for name, count in zip(names, counts, strict=True)]
    ax.set_xticks(range(len(names)), labels, fontsize="small")
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("IP packet [byte], and how many of these were lost")
    ax.set_ylabel("lost, with 95% interval")


def _in_words(rates: pd.DataFrame, names: list[str]) -> str:
    words = (
        f"of {name} bytes {one.lost:,} of {one.sent:,} ({one.rate:.1%}, interval {one.rate_low:.1%} "
        f"to {one.rate_high:.1%})"
        for name, one in zip(names, rates.itertuples(), strict=True)
    )
    return f"Data packets lost, by the length of the IP packet, with 95% intervals: {'; '.join(words)}."
