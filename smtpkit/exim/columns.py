"""Where values stand becomes the columns of `log_lines`."""

from __future__ import annotations

import mmap
import threading
from collections import defaultdict
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from smtpkit import tables
from smtpkit.exim import errors, lines
from smtpkit.exim.entries import Entries

Piece = dict[str, Any]  # columns of a batch by name; one that is absent throughout is None

_COLUMNS = {c.name: c for c in tables.TABLES["log_lines"]}
_LARGEST = {"size": 1 << 62, "pid": 1 << 62, "errno": 1 << 30, "host_port": 65535, "interface_port": 65535}
_OPTIONS = [name for name in lines.SPANS if name.startswith("option_")]
_ROOM = threading.local()  # with fresh memory for each block `decode` takes twice as long
_FROM_ERROR = {"smtp_code": 999, "bytes_written": 1 << 62}
_NAMED = {"host": ("host_1", "host_2", "host_3"), "host_address": ("address_1", "address_2", "address_3")}


class Coded(NamedTuple):
    """Texts of which many are alike: the number of each row's (-1: none), and the text of each number."""

    codes: np.ndarray
    names: pa.LargeStringArray


class Texts(NamedTuple):
    """Where texts stand in `buffer`: entry, start and end; of `quoted` ones backslashes are undone."""

    form: SimpleNamespace
    buffer: Any
    found: np.ndarray
    quoted: bool = False

    @property
    def length(self) -> int:
        """Their bytes at most."""
        return int((self.found[:, 2] - self.found[:, 1]).sum())

    def gather(self, first: int, offsets: np.ndarray, out: np.ndarray) -> int:
        """Copy them one behind the other, as `lines.gather`."""
        view = self.form.view
        return self.form.gather(self.buffer, view(self.found), self.quoted, first, view(offsets), view(out))

    def mark(self, first: int, there: np.ndarray) -> None:
        """Set the bit of each row that has one."""
        self.form.mark(self.form.view(self.found), first, self.form.view(there))

    def array(self, rows: int) -> pa.LargeStringArray:
        """Return them by row; rows without one have an empty text."""
        offsets, out = np.zeros(rows + 1, np.int64), np.empty(self.length, np.uint8)
        self.gather(0, offsets, out)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(out)]
        return pa.Array.from_buffers(pa.large_string(), rows, buffers)


