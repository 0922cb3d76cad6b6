"""How often messages fail above and below the limit of each feature of their content."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from smtpkit.plot.canvas import BLACK, BLUE, VERMILLION, axes, legend, marks, nothing, strokes, text
from smtpkit.printable import printable


def failure_by_feature(features: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw for each feature which share of the messages fails above its limit, and which below.

    Parameters
    ----------
    features
        What `smtpkit.correlation.explain` returns.
    ax
        Axes to draw on; by default those of a new figure. x is the share of messages that failed, y has a row
        for each feature, the one that explains best at the top.
    """
    ax = axes(ax, height=1.6 + 0.65 * max(len(features), 1))
    if features.empty:
        return nothing(
            ax, "No feature is known of messages of which some failed and others passed: nothing to compare."
        )
    rows = range(len(features))
    above, below = (_share(features, where) for where in ("above", "below"))
    strokes(ax, (above, rows), (below, rows), BLACK, linewidth=1)
    marks(ax, above, rows, ">", VERMILLION, "from the limit on", markersize=9)
    marks(ax, below, rows, "o", BLUE, "below the limit", markersize=9, fillstyle="none")
    _frame(ax, features)
    ax.set_label(_in_words(features))
    return ax


def _share(features: pd.DataFrame, where: str) -> pd.Series:
    failed, passed = features[f"failed_{where}"], features[f"passed_{where}"]
    return (failed / (failed + passed)).astype(float)


def _frame(ax: Axes, features: pd.DataFrame) -> None:
    ax.set_yticks(range(len(features)), [f"{text(one.feature)}\n{_limit(one)}" for one in _rows(features)])
    ax.set_ylim(len(features) - 0.5, -0.5)
    ax.set_xlim(-0.05, 1.05)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("messages that failed")
    ax.grid(axis="x", color=BLACK, alpha=0.15)
    legend(ax)


def _in_words(features: pd.DataFrame) -> str:
    words = (f"{printable(one.feature)} ({_limit(one)}): {_counts(one)}" for one in _rows(features))
    return f"Share of messages that failed, by feature: {'; '.join(words)}."


def _counts(one: Any) -> str:
    above, below = one.failed_above + one.passed_above, one.failed_below + one.passed_below
    return f"{one.failed_above} of {above} failed from the limit on, {one.failed_below} of {below} below"


def _limit(one: Any) -> str:
    return "no limit" if pd.isna(one.high) else f"limit {one.high:,g}"


def _rows(features: pd.DataFrame) -> list[Any]:
    return list(features.itertuples(index=False))
