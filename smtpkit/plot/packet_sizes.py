"""Packet sizes against the MTU: delivered and lost."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from smtpkit.plot.canvas import BLACK, BLUE, SHADE, VERMILLION, axes, legend, nothing


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
    ax = axes(ax)
    counts = sizes[~sizes["offload"]].groupby("ip_len")[["delivered", "lost"]].sum()
    counts = counts[counts.sum(axis="columns") > 0]
    if counts.empty:
        return nothing(ax, "No capture shows what became of data packets: there are no sizes to draw.")
    limits = _limits(path_mtu)
    _sticks(ax, counts["delivered"], "o", BLUE, "delivered")
    _sticks(ax, -counts["lost"], "x", VERMILLION, "lost")
    _draw_limits(ax, limits)
    _frame(ax, counts)
    ax.set_label(_in_words(counts, limits))
    return ax


def _sticks(ax: Axes, counts: pd.Series, marker: str, colour: str, label: str) -> None:
    counts = counts[counts != 0].astype(float)
    if len(counts):
        ax.vlines(counts.index.astype(float), 0, counts, color=colour, linewidth=1.5)
        ax.plot(counts.index.astype(float), counts, marker, color=colour, label=label)


def _limits(path_mtu: pd.DataFrame) -> dict[str, int]:
    sizes_decide = path_mtu[~(path_mtu["delivered_above"] > 0).fillna(False).astype(bool)]
    low, high = sizes_decide["delivered"].max(), sizes_decide["lost"].min()
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


def _frame(ax: Axes, counts: pd.DataFrame) -> None:
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
    legend(ax)


def _in_words(counts: pd.DataFrame, limits: dict[str, int]) -> str:
    delivered, lost = (counts.index[counts[fate] > 0] for fate in ("delivered", "lost"))
    words = [f"delivered up to {delivered.max()} bytes" if len(delivered) else "none known to be delivered"]
    words += [f"lost from {lost.min()} to {lost.max()} bytes" if len(lost) else "none lost"]
    if {"delivered", "lost"} <= limits.keys():
        words += [f"the path MTU is at least {limits['delivered']} and below {limits['lost']} bytes"]
    return f"Data packets by the length of the IP packet: {', '.join(words)}."