class Values:
    """The values of some entries: `found` says where in `buffer` each stands, as in `lines.decode`."""

    def __init__(self, form: SimpleNamespace, buffer: np.ndarray, found: list[np.ndarray], size: int) -> None:
        self._form, self._buffer, self._found, self.size = form, form.view(buffer), found, size

    def found(self, name: str) -> np.ndarray | None:
        """Return entry, start and end of each value; None if there are none at all."""
        found = self._found[lines.SPANS.index(name)]
        return found if len(found) else None

    def texts(self, name: str) -> Texts | None:
        """Return the values as text; None if there are none at all."""
        found = self.found(name)
        if found is None:
            return None
        return Texts(self._form, self._buffer, found.copy(), name in ("confirmation", "subject"))

    def coded(self, name: str) -> Coded | None:
        """Return the values as numbers of texts; None if there are none at all."""
        found = self.found(name)
        if found is None:
            return None
        codes, firsts = np.full(self.size, -1, np.int32), np.empty(len(found), np.int32)
        slots = np.full(1 << (2 * len(found)).bit_length(), -1, np.int32)
        view = self._form.view
        count = self._form.intern(self._buffer, view(found), view(slots), view(codes), view(firsts))
        different = found[firsts[:count]]
        different[:, 0] = np.arange(count)
        return Coded(_narrow(codes, count), Texts(self._form, self._buffer, different).array(count))

    def numbers(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the values as numbers, and where there is none."""
        found, column, view = self.found(name), _COLUMNS[name], self._form.view
        if found is None:
            return None
        values, absent = np.zeros(self.size, column.dtype.lower()), np.ones(self.size, bool)
        if column.dtype == "Float64":
            self._form.durations(self._buffer, view(found), view(values), view(absent))
        else:
            self._form.integers(self._buffer, view(found), _LARGEST[name], view(values), view(absent))
        return values, absent


def piece(entries: Entries, time: np.ndarray, file: str) -> Piece:
    """Return the columns of `log_lines` of some entries; `time` is that of each."""
    values, kind = _decode(entries), entries.facts[lines.KIND]
    columns: Piece = dict.fromkeys(_COLUMNS)
    for name, column in _COLUMNS.items():
        if name in lines.SPANS:
            columns[name] = _column(values, column)
    columns["file"] = _named(np.zeros(values.size), (file,))
    columns["line"] = entries.number.astype(np.int32)
    columns["time"] = time
    columns["flag"] = _named(np.where(kind < len(lines.FLAGS), kind, -1), lines.FLAGS)
    columns["kind"] = _named(kind, tables.KINDS)
    columns["options"] = _options(values)
    _read_errors(columns, values)
    return columns


def _decode(entries: Entries) -> Values:
    form, facts, count = entries.form, np.ascontiguousarray(entries.facts), len(entries.number)
    spans, used = np.full(2 * len(lines.SPANS), -1, np.int32), np.zeros(len(lines.SPANS), np.int64)
    found = _room(count)
    form.decode(*map(form.view, (entries.buffer, facts, spans, found, used)), count)
    entries.facts[lines.KIND] = facts[lines.KIND]
    values = [rows[:length] for rows, length in zip(found, used.tolist(), strict=True)]
    buffer = entries.buffer
    if entries.more:
        buffer, values[lines.TEXT] = _continued(buffer, values[lines.TEXT], entries.more)
    return Values(form, buffer, values, count)


def _room(count: int) -> np.ndarray:
    """Return room for the places of so many entries' values, used again and again by each thread."""
    room = getattr(_ROOM, "found", None)
    if room is None or room.shape[1] < count:
        room = _ROOM.found = _zeros(len(lines.SPANS) * count * 3, np.int32).reshape(-1, count, 3)
    return room


def _continued(
    buffer: np.ndarray, text: np.ndarray, more: dict[int, list[bytes]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return `buffer` with the texts of those entries at its end that other lines continue, and all texts."""
    places = {row: (start, end) for row, start, end in text[np.isin(text[:, 0], list(more))].tolist()}
    pieces, end, joined = [buffer], len(buffer), []
    for row, continued in more.items():
        start, stop = places.get(row, (0, 0))
        pieces += [np.frombuffer(b"\n".join([buffer[start:stop].tobytes(), *continued]), np.uint8)]
        joined.append((row, end, end + len(pieces[-1])))
        end += len(pieces[-1])
    text = np.concatenate([text[~np.isin(text[:, 0], list(more))], np.array(joined, np.int32)])
    return np.concatenate(pieces), text[np.argsort(text[:, 0])]


def frame(pieces: Iterable[Piece]) -> pd.DataFrame:
    """Return the table `log_lines`. Columns grow as pieces arrive: none is in memory twice."""
    columns = {name: _growing(column) for name, column in _COLUMNS.items()}
    rows = 0
    for piece in pieces:
        start, rows = rows, rows + len(piece["line"])
        for name, column in columns.items():
            column.append(piece[name], start, rows)
    if not rows:
        return tables.empty("log_lines")
    return pd.DataFrame({name: column.array(rows) for name, column in columns.items()}, copy=False)


def _growing(column: tables.Column) -> _Numbers | _Texts | _Categories:
    if column.dtype[0] in "IFid":
        return _Numbers(column.dtype)
    return _Categories() if column.dtype == "category" else _Texts()


class _Room:
    """An array that grows; what was not entered yet is zero."""

    def __init__(self, dtype: Any) -> None:
        self.values = np.empty(0, dtype)

    def upto(self, size: int, dtype: Any = None) -> np.ndarray:
        """Return the array with room for so many, of this type if one is given."""
        old, kept = self.values, dtype is None or dtype == self.values.dtype
        if size > len(old) or not kept:
            self.values = _zeros(4 * size if size > len(old) else len(old), old.dtype if kept else dtype)
            self.values[: len(old)] = old
        return self.values


def _zeros(size: int, dtype: Any) -> np.ndarray:
    """Return zeros that take memory where they are touched, and in small pages: numpy asks for huge ones."""
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return np.frombuffer(mmap.mmap(-1, size * np.dtype(dtype).itemsize, private), dtype)


class _Numbers:
    """A column of numbers or times."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._values = _Room(np.int64 if dtype == tables.TIME else dtype.lower())
        self._absent = _Room(bool)

    def append(self, chunk: Any, start: int, end: int) -> None:
        """Enter what a piece has; None if it has no value at all."""
        values, absent = chunk if isinstance(chunk, tuple) else (chunk, chunk is None)
        if absent is not False:
            self._absent.upto(end)[start:end] = absent
        if values is not None:
            self._values.upto(end)[start:end] = values

    def array(self, rows: int) -> Any:
        """Return the column for pandas."""
        values, absent = self._values.upto(rows)[:rows], self._absent.upto(rows)[:rows]
        if self._dtype == tables.TIME:
            return pd.DatetimeIndex(values.view("M8[ns]"), tz="UTC")
        if self._dtype == "int32":
            return values
        kind = pd.arrays.FloatingArray if self._dtype == "Float64" else pd.arrays.IntegerArray
        return kind(values, absent)


class _Texts:
    """A column of texts, laid out as Arrow's: bytes, where each text starts, a bit for each that is there."""

    def __init__(self) -> None:
        self._bytes, self._offsets, self._there = _Room(np.uint8), _Room(np.int64), _Room(np.uint8)
        self._used = 0  # bytes

    def append(self, texts: Texts | None, start: int, end: int) -> None:
        """Enter those of a piece; None if it has no text at all."""
        if texts is not None:
            out, offsets = self._bytes.upto(self._used + texts.length), self._offsets.upto(end + 1)
            offsets[start] = self._used
            self._used = texts.gather(start, offsets[: end + 1], out)
            texts.mark(start, self._there.upto(end // 8 + 1))
        elif self._used:
            self._offsets.upto(end + 1)[start : end + 1] = self._used

    def array(self, rows: int) -> pd.arrays.ArrowStringArray:
        """Return the column for pandas."""
        there, offsets = self._there.upto(rows // 8 + 1), self._offsets.upto(rows + 1)
        parts = there[: rows // 8 + 1], offsets[: rows + 1], self._bytes.values[: self._used]
        texts = pa.Array.from_buffers(pa.large_string(), rows, [pa.py_buffer(part) for part in parts])
        return pd.arrays.ArrowStringArray(texts)


class _Categories:
    """A column of texts of which many are alike."""

    def __init__(self) -> None:
        self._codes, self._known = _Room(np.int8), defaultdict[str, int]()
        self._known.default_factory = self._known.__len__  # a new name has the next number

    def append(self, chunk: Coded | None, start: int, end: int) -> None:
        """Enter those of a piece; None if it has no text at all."""
        names = chunk.names.to_numpy(zero_copy_only=False).tolist() if chunk else []
        numbers = np.array([*map(self._known.__getitem__, names), -1])
        codes = self._codes.upto(end, np.min_scalar_type(-max(len(self._known), 1)))
        codes[start:end] = numbers[chunk.codes] if chunk else -1

    def array(self, rows: int) -> pd.Categorical:
        """Return the column for pandas."""
        names = pd.Index(pd.array(pa.array(list(self._known), pa.large_string()), dtype="str"))
        return pd.Categorical.from_codes(self._codes.values[:rows], names)


def _column(values: Values, column: tables.Column) -> Any:
    if column.dtype[0] in "IF":
        return values.numbers(column.name)
    return values.coded(column.name) if column.dtype == "category" else values.texts(column.name)


def _narrow(codes: np.ndarray, count: int) -> np.ndarray:
    """Return codes of so many names with the smallest type that does."""
    return codes.astype(np.min_scalar_type(-max(count, 1)))


def _named(codes: np.ndarray, names: tuple[str, ...]) -> Coded:
    return Coded(_narrow(codes, len(names)), pa.array(names, pa.large_string()))


def _encoded(texts: pa.LargeStringArray) -> Coded:
    coded = texts.dictionary_encode()
    return Coded(_narrow(coded.indices.fill_null(-1).to_numpy(), len(coded.dictionary)), coded.dictionary)


def _options(values: Values) -> Coded | None:
    names = [name for name in _OPTIONS if values.found(name) is not None]
    if len(names) < 2:
        return values.coded(_OPTIONS[0])
    texts = (values.texts(name) for name in names)
    columns = (text.array(values.size) for text in texts if text is not None)
    return _encoded(_present(pc.binary_join_element_wise(*columns, pa.scalar("", pa.large_string()))))


def _read_errors(columns: Piece, values: Values) -> None:
    """Enter what the error texts say of reply code, bytes written, and before Exim 4.85 of the host."""
    texts = values.coded("error")
    if texts is None:
        return
    found = pc.extract_regex(texts.names, errors.ERROR_RE2)  # of each different one: many are alike
    fields = {field.name: _present(pc.struct_field(found, field.name)) for field in found.type}
    for name, largest in _FROM_ERROR.items():
        columns[name] = _numbers(fields[name], texts.codes, _COLUMNS[name].dtype.lower(), largest)
    columns["enhanced_status"] = _spread(fields["enhanced_status"], texts.codes)
    for name, groups in _NAMED.items():
        named = _spread(pc.coalesce(*(fields[group] for group in groups)), texts.codes)
        columns[name] = _first(columns[name], named)


def _present(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _spread(texts: pa.LargeStringArray, rows: np.ndarray) -> Coded | None:
    """Return for each row the text of this number."""
    if texts.null_count == len(texts):
        return None
    codes, names = _encoded(texts)
    return Coded(np.append(codes, codes.dtype.type(-1))[rows], names)


def _first(texts: Coded | None, others: Coded | None) -> Coded | None:
    """Return the texts, and where there is none the others."""
    if texts is None or others is None:
        return texts or others
    more = np.where(others.codes < 0, -1, others.codes.astype(np.int64) + len(texts.names))
    names = pa.concat_arrays([texts.names, others.names])
    return Coded(_narrow(np.where(texts.codes < 0, more, texts.codes), len(names)), names)


def _numbers(
    texts: pa.LargeStringArray, rows: np.ndarray, dtype: str, largest: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return for each row the text of this number as a number, and where there is none."""
    short = pc.if_else(pc.less(pc.utf8_length(texts), 19), texts, None)
    numbers = pc.fill_null(pc.cast(short, pa.int64()), -1).to_numpy()
    numbers = np.append(np.where(numbers > largest, -1, numbers), -1)[rows]
    absent = numbers < 0
    return None if absent.all() else (np.where(absent, 0, numbers).astype(dtype), absent)
