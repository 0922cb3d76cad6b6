"""What the receiver's window did to a connection (RFC 9293 3.8.6, RFC 7323 2)."""

from __future__ import annotations

import pandas as pd

from smtpkit.tcp.following import FLAG_ACK, RST, SYN

_DATA = ["connection", "relative_seq", "tcp_len", "retransmission", "spurious_retransmission"]


def zero_window(tcp: pd.DataFrame, connections: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return how long one direction had to wait at a window of 0, until it opened or the connection ended.

    Parameters
    ----------
    tcp : DataFrame
        Packets as `connection.whole` returns them.
    connections : DataFrame
        `end` by connection.
    direction : str
        Of the data; the window is the other side's.
    """
    seen = (tcp["forward"] != (direction == "forward")) & (tcp["flags"] & (SYN | RST) == 0)
    receiver = tcp.loc[seen, ["connection", "time", "window"]]
    until = receiver.groupby("connection")["time"].shift(-1)
    until = until.fillna(receiver["connection"].map(connections["end"]))
    waited = (until - receiver["time"]).dt.total_seconds().where(receiver["window"] == 0, 0.0)
    return pd.DataFrame({f"zero_window_time_{direction}": waited.groupby(receiver["connection"]).sum()})


def first_lost(tcp: pd.DataFrame, connections: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return where the first byte that had to be repeated lies, from the end of the unscaled window.

    A box that takes the window as it stands in the header drops what goes beyond: the position is then less
    than one segment below 0, or above. Only where both sides agreed on a scale is there such a difference.

    Parameters
    ----------
    tcp : DataFrame
        Packets as `connection.whole` returns them.
    connections : DataFrame
        The window scales by connection.
    direction : str
        Of the data.
    """
    forward = direction == "forward"
    back = (tcp["forward"] != forward) & (tcp["flags"] & FLAG_ACK > 0) & (tcp["flags"] & RST == 0)
    edge = (tcp["relative_ack"] + tcp["window"]).where(back).groupby(tcp["connection"]).ffill()
    sent = (tcp["forward"] == forward) & (tcp["tcp_len"] > 0) & (tcp["flags"] & (SYN | RST) == 0)
    data = tcp.loc[sent, _DATA].assign(edge=edge[sent])
    again = data[data["retransmission"] & ~data["spurious_retransmission"]]
    lost = again.drop_duplicates("connection").set_index("connection")["relative_seq"]
    at = data["connection"].map(lost)
    copies = data[(data["relative_seq"] <= at) & (at < data["relative_seq"] + data["tcp_len"])]
    copies = copies.drop_duplicates("connection").set_index("connection")
    position = (lost - copies["edge"]).astype("Float64").round()
    scales = connections[["window_scale_client", "window_scale_server"]]
    scaled = scales.notna().all(axis="columns") & (scales["window_scale_" + _receiver(direction)] > 0)
    return pd.DataFrame({f"lost_at_window_{direction}": position.where(scaled.reindex(position.index))})


def _receiver(direction: str) -> str:
    return "server" if direction == "forward" else "client"
