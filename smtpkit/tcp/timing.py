"""When a connection was silent, and who was to speak."""

from __future__ import annotations

import pandas as pd

from smtpkit.tcp.following import FIN, RST


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
        last = tcp.loc[sent, ["connection", "time"]].drop_duplicates("connection", keep="last")
        found = found.join(last.set_index("connection")["time"].rename(f"last_{direction}"), how="outer")
    return found


def waiting(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return how much the client had sent since the server last said anything, and from when on.

    It needs no payload, so it tells of captures of headers, and of TLS, whether an answer was due.

    Parameters
    ----------
    tcp : DataFrame
        Packets as `connection.whole` returns them.
    """
    is_new = (tcp["tcp_len"] > 0) & ~tcp["retransmission"] & ~tcp["keep_alive"]
    new = tcp.loc[is_new, ["connection", "forward", "time", "tcp_len"]]
    asked, said = (_before_leaving(tcp, new, forward) for forward in (True, False))
    last = said.groupby("connection")["time"].last()
    open_ = asked[~(asked["time"].array <= last.reindex(asked["connection"]).array)].groupby("connection")
    started = tcp.groupby("connection")["time"].first()
    mute = ~started.index.isin([*asked["connection"], *said["connection"]])
    return pd.DataFrame(
        {
            "waiting_bytes": open_["tcp_len"].sum().reindex(started.index, fill_value=0),
            "waiting_since": open_["time"].first().reindex(started.index).fillna(started[mute]),
        }
    )


def _before_leaving(tcp: pd.DataFrame, new: pd.DataFrame, forward: bool) -> pd.DataFrame:
    """Return the payload of one side that was sent before the other had left.

    A client may close its side and wait on; that it was gone shows in the RST by which it answers.
    """
    ends = tcp[(tcp["flags"] & (FIN | RST) > 0) & (tcp["forward"] != forward)]
    if not forward:
        ends = ends[ends["connection"].isin(ends.loc[ends["flags"] & RST > 0, "connection"])]
    mine = new[new["forward"] == forward]
    left = ends.groupby("connection")["time"].first()
    return mine[~(mine["time"].array > left.reindex(mine["connection"]).array)]
