"""Where values stand becomes the columns of `log_lines`."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

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
_FROM_ERROR = {"smtp_code": 999, "bytes_written": 1 << 62}
_NAMED = {"host": ("host_1", "host_2", "host_3"), "host_address": ("address_1", "address_2", "address_3")}


class Values:
    """The values of some entries: `spans` says where in `buffer` each stands."""

    def __init__(self, form: SimpleNamespace, buffer: np.ndarray, spans: np.ndarray) -> None:
        self._form, self._buffer = form, form.view(buffer)
        self._places, self._ends = (
            np.ascontiguousarray(spans[:, ::2].T),
            np.ascontiguousarray(spans[:, 1::2].T),
        )
        self.size = len(spans)

    def there(self, name: str) -> np.ndarray:
        """Tell which entries have a value."""
        return self._places[lines.SPANS.index(name)] >= 0

    def texts(self, name: str) -> pa.Array | None:
        """Return the values as text; None if there are none at all."""
        there = self.there(name)
        if not there.any():
            return None
        places, ends = self._of(name)
        offsets, out = (
            pa.allocate_buffer(8 * (self.size + 1)),
            pa.allocate_buffer(int((ends - places)[there].sum())),
        )
        view = self._form.view
        into = view(np.frombuffer(offsets, np.int64)), view(np.frombuffer(out, np.uint8))
        self._form.gather(self._buffer, view(places), view(ends), name in ("confirmation", "subject"), *into)
        nulls = None if there.all() else pa.array(there).buffers()[1]
        return pa.Array.from_buffers(pa.large_string(), self.size, [nulls, offsets, out])

    def numbers(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the values as numbers, and where there is none."""
        if not self.there(name).any():
            return None
        column, view = _COLUMNS[name], self._form.view
        places, ends = map(view, self._of(name))
        values, absent = np.empty(self.size, column.dtype.lower()), np.empty(self.size, bool)
        if column.dtype == "Float64":
            self._form.durations(self._buffer, places, ends, view(values), view(absent))
        else:
            self._form.integers(self._buffer, places, ends, _LARGEST[name], view(values), view(absent))
        return values, absent

    def _of(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        row = lines.SPANS.index(name)
        return self._places[row], self._ends[row]


def piece(entries: Entries, time: np.ndarray, file: str) -> Piece:
    """Return the columns of `log_lines` of some entries; `time` is that of each."""
    values, facts, number = _decode(entries), entries.facts, entries.number
    columns: Piece = dict.fromkeys(_COLUMNS)
    for name, column in _COLUMNS.items():
        if name in lines.SPANS:
            columns[name] = _column(values, column)
    columns["file"] = pa.DictionaryArray.from_arrays(
        np.zeros(values.size, np.int8), pa.array([file], pa.large_string())
    )
    columns["line"] = number.astype(np.int32)
    columns["time"] = time
    columns["flag"] = _coded(facts[lines.FLAG], lines.FLAGS)
    columns["kind"] = _coded(facts[lines.KIND], tables.KINDS)
    columns["options"] = _options(values)
    _read_errors(columns, values)
    return columns


def _decode(entries: Entries) -> Values:
    form, buffer, count = entries.form, entries.buffer, len(entries.number)
    facts, spans = np.ascontiguousarray(entries.facts), np.full((count, 2 * len(lines.SPANS)), -1, np.int32)
    form.decode(form.view(buffer), form.view(facts), form.view(spans), count)
    entries.facts[:] = facts
    if entries.more:
        buffer = _continued(buffer, spans[:, 2 * lines.TEXT : 2 * lines.TEXT + 2], entries.more)
    return Values(form, buffer, spans)


def _continued(buffer: np.ndarray, text: np.ndarray, more: dict[int, list[bytes]]) -> np.ndarray:
    """Return `buffer` with the texts of those entries at its end that other lines continue."""
    pieces, end = [buffer], len(buffer)
    for row, continued in more.items():
        start, stop = text[row].tolist()
        joined = b"\n".join([buffer[start:stop].tobytes() if start >= 0 else b"", *continued])
        text[row] = end, end + len(joined)
        pieces.append(np.frombuffer(joined, np.uint8))
        end += len(joined)
    return np.concatenate(pieces)


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
            self._values = _longer(self._values, start, 2 * self._size)
            self._absent = _longer(self._absent, start, 2 * self._size)
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
    texts = values.texts(column.name)
    return _encoded(texts) if column.dtype == "category" else texts


def _coded(codes: np.ndarray, names: tuple[str, ...]) -> pa.Array:
    indices = pa.array(codes.astype(np.int8), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.large_string()))


