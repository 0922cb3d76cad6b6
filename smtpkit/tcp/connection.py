"""One row for each connection, and where a capture was taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from smtpkit import tables
from smtpkit.tcp.tracking import ACK, FIN, KEY, RST, SYN

INITIAL_TTL = (64, 128, 255)  # what systems send with
SHORTEST_RTT = 0.0005  # s; below, the hosts' own delays decide


def connections(packets: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each TCP connection.

    Parameters
    ----------
    packets : DataFrame
        Tables `packets` and `analysis` side by side.

    Returns
    -------
    DataFrame
        Table `connections`, in order of capture and stream.
    """
    tcp = packets[packets["direction"].notna()]
    if tcp.empty:
        return tables.empty("connections")
    whole = tcp.groupby(KEY, observed=True).agg(
        start=("time", "first"),
        end=("time", "last"),
        packets=("time", "size"),
        file=("file", "first"),
        frame=("frame", "first"),
    )
    for part in (_ends(tcp), _handshake(tcp), _ending(tcp), _bytes(tcp, "forward"), _bytes(tcp, "reverse")):
        whole = whole.join(part)
    whole["checksum_offload"] = _checksum_offload(tcp)
    for direction in ("forward", "reverse"):
        whole = whole.join(_around(packets, whole, direction))
    return tables.conform(whole.reset_index(), "connections")


