"""Follow both ends of each connection: analysis flags as Wireshark's, and which copies were delivered."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from smtpkit import forms, tables
from smtpkit.tables import KEY
from smtpkit.tcp import following
from smtpkit.tcp.following import ABSENT, FLAG_ACK, SYN
from smtpkit.tcp.fragments import segment_lengths

INTERPRETED_PACKETS = 30_000  # so many are followed before numba is worth its loading, or even its compiling
BATCH = 1 << 16  # packets followed at a time, unless a connection has more: their table stays in the cache
MOST_THREADS = min(os.cpu_count() or 1, 8)  # each has a table of its own
_NEEDED = ["stream", "src_port", "dst_port", "seq", "ack", "flags", "window", "tcp_len"]
# What `following` takes as it is: of packets that tell anything all of the first are there.
_PRESENT = {
    **{"seq": "uint32", "ack": "uint32", "flags": "uint16", "window": "uint16", "tcp_len": "int32"},
    **{"src_port": "uint16", "dst_port": "uint16", "ttl": "uint8"},
}
_OR_ABSENT = {"ip_id": "int32", "ts_value": "int64", "window_scale": "int16"}
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
    found, captured_twice = _found(packets)
    directions = pd.Categorical.from_codes(found.forward, pd.Index(["reverse", "forward"]))
    added = {
        "direction": pd.Series(directions, packets.index),
        "captured_twice": captured_twice,
        "relative_seq": _nullable(found.relative_seq, found.relative_seq == ABSENT),
        "relative_ack": _nullable(found.relative_ack, found.relative_ack == ABSENT),
        **{name: _marked(found.marks, 1 << bit) for bit, name in enumerate(following.MARK_NAMES)},
        "offload": _offload(packets),
        "delivered": pd.arrays.BooleanArray(found.delivered == 1, found.delivered < 0),
        "bytes_in_flight": _nullable(found.bytes_in_flight, found.bytes_in_flight < 0),
        "ack_rtt": pd.array(found.ack_rtt, "Float32"),
    }
    frame = pd.DataFrame(added, packets.index, copy=False)
    columns = tables.conform(frame, "analysis").items()
    return packets.assign(**{str(name): column for name, column in columns})  # `concat` would copy them all


def _found(packets: pd.DataFrame) -> tuple[following.Found, np.ndarray]:
    """Return what `following` finds, and which packets were captured twice."""
    size, captured_twice = len(packets), np.zeros(len(packets), bool)
    found = following.Found(
        forward=np.full(size, -1, np.int8),
        relative_seq=np.full(size, ABSENT),
        relative_ack=np.full(size, ABSENT),
        delivered=np.full(size, -1, np.int8),
        bytes_in_flight=np.full(size, -1, np.int32),
        ack_rtt=np.full(size, np.nan, np.float32),
        marks=np.zeros(size, np.uint16),
    )
    columns, edges = _columns(packets)
    form = _form(size, int((columns.sacks > 0).sum()))

    def judge(batch: tuple[np.ndarray, np.ndarray]) -> None:
        rows, bounds = batch
        table = _table(form, columns, rows)
        twice = _captured_twice(form, table, bounds, edges)
        if twice.any():
            captured_twice[rows[twice]] = True
            rows, table = rows[~twice], table[~twice]
            bounds = np.searchsorted(np.flatnonzero(~twice), bounds)
        values = _follow(form, table, bounds, edges)
        form.put(form.view(values), form.view(rows), following.Found(*map(form.view, found)))

    # Connections are followed apart from each other, and compiled code lets other threads run.
    with ThreadPoolExecutor(MOST_THREADS) as pool:
        for _ in pool.map(judge, _batches(packets, form)):
            pass
    return found, captured_twice


def _form(packets: int, sacks: int) -> SimpleNamespace:
    """Return the form that is worth it: SACK blocks are held against all that is in flight."""
    many = packets + 20 * sacks >= INTERPRETED_PACKETS
    return (forms.compiled if many else forms.interpreted)(following)


def _batches(packets: pd.DataFrame, form: SimpleNamespace) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows of TCP packets, connection by connection, and where in them each connection begins."""
    rows, starts = _grouped(packets, form)
    first = 0
    while first < len(starts) - 1:
        last = max(int(np.searchsorted(starts, starts[first] + BATCH, "right")) - 1, first + 1)
        yield rows[starts[first] : starts[last]], starts[first : last + 1] - starts[first]
        first = last


