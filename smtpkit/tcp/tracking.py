"""Follow both ends of each connection: analysis flags as Wireshark's, and which copies were delivered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from smtpkit import forms, tables
from smtpkit.tcp import following
from smtpkit.tcp.following import ABSENT, FIN, FLAG_ACK, RST, SYN
from smtpkit.tcp.fragments import segment_lengths

SAME_PACKET_WITHIN = 10_000_000  # ns; the network repeats packets too, but later
SAME_WITHOUT_ID_WITHIN = 1_000_000  # ns; without an identification (RFC 6864) only so close
SAME_BARE_ACK_WITHIN = 50_000  # ns; and a bare ACK only where what tells more was captured twice
INTERPRETED_PACKETS = 30_000  # so many are followed before numba is worth its loading, or even its compiling
KEY = ["capture", "stream"]
_NEEDED = ["stream", "src_port", "dst_port", "seq", "ack", "flags", "window", "tcp_len"]
_ETHERNET_MTU = 1500


def analysis(packets: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of the table `analysis` to packets.

    The flags follow Wireshark's rules (tcp.analysis.*). `delivered` goes by ACK and SACK (RFC 2018): of
    several copies of a byte the last one that can have caused the acknowledgment counts as delivered, unless
    a D-SACK (RFC 2883) says that more arrived. Round trips are measured where nothing in flight was sent
    twice (Karn; RFC 6298 3).

    Parameters
    ----------
    packets : DataFrame
        Table `packets`, each capture in time order.

    Returns
    -------
    DataFrame
        The same rows; ``False`` or ``<NA>`` in the new columns where there is no TCP.
    """
    rows = _rows(packets)
    twice = _captured_twice(packets.iloc[rows])
    found = np.full((len(following.FOUND), len(packets)), ABSENT)
    found[following.MARKS] = 0
    once = rows[~twice]
    whole = packets.reset_index(drop=True)
    whole["tcp_len"] = segment_lengths(whole)
    found[:, once] = _follow(whole.iloc[once])
    forward, marks = found[following.FORWARD], found[following.MARKS]
    rtt = found[following.ACK_RTT]
    added = {
        "direction": pd.Series(np.select([forward == 1, forward == 0], ["forward", "reverse"], "")),
        "captured_twice": np.isin(np.arange(len(packets)), rows[twice]),
        "relative_seq": _integers(found[following.RELATIVE_SEQ]),
        "relative_ack": _integers(found[following.RELATIVE_ACK]),
        **{name: marks >> bit & 1 == 1 for bit, name in enumerate(following.MARK_NAMES)},
        "delivered": _integers(found[following.DELIVERED]).astype("boolean"),
        "bytes_in_flight": _integers(np.minimum(found[following.IN_FLIGHT], 2**31 - 1)),
        "ack_rtt": pd.array(np.where(rtt == ABSENT, np.nan, rtt / following.SECOND), "Float32"),
    }
    frame = pd.DataFrame(added).set_index(packets.index)
    frame["direction"] = frame["direction"].astype("string").mask(frame["direction"] == "")
    frame["offload"] = _offload(packets)
    return pd.concat([packets, tables.conform(frame, "analysis")], axis="columns")


def _rows(packets: pd.DataFrame) -> np.ndarray:
    """Return the TCP packets' rows, connection by connection; a damaged or cut header tells nothing."""
    rows = np.flatnonzero(packets[_NEEDED].notna().all(axis="columns").to_numpy())
    tcp = packets.iloc[rows]
    return rows[np.lexsort((tcp["stream"].to_numpy("int64"), tcp["capture"].to_numpy("int64")))]


def _follow(tcp: pd.DataFrame) -> np.ndarray:
    """Return what `following` finds of packets that lie connection by connection."""
    source, target = _ends(tcp)
    edges, blocks = sack_edges(tcp["sack"])
    columns = [tcp["time"].astype("int64"), source, target]
    columns += [tcp[name].to_numpy("int64") for name in ("seq", "ack", "flags", "window", "tcp_len")]
    columns += [tcp["window_scale"].to_numpy("int64", na_value=-1), options_cut(tcp)]
    columns += [np.cumsum(blocks) - blocks, blocks]
    table = np.array(columns, np.int64).reshape(len(following.PACKET), len(tcp))
    found = np.full((len(following.FOUND), len(tcp)), ABSENT)
    if len(tcp):
        bounds = np.append(np.flatnonzero(connection_starts(tcp)), len(tcp))
        room = (2, len(following.COPY), 2 * following.MOST_IN_FLIGHT)
        work = [np.zeros((2, following.SIDE), np.int64), np.empty(room, np.int64), np.empty(room, np.int64)]
        work.append(np.empty((2, following.MOST_BLOCKS), np.int64))
        form = _form(len(tcp), int((blocks > 0).sum()))
        form.follow(*map(form.view, [table, bounds, edges, found, *work]))
    return found


