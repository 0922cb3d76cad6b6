"""Cells become columns: the decoder's int64 tables as the table `packets`."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from types import SimpleNamespace
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
    time: np.ndarray  # (rows,) nanoseconds since 1970, or decoder.NAT
    capture: int
    file: int  # number of its path


# numpy's dtypes of the columns, and of `name?`.
_OF_TABLE = {c.name: c for c in tables.TABLES["packets"]}
_NULLABLE = {name for name, c in _OF_TABLE.items() if c.dtype == "boolean" or c.dtype[0] in "IU"}
_DTYPES: dict[str, np.dtype] = {
    **{"time": np.dtype(np.int64), "file": np.dtype(np.int16)},
    **dict.fromkeys(("src", "dst"), np.dtype(np.int32)),
    **{
        name: np.dtype(c.dtype.lower().replace("boolean", "bool"))
        for name, c in _OF_TABLE.items()
        if name in _NULLABLE or c.dtype in ("bool", "uint8", "uint16", "int16", "int32")
    },
    **{name + "?": np.dtype(bool) for name in _NULLABLE},
}
_CELLS = {name: number for number, name in enumerate(decoder.CELLS) if name in _DTYPES}


class Columns:
    """The columns of `packets`, which grow batch by batch.

    They begin as zeros, and what is zero is not written: memory that nobody wrote to takes no room.
    """

    def __init__(self) -> None:
        self.rows = self._room = 0
        self._columns: Piece = {}
        self._sack: list[str] = []
        self._sack_rows: list[np.ndarray] = []

    def append(self, rows: Rows, expected: int) -> None:
        """Add the rows of a batch; `expected` is how many there may be in the end."""
        end = self.rows + len(rows.time)
        if end == self.rows:
            return
        if end > self._room:
            self._widen(max(end + self.rows // 2, expected))
        for name, values in piece(rows).items():
            self._columns[name][self.rows : end] = values
        self._sack += sack(rows)
        self._sack_rows.append(np.flatnonzero(rows.cells[decoder.SACK_AT] >= 0) + self.rows)
        self.rows = end

    def _widen(self, room: int) -> None:
        for name, dtype in _DTYPES.items():
            wide = np.zeros(room, dtype)
            if self.rows:
                wide[: self.rows] = self._columns[name][: self.rows]
            self._columns[name] = wide
        self._room = room

    def frame(self, files: Sequence[str], hosts: Sequence[str]) -> pd.DataFrame:
        """Return the table `packets`; `files` and `hosts` are the names behind the numbers in the columns."""
        if not self.rows:
            return tables.empty("packets")
        given = {name: values[: self.rows] for name, values in self._columns.items()}
        columns = {name: _column(name, given) for name in given if name in _OF_TABLE}
        columns["time"] = pd.DatetimeIndex(given["time"].view("M8[ns]"), tz="UTC")
        columns["sack"] = self._sack_column()
        columns["file"] = _category(given["file"], files)
        columns["src"] = _category(given["src"], hosts)
        columns["dst"] = _category(given["dst"], hosts)
        in_order = {name: columns[name] for name in _OF_TABLE}
        return tables.conform(pd.DataFrame(in_order, copy=False), "packets")

    def _sack_column(self) -> object:
        place = np.full(self.rows, -1)
        place[np.concatenate(self._sack_rows)] = np.arange(len(self._sack))
        return pd.array(self._sack, dtype="string").take(place, allow_fill=True)


def times(form: SimpleNamespace, batch: Batch, interfaces: Sequence[Interface]) -> np.ndarray:
    """Return each frame's time in nanoseconds since 1970; NaT where none is given or none can be."""
    time = np.empty(batch.size, np.int64)
    clocks = np.array([_clock(interface) for interface in interfaces], np.int64).reshape(-1, 3)
    form.date(form.view(batch.frames), batch.size, form.view(clocks), form.view(time))
    return time


def _clock(interface: Interface) -> tuple[int, int, int]:
    """Return what `decoder.date` goes by."""
    units = interface.units
    if units >= 1 << 62 or abs(interface.offset) > decoder.LATEST:
        return 0, 0, 1
    return units, interface.offset, max(1, units // (10**9 if units % 10 == 0 else 1 << 30))


def host_name(words: Sequence[int]) -> str:
    """Return an address, four words as in `decoder.Memory`, as text (IPv6: RFC 5952)."""
    if words[0] < 0:
        return socket.inet_ntop(socket.AF_INET, struct.pack(">I", words[3]))
    return socket.inet_ntop(socket.AF_INET6, struct.pack(">4I", *words))


def piece(rows: Rows) -> Piece:
    """Return the columns, but for `sack`; those that are all zero are left out."""
    cells, frames = rows.cells, rows.batch.frames
    index = cells[decoder.INDEX]
    columns: Piece = {
        "frame": index + (rows.batch.first + 1),
        "time": rows.time,
        "frame_len": frames[decoder.FRAME_LEN][index],
        "captured_len": frames[decoder.CAPTURED_LEN][index],
    }
    for name, number in (("capture", rows.capture), ("file", rows.file)):
        if number:
            columns[name] = np.full(len(index), number)
    outer = frames[decoder.OUTER_LEN][index]
    if outer.any():
        columns["outer_len"] = outer
    least, most = cells.min(axis=1, initial=0).tolist(), cells.max(axis=1, initial=-1).tolist()
    for name, number in _CELLS.items():
        columns |= _cell(name, cells[number], least[number], most[number])
    return columns


def _cell(name: str, cell: np.ndarray, least: int, most: int) -> Piece:
    """Return a column and where it is absent, each unless it is all zero; absent cells are negative."""
    found: Piece = {}
    if most > 0:
        found[name] = cell if least == 0 else np.maximum(cell, 0)
    if least < 0 and name in _NULLABLE:
        found[name + "?"] = cell < 0
    return found


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


def _column(name: str, given: Piece) -> object:
    values = given[name]
    if name not in _NULLABLE:
        return values
    kind = pd.arrays.BooleanArray if values.dtype == bool else pd.arrays.IntegerArray
    return kind(values, given[name + "?"])


def _category(numbers: np.ndarray, names: Sequence[str]) -> object:
    """Return a categorical of those names only that occur."""
    used = np.zeros(len(names), bool)
    used[numbers] = True
    codes = np.cumsum(used) - 1
    own = [names[i] for i in np.flatnonzero(used).tolist()]
    return pd.Categorical.from_codes(codes[numbers], pd.Index(own))
