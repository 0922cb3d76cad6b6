"""Log and capture on one axis of time: a row for each connection, with its attempt."""

from __future__ import annotations

import pandas as pd
from matplotlib import dates
from matplotlib.axes import Axes

from smtpkit.plot.canvas import (
    BLACK,
    MOST_PEERS,
    OUTCOMES,
    VERMILLION,
    axes,
    legend,
    marks,
    nothing,
    strokes,
    text,
)
from smtpkit.tables import ENDS, KEY


def timeline(
    attempts: pd.DataFrame,
    connections: pd.DataFrame,
    stalls: pd.DataFrame,
    captures: pd.DataFrame,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw when each delivery was tried: its connection as captured, its stalls, and what the log says.

    Parameters
    ----------
    attempts, connections, stalls
        The tables of these names. What was captured at both ends of a path is one row.
    captures
        Table `captures`: by its `clock_offset` the captures' clocks are put right by the log's.
    ax
        Axes to draw on; by default those of a new figure. x is the time in UTC, y has a row for each
        connection or attempt without one, by server and time, the server with most failures at the top.
    """
    ax = axes(ax)
    offsets = captures.set_index("capture")["clock_offset"]
    seen = connections[[*KEY, *ENDS, "start", "end"]].merge(stalls[KEY].drop_duplicates(), "left")
    rows = _rows(_moved(seen, offsets), attempts)
    if rows.empty:
        return nothing(ax, "Neither a log nor a capture tells when a delivery was tried.")
    _draw_connections(ax, rows.dropna(subset="start"), _moved(stalls, offsets))
    _draw_attempts(ax, rows.dropna(subset="outcome"))
    _frame(ax, rows)
    ax.set_label(_in_words(rows, stalls))
    return ax


def _moved(frame: pd.DataFrame, offsets: pd.Series) -> pd.DataFrame:
    """Return times of the captures as the log's clock would have told them."""
    by = pd.to_timedelta(frame["capture"].map(offsets).astype(float).fillna(0), unit="s")
    return frame.assign(start=frame["start"] + by, end=frame["end"] + by)


def _rows(connections: pd.DataFrame, attempts: pd.DataFrame) -> pd.DataFrame:
    """Return connections with their attempts, each with the number of its row in the picture."""
    logged = attempts[[*KEY, "peer", "outcome", "end"]].rename(columns={"end": "logged"})
    every = connections.merge(logged.dropna(subset=KEY), on=KEY, how="left")
    every = pd.concat([every, logged[logged["stream"].isna()]], ignore_index=True)
    every["peer"] = every["server"].fillna(every["peer"]).fillna("this host")
    failures = every["outcome"].isin(["deferred", "failed"]).groupby(every["peer"]).transform("sum")
    every["first"] = every["start"].fillna(every["logged"])
    every = every.assign(failures=-failures).sort_values(["failures", "peer", "first"], kind="stable")
    number = every.groupby(ENDS, dropna=False, sort=False).ngroup()
    number = number.mask(every["start"].isna(), -1 - every.index.to_series())
    return every.assign(row=pd.factorize(number)[0])


def _draw_connections(ax: Axes, rows: pd.DataFrame, stalls: pd.DataFrame) -> None:
    strokes(
        ax,
        (_x(rows["start"]), rows["row"]),
        (_x(rows["end"]), rows["row"]),
        BLACK,
        linewidth=1,
        label="connection, as captured",
    )
    silent = stalls[[*KEY, "start", "end"]].merge(rows[[*KEY, "row"]].drop_duplicates(), on=KEY)
    begin, end = (_x(silent["start"]), silent["row"]), (_x(silent["end"]), silent["row"])
    strokes(ax, begin, end, VERMILLION, linewidth=4, alpha=0.6, label="it stalled")


def _draw_attempts(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw what the log says: white inside, to be seen on a stall in grey too."""
    for outcome, (marker, colour) in OUTCOMES.items():
        mine = rows[rows["outcome"] == outcome]
        label, style = f"log: {outcome} ({len(mine)})", {"markerfacecolor": "white", "markeredgewidth": 1.5}
        marks(ax, _x(mine["logged"]), mine["row"], marker, colour, label, **style)


def _x(times: pd.Series) -> pd.Series:
    """Return times as matplotlib counts them: days since 1970."""
    return pd.Series(dates.date2num(times.dt.tz_localize(None).to_numpy()), times.index)


def _frame(ax: Axes, rows: pd.DataFrame) -> None:
    ax.xaxis_date()
    locator = dates.AutoDateLocator(maxticks=7)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    ax.set_xlabel("time (UTC)")
    places = rows.groupby("peer", sort=False)["row"].agg(["min", "max"])
    for edge in places["max"].iloc[:-1][:MOST_PEERS]:
        ax.axhline(edge + 0.5, color=BLACK, linewidth=0.5, alpha=0.4)
    named = places.iloc[:MOST_PEERS]
    ax.set_yticks(named.mean(axis="columns"), [text(peer) for peer in named.index])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(rows["row"].max() + 0.8, -0.8)
    legend(ax)


def _in_words(rows: pd.DataFrame, stalls: pd.DataFrame) -> str:
    times = pd.concat([rows["start"], rows["logged"]])
    span = " to ".join(f"{time:%Y-%m-%d %H:%M:%S}" for time in (times.min(), times.max()))
    captured = rows.loc[rows["start"].notna(), "row"].nunique()
    told = [f"{count:,} {outcome}" for outcome, count in rows["outcome"].value_counts().items()]
    words = f"Timeline from {span} UTC: {captured:,} connections were captured"
    words += f", with {len(stalls):,} stalls" if len(stalls) else ", none stalled"
    return f"{words}; the log tells of {', '.join(told) or 'no attempt'}."