def _form(packets: int, sacks: int) -> SimpleNamespace:
    """Return the form that is worth it: SACK blocks are held against all that is in flight."""
    many = packets + 20 * sacks >= INTERPRETED_PACKETS
    return (forms.compiled if many else forms.interpreted)(following)


def _ends(tcp: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return source and target as numbers: the address's number, and the port in the lowest 16 bits."""
    both = pd.concat([tcp["src"].astype(object), tcp["dst"].astype(object)])
    source, target = np.split(pd.factorize(both)[0] << 16, 2)
    return source | tcp["src_port"].to_numpy("int64"), target | tcp["dst_port"].to_numpy("int64")


def sack_edges(sack: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of all SACK blocks, left ones above right ones, and each packet's number of blocks."""
    counts = sack.str.count("-").to_numpy("int64", na_value=0)
    edges = " ".join(sack[counts > 0]).replace("-", " ").split()
    return np.array(edges, np.int64).reshape(-1, 2).T.copy(), counts


def connection_starts(tcp: pd.DataFrame) -> np.ndarray:
    """Mark the first packet of each connection, in rows that lie connection by connection."""
    return (tcp[KEY].astype("int64").diff().fillna(1) != 0).any(axis="columns").to_numpy()


def _integers(values: np.ndarray) -> pd.Series:
    absent = values == ABSENT
    return pd.Series(pd.arrays.IntegerArray(np.where(absent, 0, values), absent))


# --- captured twice -------------------------------------------------------------------------------------


def _captured_twice(tcp: pd.DataFrame) -> np.ndarray:
    """Mark packets that were captured again (`any`, bridge, VLAN, SPAN, router)."""
    # All that a sender makes anew when it sends a segment again is the identification.
    key = ["ip_id", "ts_value", "sack", "seq", "ack", "flags", "window", "tcp_len", "src", "src_port", *KEY]
    twice = np.zeros(len(tcp), bool)
    alike = np.flatnonzero(tcp.duplicated(key, keep=False))
    packets = tcp.iloc[alike]
    same = packets.groupby(key, dropna=False, sort=False, observed=True).ngroup()
    number = packets.groupby(KEY, sort=False).ngroup()
    columns = [packets["time"].astype("int64"), packets["ip_id"].fillna(0)]
    columns += [packets[name] for name in ("tcp_len", "flags", "ttl")]
    before: dict[int, Any] = {}
    copies = set()
    rows = zip(alike, same, number, *(column.tolist() for column in columns), strict=True)
    for row, header, connection, time, ip_id, tcp_len, flags, ttl in rows:
        if header in before:
            first, first_ttl = before[header]
            within = _same_within(ip_id, tcp_len, flags, ttl == first_ttl - 1, connection in copies)
            if abs(time - first) <= within:
                twice[row] = True
                copies.add(connection)
                continue
        before[header] = time, ttl
    return twice


def _same_within(ip_id: int, tcp_len: int, flags: int, passed_router: bool, copies: bool) -> int:
    """Return how far apart two packets that are alike may be and still be one, in ns."""
    if ip_id:
        return SAME_PACKET_WITHIN
    if tcp_len or flags & (SYN | FIN | RST) or passed_router:
        return SAME_WITHOUT_ID_WITHIN
    return SAME_BARE_ACK_WITHIN if copies else -1


# --- plain columns --------------------------------------------------------------------------------------


def options_cut(tcp: pd.DataFrame) -> pd.Series:
    """Mark TCP packets of which the snap length left out some of the header's options."""
    return (tcp["frame_len"] - tcp["tcp_len"] > tcp["captured_len"]).fillna(False).astype(bool)


def values(column: pd.Series) -> list[Any]:
    """Return a column as plain Python values, None where it is <NA>."""
    return column.astype(object).where(column.notna(), None).tolist()


def client_of(src: tuple[str, int], dst: tuple[str, int], flags: int) -> tuple[str, int]:
    """Return which end of a packet is the client: by SYN, else by the server's port."""
    if flags & SYN:
        return dst if flags & FLAG_ACK else src
    if src[1] in tables.SMTP_PORTS:
        return dst
    if dst[1] in tables.SMTP_PORTS:
        return src
    return max(src, dst, key=lambda end: end[1])


def _offload(packets: pd.DataFrame) -> pd.Series:
    """Mark packets that the MSS of either end does not allow (RFC 6691: options count against it)."""
    smallest = packets.groupby(KEY, observed=True)["mss"].transform("min").astype("Float64")
    segment = packets["tcp_len"] + packets["tcp_header_len"] - 20
    allowed = smallest.fillna(_ETHERNET_MTU - 40)
    return ((segment > allowed) & (packets["tcp_len"] > 0)).fillna(False).astype(bool)