def _grouped(packets: pd.DataFrame, form: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of TCP packets, connection by connection, and where each begins, and the end.

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
    return rows, np.append(starts[sizes > 0], len(rows))


def _columns(packets: pd.DataFrame) -> tuple[following.Columns, np.ndarray]:
    """Return what `following` takes of the packets, and the edges of all SACK blocks."""
    edges, blocks = sack_edges(packets["sack"])
    columns = {name: packets[name].to_numpy(dtype, na_value=0) for name, dtype in _PRESENT.items()}
    columns |= {name: packets[name].to_numpy(dtype, na_value=-1) for name, dtype in _OR_ABSENT.items()}
    known = packets["src"].cat.categories.union(packets["dst"].cat.categories)
    for name in ("src", "dst"):
        numbers = known.get_indexer(packets[name].cat.categories).astype(np.int32)
        columns[name] = numbers[packets[name].cat.codes]
    columns["time"] = pd.DatetimeIndex(packets["time"]).asi8
    columns["segment_len"] = segment_lengths(packets)
    columns["options_cut"] = options_cut(packets).to_numpy()
    columns["sacks"] = blocks
    columns["sack_at"] = np.cumsum(blocks, dtype=np.int32) - blocks
    return following.Columns(**{name: _to_be_read(column) for name, column in columns.items()}), edges


def _to_be_read(column: np.ndarray) -> np.ndarray:
    """Return a column as compiled code takes it: always alike, or it would be compiled again."""
    column = np.ascontiguousarray(column).view()
    column.flags.writeable = False
    return column


def _table(form: SimpleNamespace, columns: following.Columns, rows: np.ndarray) -> np.ndarray:
    """Return the packets of these rows as `following` takes them."""
    table = np.empty((len(rows), len(following.PACKET)), np.int64)
    form.pick(following.Columns(*map(form.view, columns)), form.view(rows), form.view(table))
    return table


def _captured_twice(
    form: SimpleNamespace, table: np.ndarray, bounds: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    twice = np.zeros(len(table), np.uint8)
    slots = np.full(1 << (2 * len(table)).bit_length(), -1)
    form.mark_captured_twice(
        *map(form.view, (table, bounds, edges, slots)), secrets.randbits(32), form.view(twice)
    )
    return twice.view(bool)


def _follow(form: SimpleNamespace, table: np.ndarray, bounds: np.ndarray, edges: np.ndarray) -> np.ndarray:
    found = np.full((len(table), len(following.FOUND)), ABSENT)
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
    there = sack.notna().to_numpy()
    texts, counts = sack[there], np.zeros(len(sack), np.uint8)
    counts[there] = texts.str.count("-").to_numpy("uint8")
    edges = " ".join(texts).replace("-", " ").split()
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


def _offload(packets: pd.DataFrame) -> np.ndarray:
    """Mark packets that the MSS of either end does not allow (RFC 6691: options count against it)."""
    told = packets.loc[packets["mss"].notna(), [*KEY, "mss"]]
    smallest = told.groupby(KEY)["mss"].min().rename("allowed")
    payload = packets["tcp_len"].to_numpy("int32", na_value=0)
    segment = payload + packets["tcp_header_len"].to_numpy("uint8", na_value=0) - 20
    usual = _ETHERNET_MTU - 40
    offload = (payload > 0) & (segment > min([*smallest, usual]))
    large = np.flatnonzero(offload)
    allowed = packets[KEY].iloc[large].join(smallest, on=KEY)["allowed"].fillna(usual)
    offload[large] = segment[large] > allowed.to_numpy()
    return offload
