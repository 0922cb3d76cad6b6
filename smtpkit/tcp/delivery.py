"""What each direction sent, what is known to have arrived, and from when on nothing did."""

from __future__ import annotations

import numpy as np
import pandas as pd

from smtpkit.tcp.following import FIN, FLAG_ACK, RST, SECOND, SYN, stall_threshold
from smtpkit.tcp.tracking import sack_edges

_SENT = ["connection", "time", "flags", "relative_seq", "tcp_len", "retransmission", "duplicate_ack"]


def volume(tcp: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return what one direction sent, as far as its sequence numbers tell, and what was acknowledged.

    Parameters
    ----------
    tcp : DataFrame
        Packets as `connection.whole` returns them.
    direction : str
        forward or reverse.
    """
    forward = direction == "forward"
    sent = tcp.loc[(tcp["forward"] == forward) & (tcp["flags"] & (SYN | RST) == 0), _SENT]
    back = tcp.loc[
        (tcp["forward"] != forward) & (tcp["flags"] & FLAG_ACK > 0), ["connection", "relative_ack"]
    ]
    key, reach = sent["connection"], sent["relative_seq"] + sent["tcp_len"]
    acked = back.groupby("connection")["relative_ack"].max()
    # An acknowledgment of the FIN counts one more than there are bytes.
    limit = reach[sent["flags"] & FIN > 0].groupby(key).max()
    ends = pd.DataFrame({"sent": reach.groupby(key).max(), "acked": acked, "limit": limit})
    ends["sent"] = ends[["sent", "acked"]].max(axis="columns")
    ends = ends.assign(**{name: ends[[name, "limit"]].min(axis="columns") for name in ("sent", "acked")})
    before = reach.groupby(key).cummax().groupby(key).shift(fill_value=-1)
    repeated = sent["retransmission"] & (sent["tcp_len"] > 0)
    again = (np.minimum(reach, before) - sent["relative_seq"]).clip(lower=0).where(repeated, 0)
    found = pd.DataFrame({f"bytes_sent_{direction}": (ends["sent"] - 1).clip(lower=0)})
    found[f"bytes_acknowledged_{direction}"] = (ends["acked"] - 1).where(ends["acked"] > 0, 0)
    found[f"retransmissions_{direction}"] = repeated.groupby(key).sum()
    found[f"bytes_retransmitted_{direction}"] = again.groupby(key).sum()
    found[f"duplicate_acks_{direction}"] = sent["duplicate_ack"].groupby(key).sum()
    if forward:
        new = (sent["tcp_len"] > 0) & (reach > before)
        found["last_new_forward"] = sent[new].groupby("connection")["time"].last()
    return found


def sack(tcp: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """Return how many packets bear SACK blocks, and how many bear edges outside of what was sent.

    A D-SACK (RFC 2883) lies below the acknowledgment, but within what was sent.

    Parameters
    ----------
    tcp : DataFrame
        Packets as `connection.whole` returns them.
    connections : DataFrame
        `handshake` by connection: without it the first byte is not known.
    """
    rows = tcp[tcp["sack"].notna() & (tcp["sack"] != "") & (tcp["flags"] & FLAG_ACK > 0)]
    outside = _edges_outside(rows, _reach(tcp), connections["handshake"] != "unseen")
    first = rows[outside.fillna(False).astype(bool)].drop_duplicates("connection").set_index("connection")
    found = pd.DataFrame({"sacks": rows.groupby("connection").size()}, index=connections.index)
    found["sack_outside"] = outside.groupby(rows["connection"]).sum(min_count=1)
    none = found["sacks"].isna()
    found["sack_outside_frame"] = first["frame"]
    return found.assign(
        sacks=found["sacks"].fillna(0), sack_outside=found["sack_outside"].mask(none, 0).astype("Int64")
    )


def _reach(tcp: pd.DataFrame) -> pd.Series:
    """Return the end of what each side of each connection sent, by connection and `forward`; RST apart."""
    sent = tcp.loc[tcp["flags"] & RST == 0, ["connection", "forward", "relative_seq", "tcp_len", "flags"]]
    return (sent["relative_seq"] + _length(sent)).groupby([sent["connection"], sent["forward"]]).max()


def _length(tcp: pd.DataFrame) -> pd.Series:
    """Return how many sequence numbers each packet takes: SYN and FIN take one (RFC 9293 3.4)."""
    return tcp["tcp_len"] + (tcp["flags"] & SYN > 0) + (tcp["flags"] & FIN > 0)


def _edges_outside(rows: pd.DataFrame, reach: pd.Series, begun: pd.Series) -> pd.Series:
    """Say which packets have a SACK edge that the other side never sent; <NA> if it was not captured."""
    edges, counts = sack_edges(rows["sack"].astype("string"))
    of_block = np.repeat(np.arange(len(rows)), counts)
    away = (edges - rows["ack"].to_numpy("int64")[of_block] + 2**31) % 2**32 - 2**31
    blocks = pd.DataFrame((rows["relative_ack"].to_numpy()[of_block] + away).T, columns=["left", "right"])
    relative = pd.DataFrame({"min": blocks.min(axis=1), "max": blocks.max(axis=1)})
    relative = relative.groupby(of_block).agg({"min": "min", "max": "max"})
    other = pd.MultiIndex.from_arrays([rows["connection"], ~rows["forward"]])
    end = pd.Series(reach.reindex(other).to_numpy(), rows.index)
    low, high = (pd.Series(relative[name].to_numpy(), rows.index) for name in ("min", "max"))
    outside = (high > end) | ((low < 1) & rows["connection"].map(begun))
    return outside.astype("boolean").mask(end.isna())


def dead(tcp: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """Return from when on nothing passed any more, and what was sent in vain since.

    A packet that demands an answer (data, SYN, FIN, keep-alive, window probe) is known to have arrived if it
    was acknowledged, or if the other side sent a bare acknowledgment or a RST at any time after it: these
    come of packets that arrive. What follows the last such packet, of either side, was in vain. It must have
    gone on for a stall's time (`stall_threshold`), else nobody knows yet. Where one side was not captured,
    nothing can be said.

    Parameters
    ----------
    tcp : DataFrame
        Packets as `connection.whole` returns them.
    connections : DataFrame
        `end` and `initial_rtt` by connection.
    """
    demanding = (_length(tcp) > 0) | tcp["keep_alive"] | tcp["zero_window_probe"]
    demanding &= tcp["flags"] & RST == 0
    last_arrived = _known_arrivals(tcp).groupby(tcp["connection"]).max()
    vain = tcp[demanding & (tcp.index > tcp["connection"].map(last_arrived))]
    since = vain.groupby("connection")["time"].first()
    lasted = (connections["end"] - since).dt.total_seconds() * SECOND
    rtt = connections["initial_rtt"].reindex(lasted.index)
    patience = rtt.map(lambda rtt: stall_threshold(round(rtt * SECOND)), na_action="ignore")
    too_short = lasted < patience.fillna(stall_threshold(0))
    one_sided = tcp.groupby("connection")["forward"].nunique() < 2
    unknown = one_sided | too_short.reindex(one_sided.index, fill_value=False)
    found = pd.DataFrame({"dead_from": since.reindex(connections.index).mask(unknown)})
    for direction, sent in (("forward", vain["forward"]), ("reverse", ~vain["forward"])):
        rows = vain[sent]
        sizes = rows[~rows["offload"]].groupby("connection")["ip_len"]
        count = rows.groupby("connection").size().reindex(found.index, fill_value=0)
        found[f"dead_packets_{direction}"] = count.astype("Int64").mask(unknown)
        found[f"dead_smallest_{direction}"] = sizes.min().reindex(found.index).mask(unknown)
        found[f"dead_largest_{direction}"] = sizes.max().reindex(found.index).mask(unknown)
    return found


def _known_arrivals(tcp: pd.DataFrame) -> pd.Series:
    """Return each packet's own row where it is known to have arrived, else -1."""
    length, connection = _length(tcp), tcp["connection"]
    row = pd.Series(np.arange(len(tcp)), tcp.index)
    probe = tcp["keep_alive"] | tcp["zero_window_probe"]
    answers = ((tcp["flags"] & FLAG_ACK > 0) & (length == 0) & ~probe) | (tcp["flags"] & RST > 0)
    arrived = tcp["delivered"].fillna(False).astype(bool)
    for forward in (True, False):
        mine = tcp["forward"] == forward
        later_ack = tcp["relative_ack"].where(~mine, -1)[::-1].groupby(connection[::-1]).cummax()[::-1]
        last_answer = connection.map(row[answers & ~mine].groupby(connection).max())
        acknowledged = (length > 0) & (tcp["relative_seq"] + length <= later_ack)
        arrived |= mine & (acknowledged | (row < last_answer))
    return row.where(arrived, -1)