def _ends(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return who is who, from the first packet of each connection, and each end's TTL."""
    first = tcp.groupby(KEY, observed=True).first()
    forward = first["direction"] == "forward"
    ends = pd.DataFrame(index=first.index)
    for end, near, far in (("client", "src", "dst"), ("server", "dst", "src")):
        ends[end] = first[near].astype("string").where(forward, first[far].astype("string"))
        ends[f"{end}_port"] = first[f"{near}_port"].where(forward, first[f"{far}_port"])
    for end, direction in (("client", "forward"), ("server", "reverse")):
        sent = tcp[tcp["direction"] == direction].groupby(KEY, observed=True)
        ends[f"ttl_{end}"] = sent["ttl"].first().astype("UInt8")
    return ends


def _handshake(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return how the handshake went, what both ends offered in it, and its times (RFC 9293 3.5)."""
    is_syn, is_ack = tcp["flags"] & SYN > 0, tcp["flags"] & ACK > 0
    syn, syn_ack = (tcp[mask].groupby(KEY, observed=True) for mask in (is_syn & ~is_ack, is_syn & is_ack))
    client_ack = tcp[~is_syn & is_ack & (tcp["direction"] == "forward")].groupby(KEY, observed=True)
    refused = tcp[(tcp["flags"] & RST > 0) & (tcp["direction"] == "reverse")].groupby(KEY, observed=True)
    found = pd.DataFrame(index=tcp.groupby(KEY, observed=True).size().index)
    for end, side in (("client", syn), ("server", syn_ack)):
        found[f"mss_{end}"], found[f"window_scale_{end}"] = side["mss"].first(), side["window_scale"].first()
    times = pd.DataFrame({"syn": syn["time"].first(), "syn_ack": syn_ack["time"].first()}, index=found.index)
    times["ack"] = client_ack["time"].first()
    seen = times.notna()
    found["syn_rtt"] = (times["syn_ack"] - times["syn"]).dt.total_seconds()
    found["initial_rtt"] = (times["ack"] - times["syn"]).dt.total_seconds().where(seen["syn_ack"])
    found["handshake"] = np.select(
        [seen["syn_ack"], seen["syn"] & found.index.isin(refused.size().index), seen["syn"]],
        ["complete", "refused", "unanswered"],
        "unseen",
    )
    found["client_known_by"] = np.where(seen["syn"] | seen["syn_ack"], "SYN", "port")
    return found


def _ending(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return the first FIN or RST: who sent it, and which it was."""
    end = tcp[tcp["flags"] & (FIN | RST) > 0].groupby(KEY, observed=True).first()
    ended = pd.DataFrame(index=tcp.groupby(KEY, observed=True).size().index)
    ended["ended_by"] = end["direction"].map({"forward": "client", "reverse": "server"}).astype("string")
    ended["ended_how"] = (end["flags"] & RST > 0).map({True: "RST", False: "FIN"}).astype("string")
    return ended.fillna({"ended_how": "silence"})


def _checksum_offload(tcp: pd.DataFrame) -> pd.Series:
    """Name the ends whose packets mostly have checksums left to the network card."""
    index = tcp.groupby(KEY, observed=True).size().index
    client, server = (
        (tcp[tcp["direction"] == direction].groupby(KEY, observed=True)["checksum_offload"].mean() > 0.5)
        .reindex(index, fill_value=False)
        .to_numpy()
        for direction in ("forward", "reverse")
    )
    ends = np.select([client & server, client, server], ["both", "client", "server"], "")
    return pd.Series(ends, index, dtype="string").mask(ends == "")


def _bytes(tcp: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return what one direction sent, as far as its sequence numbers tell, and what was acknowledged."""
    sent = tcp[(tcp["direction"] == direction) & (tcp["flags"] & (SYN | RST) == 0)]
    back = tcp[(tcp["direction"] != direction) & (tcp["flags"] & ACK > 0)]
    reach, data = sent["relative_seq"] + sent["tcp_len"], sent["tcp_len"] > 0
    key = [sent[k] for k in KEY]
    acked = back.groupby(KEY, observed=True)["relative_ack"].max()
    # An acknowledgment of the FIN counts one more than there are bytes.
    limit = reach[sent["flags"] & FIN > 0].groupby(key).max()
    ends = pd.DataFrame({"sent": reach.groupby(key).max(), "acked": acked, "limit": limit})
    ends["sent"] = ends[["sent", "acked"]].max(axis="columns")
    ends = ends.assign(**{name: ends[[name, "limit"]].min(axis="columns") for name in ("sent", "acked")})
    new = data & (reach > reach.groupby(key).cummax().groupby(key).shift(fill_value=-1))
    repeated = sent["retransmission"] & data
    found = pd.DataFrame({f"bytes_sent_{direction}": (ends["sent"] - 1).clip(lower=0)})
    found[f"bytes_acknowledged_{direction}"] = (ends["acked"] - 1).where(ends["acked"] > 0, 0)
    found[f"retransmissions_{direction}"] = repeated.groupby(key).sum()
    if direction == "forward":
        found["last_new_forward"] = sent[new].groupby(KEY, observed=True)["time"].last()
    return found


def _around(packets: pd.DataFrame, whole: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return the ICMP too-big messages and later fragments that belong to one direction (RFC 1191, 8201)."""
    sender = whole["client" if direction == "forward" else "server"]
    found = pd.DataFrame(index=whole.index)
    tied = packets[packets["stream"].notna() & packets["direction"].isna()]
    tied = tied.join(sender.rename("sender"), on=KEY)
    too_big = tied[is_too_big(tied) & (tied["dst"].astype("string") == tied["sender"])].groupby(KEY)
    later = tied[(tied["fragment_offset"] > 0) & (tied["src"].astype("string") == tied["sender"])].groupby(
        KEY
    )
    found[f"too_big_{direction}"] = too_big.size()
    found[f"next_hop_mtu_{direction}"] = too_big["next_hop_mtu"].min()
    found[f"first_too_big_{direction}"] = too_big["time"].min()
    found[f"fragments_{direction}"] = later.size()
    return found.fillna({f"too_big_{direction}": 0, f"fragments_{direction}": 0})


def is_too_big(packets: pd.DataFrame) -> pd.Series:
    """Mark ICMP "fragmentation needed" (RFC 1191) and ICMPv6 "Packet Too Big" (RFC 8201)."""
    needed = (packets["ip_protocol"] == 1) & (packets["icmp_type"] == 3) & (packets["icmp_code"] == 4)
    too_big = (packets["ip_protocol"] == 58) & (packets["icmp_type"] == 2)
    return (needed | too_big).fillna(False).astype(bool)


def vantage(connections: pd.DataFrame) -> tuple[Any, Any]:
    """Tell where a capture was taken: at the client, the server, or between; <NA> if undecided.

    Packets whose checksum is left to the network card are seen on the host that sends them, and nowhere else.
    Else the handshake tells: near the client nearly all of the initial RTT lies between SYN and SYN-ACK, near
    the server next to nothing. Else the TTL: no router has counted down that of the end which is near.

    Parameters
    ----------
    connections : DataFrame
        Table `connections`, rows of one capture.

    Returns
    -------
    tuple
        client, server, between or <NA>; and why, in a sentence.
    """
    local = set(connections["checksum_offload"].dropna())
    if local in ({"client"}, {"server"}):
        place = local.pop()
        return place, f"the {place}'s packets have checksums that its network card is to fill in"
    known = connections.dropna(subset=["syn_rtt", "initial_rtt"])
    known = known[known["initial_rtt"] >= SHORTEST_RTT]
    if known.empty:
        return _vantage_by_ttl(connections)
    share = float((known["syn_rtt"] / known["initial_rtt"]).median())
    place = "client" if share > 0.8 else "server" if share < 0.2 else "between"
    return place, f"{share:.0%} of the round trip lies between SYN and SYN-ACK ({len(known)} handshakes)"


def _vantage_by_ttl(connections: pd.DataFrame) -> tuple[Any, Any]:
    near = {end: connections[f"ttl_{end}"].dropna().isin(INITIAL_TTL) for end in ("client", "server")}
    seen = all(len(initial) for initial in near.values())
    places = [end for end, initial in near.items() if initial.all()]
    if seen and len(places) == 1 and not all(near[end].any() for end in near):
        return places[
            0
        ], f"no router has counted down the TTL of the {places[0]}'s packets, unlike the other's"
    return pd.NA, "no handshake with a round trip long enough to tell is in the capture"
