"""Follow both ends of each connection: analysis flags as Wireshark's, and which copies were delivered."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from smtpkit import forms, tables
from smtpkit.tcp import following
from smtpkit.tcp.following import ABSENT, FLAG_ACK, SYN
from smtpkit.tcp.fragments import segment_lengths

INTERPRETED_PACKETS = 30_000  # so many are followed before numba is worth its loading, or even its compiling
BATCH = 1 << 16  # packets followed at a time, unless a connection has more: their table stays in the cache
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
    found = _found(packets)
    marks, delivered = found["marks"], found["delivered"]
    directions = pd.Categorical.from_codes(found["forward"], pd.Index(["reverse", "forward"]))
    added = {
        "direction": pd.Series(directions, packets.index),
        "captured_twice": found["captured_twice"],
        "relative_seq": _nullable(found["relative_seq"], found["relative_seq"] == ABSENT),
        "relative_ack": _nullable(found["relative_ack"], found["relative_ack"] == ABSENT),
        **{name: _marked(marks, 1 << bit) for bit, name in enumerate(following.MARK_NAMES)},
        "offload": _offload(packets),
        "delivered": pd.arrays.BooleanArray(delivered == 1, delivered < 0),
        "bytes_in_flight": _nullable(found["bytes_in_flight"], found["bytes_in_flight"] < 0),
        "ack_rtt": pd.array(found["ack_rtt"], "Float32"),
    }
    frame = pd.DataFrame(added, packets.index, copy=False)
    columns = tables.conform(frame, "analysis").items()
    return packets.assign(**{str(name): column for name, column in columns})  # `concat` would copy them all


def _found(packets: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what `following` finds, each as small as it can be: -1, ABSENT or NaN where there is nothing."""
    size = len(packets)
    found = {
        "captured_twice": np.zeros(size, bool),
        "forward": np.full(size, -1, np.int8),
        "relative_seq": np.full(size, ABSENT),
        "relative_ack": np.full(size, ABSENT),
        "marks": np.zeros(size, np.uint16),
        "delivered": np.full(size, -1, np.int8),
        "bytes_in_flight": np.full(size, -1, np.int32),
        "ack_rtt": np.full(size, np.nan, np.float32),
    }
    columns, edges = _columns(packets)
    form = _form(size, int((columns["sacks"] > 0).sum()))
    for rows, bounds in _batches(packets, form):
        table = _table(columns, rows)
        twice = _captured_twice(form, table, bounds, edges)
        if twice.any():
            found["captured_twice"][rows[twice]] = True
            rows, table = rows[~twice], np.ascontiguousarray(table[:, ~twice])
            bounds = np.searchsorted(np.flatnonzero(~twice), bounds)
        values = _follow(form, table, bounds, edges)
        for name, of_packet in zip(following.FOUND_NAMES, values, strict=True):
            found[name][rows] = of_packet if found[name].dtype == np.int64 else _small(name, of_packet)
    return found


def _form(packets: int, sacks: int) -> SimpleNamespace:
    """Return the form that is worth it: SACK blocks are held against all that is in flight."""
    many = packets + 20 * sacks >= INTERPRETED_PACKETS
    return (forms.compiled if many else forms.interpreted)(following)


def _small(name: str, values: np.ndarray) -> np.ndarray:
    if name == "ack_rtt":
        return np.where(values == ABSENT, np.nan, values / following.SECOND)
    return np.clip(values, -1, 2**31 - 1)


