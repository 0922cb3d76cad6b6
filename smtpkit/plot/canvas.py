"""What all figures share: colours, the Axes, strokes and marks, text of others, the legend, and the file."""

from __future__ import annotations

import io
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from smtpkit.printable import printable

# Of Okabe and Ito: the colour-blind tell them apart. Each has a marker or a line of its own besides.
BLACK, BLUE, GREEN, SHADE = "#000000", "#0072B2", "#009E73", "#E4E4E4"
ORANGE, PURPLE, VERMILLION = "#E69F00", "#CC79A7", "#D55E00"
OUTCOMES = {"delivered": ("o", BLUE), "deferred": ("^", ORANGE), "failed": ("x", VERMILLION)}
MOST_PEERS = 20  # rows that can be read in one figure


def png(ax: Axes) -> bytes:
    """Return the figure of `ax` as a PNG file, and close it; the file names no program or time."""
    figure, image = ax.get_figure(root=True), io.BytesIO()
    assert figure is not None, "an Axes that is drawn has a figure"
    figure.savefig(image, format="png", dpi=180, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return image.getvalue()


def axes(ax: Axes | None, height: float = 4.2) -> Axes:
    """Return `ax`, else that of a new figure as wide as a phone can show."""
    if ax is None:
        ax = plt.subplots(figsize=(5.6, height), layout="constrained")[1]
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def nothing(ax: Axes, why: str) -> Axes:
    """Leave `ax` blank, and say why."""
    ax.set_axis_off()
    ax.set_label(why)
    return ax


def text(text: object) -> str:
    """Text of others for a figure: matplotlib takes what stands between two dollars for math."""
    return printable(text).replace("$", r"\$")


def duration(seconds: float) -> str:
    """Return a length of time in words."""
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def strokes(ax: Axes, begin: tuple[Any, Any], end: tuple[Any, Any], colour: str, **style: Any) -> None:
    """Draw strokes from `begin` to `end`, each a column of x and one of y.

    All are one line with gaps: a million take a second so, and a minute as a LineCollection.
    """
    if len(begin[0]):
        gaps = np.full(len(begin[0]), np.nan)
        x, y = (
            np.column_stack([np.asarray(one, float), np.asarray(other, float), gaps]).ravel()
            for one, other in zip(begin, end, strict=True)
        )
        (line,) = ax.plot(x, y, color=colour, rasterized=True, **{"linewidth": 2.5} | style)
        line.set_solid_capstyle("butt")


def marks(ax: Axes, x: Any, y: Any, marker: str, colour: str, label: str, **style: Any) -> None:
    """Draw points of one kind; where there are none, the legend does not name them."""
    if len(x):
        known: dict[str, Any] = {"color": colour, "label": label, "zorder": 4, "rasterized": True}
        ax.plot(np.asarray(x, float), np.asarray(y, float), marker, **known | style)


def legend(ax: Axes) -> None:
    """Put the legend below the axis, where it hides nothing."""
    if ax.get_legend_handles_labels()[0]:
        below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 4.5}
        ax.legend(**below, ncols=2, fontsize="small").set_frame_on(False)
