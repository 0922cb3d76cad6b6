"""The octets of a segment, those suspected marked. Payload: only drawn where it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from smtpkit.plot.canvas import BLACK, ORANGE, axes, nothing, text

WIDTH, MOST_ROWS = 16, 16
_HEX, _CHARACTER = 8, 8 + 3 * WIDTH + 1  # where the columns begin, in characters


def hexdump(octets: bytes, *, suspects: Sequence[bytes] = (), ax: Axes | None = None) -> Axes:
    """Draw octets in hexadecimal and as ASCII, 16 in a row, the rows around the first suspected ones.

    Parameters
    ----------
    octets
        The payload of a segment.
    suspects
        Sequences of octets to mark wherever they stand.
    ax
        Axes to draw on; by default those of a new figure. x counts characters, y octets.
    """
    if not octets:
        return nothing(axes(ax), "No payload is shown: it was not asked for, or not captured.")
    marked = sorted(set(_marked(octets, suspects)))
    first = max(0, min(marked, default=0) // WIDTH - MOST_ROWS // 2) * WIDTH
    shown = octets[first : first + WIDTH * MOST_ROWS]
    rows = -(-len(shown) // WIDTH)
    ax = axes(ax, height=0.5 + 0.22 * rows)
    for at, octet in enumerate(shown, first):
        _cell(ax, at, octet, at in marked)
    for at in range(first, first + len(shown), WIDTH):
        ax.text(0, at, f"{at:06x}", **_FONT)
    ax.axvline(_CHARACTER - 0.75, color=BLACK, linewidth=0.5)
    ax.set_xlim(-0.5, _CHARACTER + WIDTH)
    ax.set_ylim(first + WIDTH * (rows - 0.5), first - WIDTH / 2)
    ax.set_axis_off()
    ax.set_label(_in_words(octets, first, len(shown), marked))
    return ax


_FONT: dict[str, Any] = {"family": "monospace", "fontsize": 7.5, "va": "center"}


def _marked(octets: bytes, suspects: Sequence[bytes]) -> Iterator[int]:
    """Yield the offset of each suspected octet."""
    for suspect in filter(None, suspects):
        for found in re.finditer(re.escape(suspect), octets):
            yield from range(*found.span())


def _cell(ax: Axes, at: int, octet: int, marked: bool) -> None:
    """Write an octet twice; a marked one is bold in a box, to be seen in grey too."""
    column, row = at % WIDTH, at - at % WIDTH
    character = chr(octet) if 32 <= octet < 127 else "."
    weight = "bold" if marked else "normal"
    for x, width, word in ((_HEX + 3 * column, 3, f"{octet:02x}"), (_CHARACTER + column, 1, character)):
        if marked:
            corner, height = (x, row - WIDTH * 0.42), WIDTH * 0.84
            box = Rectangle(corner, width, height, facecolor=ORANGE, edgecolor=BLACK, linewidth=0.5)
            ax.add_patch(box)
        ax.text(x + width / 2, row, text(word), ha="center", weight=weight, **_FONT)


def _in_words(octets: bytes, first: int, shown: int, marked: list[int]) -> str:
    words = f"Hexdump of a segment of {len(octets):,} octets, {shown:,} of them from {first:,} on"
    if marked:
        return f"{words}: {len(marked):,} suspected ones are marked, the first at {marked[0]:,}."
    return f"{words}: none is marked."
