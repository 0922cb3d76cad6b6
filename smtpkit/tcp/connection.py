"""One row for each connection, and where a capture was taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from smtpkit import tables
from smtpkit.tcp.delivery import dead, sack, volume
from smtpkit.tcp.ending import INITIAL_TTL, closing, reset
from smtpkit.tcp.following import FLAG_ACK, RST, SYN
from smtpkit.tcp.related import related
from smtpkit.tcp.timing import pauses, waiting
from smtpkit.tcp.tracking import KEY
from smtpkit.tcp.window import first_lost, zero_window

SHORTEST_RTT = 0.0005  # s; below, the hosts' own delays decide
ECN_ECHO, ECN = 0x40, 0xC0  # ECE; ECE and CWR
_NEEDED = [
    *(*KEY, "file", "frame", "time", "src", "dst", "src_port", "dst_port", "direction", "ttl", "ip_id"),
    *("ip_len", "tcp_len", "flags", "window", "ack", "relative_seq", "relative_ack", "mss", "window_scale"),
    *("sack_permitted", "sack", "ts_value", "retransmission", "spurious_retransmission", "duplicate_ack"),
    *("keep_alive", "zero_window_probe", "offload", "delivered", "checksum_offload"),
]


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
    tcp = whole(packets)
    if tcp.empty:
        return tables.empty("connections")
    found = tcp.groupby("connection").agg(
        capture=("capture", "first"),
        stream=("stream", "first"),
        start=("time", "first"),
        end=("time", "last"),
        packets=("time", "size"),
        file=("file", "first"),
        frame=("frame", "first"),
    )
    found = found.join([_ends(tcp), _handshake(tcp), _checksum_offload(tcp)])
    parts: list[pd.DataFrame | pd.Series] = [
        closing(tcp, found),
        reset(tcp),
        pauses(tcp),
        waiting(tcp),
        sack(tcp, found),
        dead(tcp, found),
    ]
    for direction in ("forward", "reverse"):
        parts += [volume(tcp, direction), zero_window(tcp, found, direction)]
        parts += [first_lost(tcp, found, direction)]
    found = found.join(parts)
    return tables.conform(found.join(related(packets, found)).reset_index(drop=True), "connections")


def whole(packets: pd.DataFrame) -> pd.DataFrame:
    """Return the TCP packets, connection by connection, in numpy's dtypes where nothing can be absent.

    They are numbered by `connection`, `forward` tells their direction, and `relative_ack` is -1 without ACK.
    """
    tcp = packets.loc[packets["direction"].notna(), _NEEDED]
    tcp = tcp.assign(
        connection=tcp.groupby(KEY).ngroup(),
        forward=(tcp["direction"] == "forward").astype(bool),
        relative_ack=tcp["relative_ack"].fillna(-1),
    )
    tcp = tcp.drop(columns="direction").astype({"sack": object})  # pandas picks rows of text slowly
    tcp = tcp.astype(dict.fromkeys(("relative_seq", "relative_ack", "tcp_len", "flags", "window"), "int64"))
    return tcp.sort_values("connection", kind="stable", ignore_index=True)


def _ends(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return who is who, from the first packet of each connection, and each end's TTL."""
    first = tcp.drop_duplicates("connection").set_index("connection")
    ends = pd.DataFrame(index=first.index)
    for end, near, far in (("client", "src", "dst"), ("server", "dst", "src")):
        ends[end] = first[near].astype("string").where(first["forward"], first[far].astype("string"))
        ends[f"{end}_port"] = first[f"{near}_port"].where(first["forward"], first[f"{far}_port"])
    for end, sent in (("client", tcp["forward"]), ("server", ~tcp["forward"])):
        of_end = tcp.loc[sent, ["connection", "ttl"]].drop_duplicates("connection").set_index("connection")
        ends[f"ttl_{end}"] = of_end["ttl"].astype("UInt8")
    return ends


def _handshake(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return how the handshake went, what both ends offered in it, and its times (RFC 9293 3.5)."""
    is_syn, is_ack = tcp["flags"] & SYN > 0, tcp["flags"] & FLAG_ACK > 0
    syn, syn_ack = _offers(tcp[is_syn & ~is_ack]), _offers(tcp[is_syn & is_ack])
    acks = tcp.loc[~is_syn & is_ack & tcp["forward"], ["connection", "time"]]
    client_ack = acks.drop_duplicates("connection").set_index("connection")
    refused = tcp.loc[(tcp["flags"] & RST > 0) & ~tcp["forward"], "connection"]
    found = pd.DataFrame(index=pd.RangeIndex(tcp["connection"].iloc[-1] + 1, name="connection"))
    for end, side in (("client", syn), ("server", syn_ack)):
        found[f"mss_{end}"], found[f"window_scale_{end}"] = side["mss"], side["window_scale"]
    for option in ("sack_permitted", "timestamps"):
        found[option] = (syn[option] & syn_ack[option].reindex(found.index)).reindex(found.index)
    found["ecn_offered"] = (syn["flags"] & ECN == ECN).astype("boolean")
    echoed = (syn_ack["flags"] & ECN == ECN_ECHO).astype("boolean").reindex(found.index)
    found["ecn"] = found["ecn_offered"] & echoed
    found["syns"] = syn["sent"].reindex(found.index, fill_value=0)
    times = pd.DataFrame({"syn": syn["time"], "syn_ack": syn_ack["time"]}, index=found.index)
    times["ack"] = client_ack["time"]
    seen = times.notna()
    found["syn_rtt"] = (times["syn_ack"] - times["syn"]).dt.total_seconds()
    found["initial_rtt"] = (times["ack"] - times["syn"]).dt.total_seconds().where(seen["syn_ack"])
    found["handshake"] = np.select(
        [
            seen["syn_ack"],
            seen["syn"] & found.index.isin(refused),
            seen["syn"] & ~seen["ack"],  # whoever goes on has had an answer
        ],
        ["complete", "refused", "unanswered"],
        "unseen",
    )
    found["client_known_by"] = np.where(seen["syn"] | seen["syn_ack"], "SYN", "port")
    return found


def _checksum_offload(tcp: pd.DataFrame) -> pd.Series:
    """Name the ends whose packets mostly have checksums left to the network card."""
    index = pd.RangeIndex(tcp["connection"].iloc[-1] + 1, name="connection")
    client, server = (
        tcp.loc[sent, "checksum_offload"].groupby(tcp["connection"]).mean().reindex(index, fill_value=0) > 0.5
        for sent in (tcp["forward"], ~tcp["forward"])
    )
    ends = np.select([client & server, client, server], ["both", "client", "server"], "")
    return pd.Series(ends, index, dtype="string", name="checksum_offload").replace("", pd.NA)


def _offers(syns: pd.DataFrame) -> pd.DataFrame:
    """Return what one side's SYNs say; options that the snap length cut off stay <NA>."""
    known = syns["sack_permitted"].notna()
    stamped = syns["ts_value"].notna().astype("boolean")
    syns = syns.assign(timestamps=stamped.where(stamped | known))
    offers = syns.groupby("connection")[["time", "flags", "mss", "window_scale", "sack_permitted"]].first()
    offers["timestamps"] = syns.groupby("connection")["timestamps"].first()
    return offers.assign(sent=syns.groupby("connection").size())


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