def _options(values: Values) -> pa.Array | None:
    texts = [values.texts(name) for name in _OPTIONS]
    known = [text for text in texts if text is not None]
    if not known:
        return None
    more = (pc.fill_null(text, "") for text in known[1:])
    return _encoded(pc.binary_join_element_wise(known[0], *more, pa.scalar("", pa.large_string())))


def _read_errors(columns: Piece, values: Values) -> None:
    """Enter what the error texts say of reply code, bytes written, and before Exim 4.85 of the host."""
    rows = np.flatnonzero(values.there("error"))
    texts = values.texts("error")
    if texts is None:
        return
    texts = texts.drop_null().dictionary_encode()  # many are alike
    found = pc.extract_regex(texts.dictionary, errors.ERROR_RE2).take(texts.indices)
    fields = {field.name: pc.struct_field(found, field.name) for field in found.type}
    for name, largest in _FROM_ERROR.items():
        columns[name] = _scattered_numbers(
            fields[name], rows, values.size, _COLUMNS[name].dtype.lower(), largest
        )
    columns["enhanced_status"] = _encoded(_scattered(_present(fields["enhanced_status"]), rows, values.size))
    for name, groups in _NAMED.items():
        named = pc.coalesce(*(_present(fields[group]) for group in groups))
        if named.null_count == len(named):
            continue
        plain = values.texts(name)
        spread = _scattered(named, rows, values.size)
        columns[name] = _encoded(spread if plain is None else pc.coalesce(plain, spread))


def _present(texts: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _encoded(texts: pa.Array | None) -> pa.Array | None:
    """Return texts as a dictionary with the smallest indices that do."""
    if texts is None or texts.null_count == len(texts):
        return None
    coded = texts.dictionary_encode()
    indices = coded.indices.cast(pa.from_numpy_dtype(np.min_scalar_type(-len(coded.dictionary))))
    return pa.DictionaryArray.from_arrays(indices, coded.dictionary)


def _scattered(texts: pa.Array, rows: np.ndarray, size: int) -> pa.Array:
    places = np.full(size, -1)
    places[rows] = np.arange(len(rows))
    return texts.take(pa.array(places, mask=places < 0))


def _scattered_numbers(
    texts: pa.Array, rows: np.ndarray, size: int, dtype: str, largest: int
) -> tuple[np.ndarray, np.ndarray] | None:
    short = pc.if_else(pc.less(pc.utf8_length(texts), 19), _present(texts), None)
    numbers = pc.fill_null(pc.cast(short, pa.int64()), -1).to_numpy()
    if (numbers < 0).all():
        return None
    values, absent = np.zeros(size, dtype), np.ones(size, bool)
    valid = (numbers >= 0) & (numbers <= largest)
    values[rows[valid]], absent[rows[valid]] = numbers[valid], False
    return values, absent


def _text(chunks: list[Any], sizes: list[int]) -> pd.arrays.ArrowStringArray:
    nothing = pa.nulls(max(sizes), pa.large_string())  # once, however often
    arrays = [nothing[:size] if chunk is None else chunk for chunk, size in zip(chunks, sizes, strict=True)]
    return pd.arrays.ArrowStringArray(pa.chunked_array(arrays))


def _categorical(chunks: list[Any], sizes: list[int]) -> pd.Categorical:
    nothing = pa.array([], pa.large_string())
    known = [chunk for chunk in chunks if chunk is not None]
    names = (
        pc.unique(pa.chunked_array([chunk.dictionary for chunk in known], pa.large_string()))
        if known
        else nothing
    )
    codes = np.full(sum(sizes), -1, np.min_scalar_type(-max(len(names), 1)))
    for chunk, end, size in zip(chunks, np.cumsum(sizes), sizes, strict=True):
        if chunk is not None:
            here = pc.index_in(chunk.dictionary, names).to_numpy()
            places = chunk.indices.fill_null(-1).to_numpy()
            codes[end - size : end] = np.append(here, -1)[places]
    categories = pd.array(names, dtype="str")
    return pd.Categorical.from_codes(codes, pd.Index(categories))
