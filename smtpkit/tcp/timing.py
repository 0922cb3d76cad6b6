"""When a connection was silent."""

from __future__ import annotations

import pandas as pd


def pauses(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return each connection's longest pause, and when each side was last heard.

    Parameters
    ----------
    tcp : DataFrame
        Packets as `connection.whole` returns them.
    """
    before = tcp.groupby("connection")["time"].shift()
    pause = (tcp["time"] - before).dt.total_seconds()
    longest = pause.dropna().groupby(tcp["connection"]).idxmax()
    found = pd.DataFrame({"max_pause": longest.map(pause), "pause_start": longest.map(before)})
    for direction, sent in (("forward", tcp["forward"]), ("reverse", ~tcp["forward"])):
        last = tcp[sent].drop_duplicates("connection", keep="last").set_index("connection")["time"]
        found = found.join(last.rename(f"last_{direction}"), how="outer")
    return found
