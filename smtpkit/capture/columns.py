"""Cells become columns: the decoder's int64 tables as the table `packets`."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from smtpkit import tables
from smtpkit.capture import decoder
from smtpkit.capture.containers import Batch, Interface

Piece = dict[str, np.ndarray]  # columns of a batch by name; under `name?` where a column is absent

# The columns that are cells, with numpy's dtype.
_CELL_DTYPES = {
    c.name: np.dtype(c.dtype.lower().replace("boolean", "bool"))
    for c in tables.TABLES["packets"]
    if c.name in decoder.CELLS and c.dtype != "category"
}
_NULLABLE = {c.name for c in tables.TABLES["packets"] if c.dtype == "boolean" or c.dtype[0] in "IU"}
NAT = np.iinfo(np.int64).min
_LATEST = 9_000_000_000  # seconds since 1970 that 64-bit nanoseconds hold, about


def piece(batch: Batch, cells: np.ndarray, time: np.ndarray, file: int) -> Piece:
    """Return the rows of one batch as compact columns; `time` is that of each frame."""
    index = cells[decoder.INDEX]
    columns: Piece = {
        "file": np.full(len(index), file, np.int16),
        "frame": (index + (batch.first + 1)).astype(np.int32),
        "time": time[index],
        "frame_len": batch.frames[decoder.FRAME_LEN][index].astype(np.int32),
        "captured_len": batch.frames[decoder.CAPTURED_LEN][index].astype(np.int32),
        "outer_len": batch.frames[decoder.OUTER_LEN][index].astype(np.int16),
        "src": cells[decoder.SRC].astype(np.int32),
        "dst": cells[decoder.DST].astype(np.int32),
        "sack": _sack(batch.buffer, cells[decoder.SACK_AT]),
    }
    for name, dtype in _CELL_DTYPES.items():
        cell = cells[decoder.CELLS.index(name)]
        columns[name] = cell == 1 if dtype.kind == "b" else cell.astype(dtype)
        columns[name + "?"] = cell < 0
    return columns


def frame(pieces: Iterable[Piece], capture: int, files: Sequence[str], hosts: Sequence[str]) -> pd.DataFrame:
    """Return the table `packets`; `files` and `hosts` are the names behind the numbers in the columns."""
    joined = _join(list(pieces))
    if not joined:
        return tables.empty("packets")
    columns: dict[str, object] = {name: _masked(joined, name) for name in _CELL_DTYPES}
    for name in ("frame", "frame_len", "captured_len", "outer_len"):
        columns[name] = joined[name]
    columns["capture"] = capture
    columns["time"] = pd.DatetimeIndex(joined["time"].view("M8[ns]"), tz="UTC")
    columns["sack"] = pd.array(joined["sack"], dtype="string")
    columns["file"] = _category(joined["file"], files)
    columns["src"] = _category(joined["src"], hosts)
    columns["dst"] = _category(joined["dst"], hosts)
    return tables.conform(pd.DataFrame(columns, copy=False), "packets")


def times(batch: Batch, interfaces: Sequence[Interface]) -> np.ndarray:
    """Return each frame's time in nanoseconds since 1970; NaT where none is given or none can be."""
    ticks, number = batch.frames[decoder.TICKS, : batch.size], batch.frames[decoder.INTERFACE, : batch.size]
    time = np.full(len(ticks), NAT)
    for i in np.unique(number[number >= 0]):
        own = number == i
        time[own] = _nanoseconds(ticks[own], interfaces[i])
    return time


def host_name(words: Sequence[int]) -> str:
    """Return an address, four words as in `decoder.Memory`, as text (IPv6: RFC 5952)."""
    if words[0] < 0:
        return socket.inet_ntop(socket.AF_INET, struct.pack(">I", words[3]))
    return socket.inet_ntop(socket.AF_INET6, struct.pack(">4I", *words))


def _nanoseconds(ticks: np.ndarray, interface: Interface) -> np.ndarray:
    units = interface.units
    if units >= 1 << 62 or abs(interface.offset) > _LATEST:
        return np.full(len(ticks), NAT)
    seconds = ticks // units + interface.offset
    # Beyond nanoseconds the last digits go, so that the product below stays within 64 bits.
    fine = max(1, units // (10**9 if units % 10 == 0 else 1 << 30))
    fraction = ticks % units // fine * 10**9 // max(1, units // fine)
    valid = (ticks >= 0) & (seconds < _LATEST) & (seconds > -_LATEST)
    return np.where(valid, np.where(valid, seconds, 0) * 10**9 + fraction, NAT)


def _sack(buffer: np.ndarray, at: np.ndarray) -> np.ndarray:
    texts = np.full(len(at), None, object)
    for row in np.flatnonzero(at >= 0):
        start = int(at[row])
        blocks = buffer[start + 2 : start + int(buffer[start + 1])].tobytes()
        edges = struct.iter_unpack(">II", blocks)
        texts[row] = " ".join(f"{left}-{right}" for left, right in edges)
    return texts


def _join(pieces: list[Piece]) -> Piece:
    names = list(pieces[0]) if pieces else []
    # One column after the other, each let go as it is joined: the peak stays near the table's own size.
    return {name: np.concatenate([p.pop(name) for p in pieces]) for name in names}


def _masked(joined: Piece, name: str) -> object:
    values, absent = joined[name], joined[name + "?"]
    if name not in _NULLABLE:
        return values
    kind = pd.arrays.BooleanArray if values.dtype == bool else pd.arrays.IntegerArray
    return kind(values, absent)


def _category(numbers: np.ndarray, names: Sequence[str]) -> pd.Categorical:
    """Return a categorical of those names only that occur."""
    used = np.unique(numbers)
    codes = np.searchsorted(used, numbers)
    return pd.Categorical.from_codes(codes, pd.Index([names[i] for i in used]))