def _batches(packets: pd.DataFrame, form: SimpleNamespace) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows of TCP packets, connection by connection, and where in them each connection begins.

    A damaged or cut header tells nothing.
    """
    tells = ~np.logical_or.reduce([packets[name].isna() for name in _NEEDED])
    stream = packets["stream"].to_numpy("int64", na_value=0)
    number = packets["capture"].to_numpy("int64", copy=True)
    number *= stream.max(initial=0) + 1
    number += stream
    sizes = np.bincount(number[tells])
    starts = np.cumsum(sizes) - sizes
    rows = np.empty(sizes.sum(), np.int64)
    form.group(*map(form.view, (number, tells.view(np.uint8), starts.copy(), rows)))
    starts = np.append(starts[sizes > 0], len(rows))
    first = 0
    while first < len(starts) - 1:
        last = max(int(np.searchsorted(starts, starts[first] + BATCH, "right")) - 1, first + 1)
        yield rows[starts[first] : starts[last]], starts[first : last + 1] - starts[first]
        first = last


def _columns(packets: pd.DataFrame) -> tuple[dict[str, pd.Series], np.ndarray]:
    """Return what `_table` picks rows of, with numbers for addresses; and the edges of all SACK blocks."""
    edges, blocks = sack_edges(packets["sack"])
    names = ("seq", "ack", "flags", "window", "tcp_len", "ttl", "ip_id", "ts_value", "window_scale")
    columns = {name: packets[name] for name in (*names, "src_port", "dst_port")}
    known = packets["src"].cat.categories.union(packets["dst"].cat.categories)
    for name in ("src", "dst"):
        numbers = known.get_indexer(packets[name].cat.categories).astype(np.int32)
        columns[name] = pd.Series(numbers[packets[name].cat.codes])
    columns["time"] = packets["time"].astype("int64")
    columns["segment_len"] = segment_lengths(packets.reset_index(drop=True))
    columns["options_cut"] = options_cut(packets)
    columns["sacks"] = pd.Series(blocks.astype(np.uint8))
    columns["sack_at"] = pd.Series((np.cumsum(blocks) - blocks).astype(np.int32))
    return columns, edges


def _table(columns: dict[str, pd.Series], rows: np.ndarray) -> np.ndarray:
    """Return the packets of these rows as `following` takes them."""
    picked = {name: column.iloc[rows].to_numpy("int64", na_value=-1) for name, column in columns.items()}
    for end, address, port in (("source", "src", "src_port"), ("target", "dst", "dst_port")):
        picked[end] = picked[address] << 16 | picked[port]
    return np.array([picked[name] for name in following.PACKET_NAMES])


def _captured_twice(
    form: SimpleNamespace, table: np.ndarray, bounds: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    twice = np.zeros(table.shape[1], np.uint8)
    slots = np.full(1 << (2 * table.shape[1]).bit_length(), -1)
    form.mark_captured_twice(
        *map(form.view, (table, bounds, edges, slots)), secrets.randbits(32), form.view(twice)
    )
    return twice.view(bool)


def _follow(form: SimpleNamespace, table: np.ndarray, bounds: np.ndarray, edges: np.ndarray) -> np.ndarray:
    found = np.full((len(following.FOUND_NAMES), table.shape[1]), ABSENT)
    room = (2, len(following.COPY), 2 * following.MOST_IN_FLIGHT)
    work = [np.zeros((2, following.SIDE), np.int64), np.empty(room, np.int64), np.empty(room, np.int64)]
    work.append(np.empty((2, following.MOST_BLOCKS), np.int64))
    form.follow(*map(form.view, [table, bounds, edges, found, *work]))
    return found


def _marked(marks: np.ndarray, bit: int) -> np.ndarray:
    flag = np.zeros(len(marks), bool)
    flag[np.flatnonzero(marks & bit)] = True  # most are rare: memory that is not written to takes no room
    return flag


def _nullable(values: np.ndarray, absent: np.ndarray) -> pd.arrays.IntegerArray:
    values[absent] = 0
    return pd.arrays.IntegerArray(values, absent)


# --- plain columns --------------------------------------------------------------------------------------


def sack_edges(sack: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of all SACK blocks, left ones above right ones, and each packet's number of blocks."""
    counts = sack.str.count("-").to_numpy("int64", na_value=0)
    edges = " ".join(sack[counts > 0]).replace("-", " ").split()
    return np.array(edges, np.int64).reshape(-1, 2).T.copy(), counts


def connection_starts(tcp: pd.DataFrame) -> np.ndarray:
    """Mark the first packet of each connection, in rows that lie connection by connection."""
    return (tcp[KEY].astype("int64").diff().fillna(1) != 0).any(axis="columns").to_numpy()


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
