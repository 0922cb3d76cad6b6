"""The ladder of one SMTP session: what client and server said in turn, and where it ended."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from smtpkit.plot.canvas import BLACK, BLUE, GREEN, VERMILLION, axes, duration, nothing, text
from smtpkit.printable import printable

MOST_STEPS = 30  # the last ones: the end is what matters
MANY = ("RCPT", "BDAT")  # commands that follow each other, each with a reply of its own
LONG = 2.0  # seconds of silence worth a word


def smtp_ladder(
    dialogue: pd.DataFrame,
    transactions: pd.DataFrame,
    connections: pd.DataFrame,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw one session as arrows between client and server, downward in order of time.

    Commands stand with their verb and replies with their code: neither mailboxes nor texts are shown.

    Parameters
    ----------
    dialogue, transactions
        The tables of these names, of one connection; of many steps the last 30 are drawn.
    connections
        Table `connections`, the row of it.
    ax
        Axes to draw on; by default those of a new figure. y counts the steps.
    """
    if dialogue.empty or connections.empty:
        return nothing(
            axes(ax), "No capture shows an SMTP session in clear text: there is no ladder to draw."
        )
    steps = _steps(dialogue, transactions, connections.iloc[0]).tail(MOST_STEPS)
    ax = axes(ax, height=1.2 + 0.32 * len(steps))
    for at, step in enumerate(steps.itertuples()):
        _arrow(ax, at, step)
    _frame(ax, steps)
    ax.set_label(_in_words(steps))
    return ax


def _steps(dialogue: pd.DataFrame, transactions: pd.DataFrame, connection: pd.Series) -> pd.DataFrame:
    """Return a row for each step: `time`, `by`, `what`, and `wait` [s], the silence before it."""
    steps = pd.concat([_said(dialogue), _data(transactions), _end(connection)], ignore_index=True)
    steps = steps.sort_values("time", kind="stable")
    first = steps["time"].iloc[0]
    wait, since = steps["time"].diff().dt.total_seconds(), (steps["time"] - first).dt.total_seconds()
    return steps.assign(wait=wait.fillna(0), seconds=since)


def _said(dialogue: pd.DataFrame) -> pd.DataFrame:
    """Return commands and replies; the lines of one reply are one step."""
    code = dialogue["reply_code"].astype("string")
    verb, reply = dialogue["verb"].fillna("?"), dialogue["direction"] == "reverse"
    more = reply & reply.shift() & (verb == verb.shift()) & ~verb.isin(MANY)
    said = dialogue[~more.fillna(False).astype(bool)]
    command = verb.where(~reply, code.fillna("?"))[said.index]
    by = said["direction"].map({"forward": "client", "reverse": "server"})
    return pd.DataFrame({"time": said["time"], "by": by, "what": command.replace("end of data", "final dot")})


def _data(transactions: pd.DataFrame) -> pd.DataFrame:
    """Return the message data of each transaction, with what was acknowledged of it."""
    begun = transactions.dropna(subset=["start", "bytes_sent"])
    counts = zip(begun["bytes_sent"], begun["bytes_delivered"].fillna(0), strict=True)
    what = [f"{sent:,} bytes of message, {known:,} acknowledged" for sent, known in counts]
    return pd.DataFrame({"time": begun["start"], "by": "client", "what": what})


def _end(connection: pd.Series) -> pd.DataFrame:
    """Return who closed, and how; and the last packet, where it came long after all else."""
    names = [f"{flag}_{way}" for flag in ("fin", "rst") for way in ("forward", "reverse")]
    times = pd.to_datetime(connection[names]).dropna()
    rows = [(time, *_CLOSES[str(name)]) for name, time in times.items()]
    if not rows or (connection["end"] - times.max()).total_seconds() >= LONG:
        rows.append((connection["end"], "nobody", "last packet" if rows else "last packet, never closed"))
    return pd.DataFrame(rows, columns=["time", "by", "what"])


_CLOSES = {
    "fin_forward": ("client", "FIN: has no more to send"),
    "fin_reverse": ("server", "FIN: has no more to send"),
    "rst_forward": ("client", "RST: breaks off"),
    "rst_reverse": ("server", "RST: breaks off"),
}


def _arrow(ax: Axes, at: int, step: Any) -> None:
    """Draw one step; silence before it is told at the left."""
    begin, end = {"client": (0, 1), "server": (1, 0)}.get(step.by, (0.5, 0.5))
    colour = {"client": BLUE, "server": GREEN}.get(step.by, BLACK)
    style: dict[str, Any] = {
        "arrowstyle": "-|>",
        "color": colour,
        "linestyle": "-" if step.by == "client" else "--",
    }
    ax.annotate("", (end, at), (begin, at), arrowprops=style)
    ax.text(0.5, at - 0.06, text(step.what), ha="center", va="bottom")
    if begin != end:
        ax.plot([begin], [at], ".", color=colour)
    late = step.wait >= LONG
    words = f"{step.seconds:.1f} s" + (f"\n({duration(step.wait)} later)" if late else "")
    ax.text(-0.04, at, words, ha="right", va="center", color=VERMILLION if late else BLACK)


def _frame(ax: Axes, steps: pd.DataFrame) -> None:
    for side, name in ((0, "client"), (1, "server")):
        ax.axvline(side, color=BLACK, linewidth=1, zorder=0)
        ax.text(side, -0.95, name, ha="center", va="bottom")
    ax.set_xlim(-0.3, 1.05)
    ax.set_ylim(len(steps) - 0.4, -0.9)
    ax.set_axis_off()


def _in_words(steps: pd.DataFrame) -> str:
    begun = f"{steps['time'].iloc[0]:%Y-%m-%d %H:%M:%S}"
    said = [f"{step.by}: {printable(step.what)} at {step.seconds:.1f} s" for step in steps.itertuples()]
    return f"SMTP session from {begun} UTC on. {'; '.join(said)}."
