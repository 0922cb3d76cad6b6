"""Where values stand becomes the columns of `log_lines`."""

from __future__ import annotations

import threading
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


class Values:
    """The values of some entries: `found` says where in `buffer` each stands, as in `lines.decode`."""

    def __init__(self, form: SimpleNamespace, buffer: np.ndarray, found: list[np.ndarray], size: int) -> None:
        self._form, self._buffer, self._found, self.size = form, form.view(buffer), found, size

    def found(self, name: str) -> np.ndarray | None:
        """Return entry, start and end of each value; None if there are none at all."""
        found = self._found[lines.SPANS.index(name)]
        return found if len(found) else None

    def texts(self, name: str) -> pa.LargeStringArray | None:
        """Return the values as text; None if there are none at all."""
        found = self.found(name)
        if found is None:
            return None
        there = np.zeros(self.size, bool)
        there[found[:, 0]] = True
        nulls = None if len(found) == self.size else pa.array(there).buffers()[1]
        return self._gather(found, self.size, nulls, name in ("confirmation", "subject"))

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
        return Coded(_narrow(codes, count), self._gather(different, count))

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

    def _gather(
        self, found: np.ndarray, size: int, nulls: pa.Buffer | None = None, quoted: bool = False
    ) -> pa.LargeStringArray:
        offsets = pa.allocate_buffer(8 * (size + 1))
        out = pa.allocate_buffer(int((found[:, 2] - found[:, 1]).sum()))
        view = self._form.view
        into = view(np.frombuffer(offsets, np.int64)), view(np.frombuffer(out, np.uint8))
        self._form.gather(self._buffer, view(found), quoted, *into)
        return pa.Array.from_buffers(pa.large_string(), size, [nulls, offsets, out])


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
        room = _ROOM.found = np.empty((len(lines.SPANS), count, 3), np.int32)
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
    """Return the table `log_lines`. Numbers go into arrays that grow: no column is in memory twice."""
    numbers = {name: _Numbers(column) for name, column in _COLUMNS.items() if column.dtype[0] in "IFid"}
    chunks: dict[str, list[Any]] = {name: [] for name in _COLUMNS if name not in numbers}
    sizes: list[int] = []
    for piece in pieces:
        sizes.append(len(piece["line"]))
        for name, chunk in piece.items():
            if name in numbers:
                numbers[name].append(chunk, sizes[-1])
            else:
                chunks[name].append(chunk)
    if not sizes:
        return tables.empty("log_lines")
    columns = {name: column.array() for name, column in numbers.items()}
    for name, own in chunks.items():
        columns[name] = _text(own, sizes) if _COLUMNS[name].dtype == "string" else _categorical(own, sizes)
        own.clear()
    return pd.DataFrame({name: columns[name] for name in _COLUMNS}, copy=False)


class _Numbers:
    """A column of numbers or times that grows."""

    def __init__(self, column: tables.Column) -> None:
        self._column, self._size = column, 0
        self._values = np.empty(0, np.int64 if column.dtype == tables.TIME else column.dtype.lower())
        self._absent = np.empty(0, bool)

    def append(self, chunk: Any, size: int) -> None:
        """Add what a piece has; None if it has no value at all."""
        start, self._size = self._size, self._size + size
        if self._size > len(self._values):
            self._values = _longer(self._values, start, 4 * self._size)
            self._absent = _longer(self._absent, start, 4 * self._size)
        values, absent = chunk if isinstance(chunk, tuple) else (chunk, chunk is None)
        self._absent[start : self._size] = absent
        if values is not None:
            self._values[start : self._size] = values

    def array(self) -> Any:
        """Return the column for pandas."""
        values, absent = self._values[: self._size], self._absent[: self._size]
        if self._column.dtype == tables.TIME:
            return pd.DatetimeIndex(values.view("M8[ns]"), tz="UTC")
        if self._column.dtype == "int32":
            return values
        kind = pd.arrays.FloatingArray if self._column.dtype == "Float64" else pd.arrays.IntegerArray
        return kind(values, absent)


def _longer(array: np.ndarray, used: int, size: int) -> np.ndarray:
    """Return a longer copy; what is beyond the used part is zero, and costs no memory until it is touched."""
    longer = np.zeros(size, array.dtype)
    longer[:used] = array[:used]
    return longer


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
    texts = (pc.fill_null(values.texts(name), "") for name in names[1:])
    return _encoded(
        pc.binary_join_element_wise(values.texts(names[0]), *texts, pa.scalar("", pa.large_string()))
    )


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


def _text(chunks: list[Any], sizes: list[int]) -> pd.arrays.ArrowStringArray:
    nothing = pa.nulls(max(sizes), pa.large_string())  # once, however often
    arrays = [nothing[:size] if chunk is None else chunk for chunk, size in zip(chunks, sizes, strict=True)]
    return pd.arrays.ArrowStringArray(pa.chunked_array(arrays))


def _categorical(chunks: list[Coded | None], sizes: list[int]) -> pd.Categorical:
    known = [chunk.names for chunk in chunks if chunk is not None]
    names = pc.unique(pa.chunked_array(known, pa.large_string()))
    codes = np.full(sum(sizes), -1, np.min_scalar_type(-max(len(names), 1)))
    for chunk, end, size in zip(chunks, np.cumsum(sizes), sizes, strict=True):
        if chunk is not None:
            here = pc.index_in(chunk.names, names).to_numpy()
            codes[end - size : end] = np.append(here, -1)[chunk.codes]
    return pd.Categorical.from_codes(codes, pd.Index(pd.array(names, dtype="str")))
