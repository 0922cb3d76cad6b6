"""Cells become columns: the decoder's int64 tables as the table `packets`."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from smtpkit import tables
from smtpkit.capture import decoder
from smtpkit.capture.containers import Batch, Interface

Piece = dict[str, np.ndarray]  # columns of a batch by name; under `name?` where a column is absent


class Rows(NamedTuple):
    """What the decoder made of a batch."""

    batch: Batch
    cells: np.ndarray  # (decoder.CELLS, rows) int64
    time: np.ndarray  # (rows,) nanoseconds since 1970, or NAT
    file: int  # its number


# The columns that are cells, with numpy's dtype.
_CELL_DTYPES = {
    c.name: np.dtype(c.dtype.lower().replace("boolean", "bool"))
    for c in tables.TABLES["packets"]
    if c.name in decoder.CELLS and c.dtype != "category"
}
_NULLABLE = {c.name for c in tables.TABLES["packets"] if c.dtype == "boolean" or c.dtype[0] in "IU"}
NAT = np.iinfo(np.int64).min
_LATEST = 9_000_000_000  # seconds since 1970 that 64-bit nanoseconds hold, about


class Columns:
    """The columns of `packets`, which grow batch by batch.

    They begin as zeros, and what is zero is not written: memory that nobody wrote to takes no room.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._columns: Piece = {}
        self._sack: list[str] = []
        self._sack_rows: list[np.ndarray] = []

    def append(self, rows: Rows, expected: int) -> None:
        """Add the rows of a batch; `expected` is how many there may be in the end."""
        end = self.rows + len(rows.time)
        columns = piece(rows)
        if not self._columns or end > len(self._columns["time"]):
            self._widen(columns, max(end + self.rows // 2, expected))
        for name, values in columns.items():
            if values.any():
                self._columns[name][self.rows : end] = values
        self._sack += sack(rows)
        self._sack_rows.append(np.flatnonzero(rows.cells[decoder.SACK_AT] >= 0) + self.rows)
        self.rows = end

    def _widen(self, columns: Piece, room: int) -> None:
        for name, values in columns.items():
            wide = np.zeros(room, values.dtype)
            if name in self._columns:
                wide[: self.rows] = self._columns.pop(name)[: self.rows]
            self._columns[name] = wide

    def frame(self, capture: int, files: Sequence[str], hosts: Sequence[str]) -> pd.DataFrame:
        """Return the table `packets`; `files` and `hosts` are the names behind the numbers in the columns."""
        if not self.rows:
            return tables.empty("packets")
        given = {name: values[: self.rows] for name, values in self._columns.items()}
        columns = {c.name: _column(c, given) for c in tables.TABLES["packets"] if c.name in given}
        columns["capture"] = pd.array(np.full(self.rows, capture), "Int16")
        columns["time"] = pd.DatetimeIndex(given["time"].view("M8[ns]"), tz="UTC")
        columns["sack"] = self._sack_column()
        columns["file"] = _category(given["file"], files)
        columns["src"] = _category(given["src"], hosts)
        columns["dst"] = _category(given["dst"], hosts)
        in_order = {c.name: columns[c.name] for c in tables.TABLES["packets"]}
        return tables.conform(pd.DataFrame(in_order, copy=False), "packets")

    def _sack_column(self) -> object:
        place = np.full(self.rows, -1)
        place[np.concatenate(self._sack_rows)] = np.arange(len(self._sack))
        return pd.array(self._sack, dtype="string").take(place, allow_fill=True)


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


def piece(rows: Rows) -> Piece:
    """Return the columns as small as they are kept, but for `sack`."""
    cells, frames = rows.cells, rows.batch.frames
    index = cells[decoder.INDEX]
    columns: Piece = {
        "file": np.full(len(index), rows.file, np.int16),
        "frame": (index + (rows.batch.first + 1)).astype(np.int32),
        "time": rows.time,
        "frame_len": frames[decoder.FRAME_LEN][index].astype(np.int32),
        "captured_len": frames[decoder.CAPTURED_LEN][index].astype(np.int32),
        "outer_len": frames[decoder.OUTER_LEN][index].astype(np.int16),
        "src": cells[decoder.SRC].astype(np.int32),
        "dst": cells[decoder.DST].astype(np.int32),
    }
    for name, dtype in _CELL_DTYPES.items():
        cell = cells[decoder.CELLS.index(name)]
        columns[name] = cell == 1 if dtype.kind == "b" else np.maximum(cell, 0).astype(dtype)
        if name in _NULLABLE:
            columns[name + "?"] = cell < 0
    return columns


def sack(rows: Rows) -> list[str]:
    """Return the SACK blocks of those rows that have some, as text."""
    at = rows.cells[decoder.SACK_AT]
    at = at[at >= 0]
    counts = rows.batch.buffer[at + 1].astype(np.int64) // 8
    ends = np.cumsum(counts)
    number = np.arange(counts.sum()) - np.repeat(ends - counts, counts)  # of a block in its option
    places = (np.repeat(at + 2, counts) + 8 * number)[:, np.newaxis] + np.arange(8)
    edges = rows.batch.buffer[places].view(">u4").tolist()
    blocks = [f"{left}-{right}" for left, right in edges]
    return [" ".join(blocks[end - n : end]) for n, end in zip(counts.tolist(), ends.tolist(), strict=True)]


def _column(column: tables.Column, given: Piece) -> object:
    values = given[column.name]
    if column.name not in _NULLABLE:
        return values
    kind = pd.arrays.BooleanArray if values.dtype == bool else pd.arrays.IntegerArray
    return kind(values, given[column.name + "?"])


def _category(numbers: np.ndarray, names: Sequence[str]) -> pd.Categorical:
    """Return a categorical of those names only that occur."""
    used = np.zeros(len(names), bool)
    used[numbers] = True
    codes = np.cumsum(used) - 1
    own = [names[i] for i in np.flatnonzero(used).tolist()]
    return pd.Categorical.from_codes(codes[numbers], pd.Index(own, dtype=object))
