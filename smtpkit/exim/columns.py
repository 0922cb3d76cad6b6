"""Where values stand becomes the columns of `log_lines`."""

from __future__ import annotations

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
        self._form, self._buffer, self._spans = form, buffer, spans
        self.size = len(spans)

    def there(self, name: str) -> np.ndarray:
        """Tell which entries have a value."""
        return self._spans[:, 2 * lines.SPANS.index(name)] >= 0

    def texts(self, name: str) -> pa.Array | None:
        """Return the values as text; None if there are none at all."""
        at = lines.SPANS.index(name)
        there = self._spans[:, 2 * at] >= 0
        if not there.any():
            return None
        sizes = (self._spans[:, 2 * at + 1] - self._spans[:, 2 * at])[there]
        offsets, out = np.empty(self.size + 1, np.int64), np.empty(int(sizes.sum()), np.uint8)
        view = self._form.view
        self._form.gather(view(self._buffer), view(self._spans), at, self.size, view(offsets), view(out))
        nulls = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
        buffers = [nulls, pa.py_buffer(offsets), pa.py_buffer(out)]
        return pa.Array.from_buffers(pa.large_string(), self.size, buffers)

    def numbers(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the values as numbers, and where there is none."""
        at = lines.SPANS.index(name)
        if not self.there(name).any():
            return None
        column, view = _COLUMNS[name], self._form.view
        buffer, spans = view(self._buffer), view(self._spans)
        values, absent = np.empty(self.size, column.dtype.lower()), np.empty(self.size, bool)
        if column.dtype == "Float64":
            self._form.durations(buffer, spans, at, self.size, view(values), view(absent))
        else:
            self._form.integers(buffer, spans, at, self.size, _LARGEST[name], view(values), view(absent))
        return values, absent


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
    columns["line"] = (number, np.zeros(values.size, bool))
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


def frame(pieces: list[Piece]) -> pd.DataFrame:
    """Return the table `log_lines`, letting go each column of the pieces as it is joined."""
    if not pieces:
        return tables.empty("log_lines")
    sizes = [len(piece["time"]) for piece in pieces]
    columns = {
        name: _join(column, [piece.pop(name) for piece in pieces], sizes) for name, column in _COLUMNS.items()
    }
    return pd.DataFrame(columns, copy=False)


def _column(values: Values, column: tables.Column) -> Any:
    if column.dtype[0] in "IF":
        return values.numbers(column.name)
    texts = values.texts(column.name)
    return texts.dictionary_encode() if texts is not None and column.dtype == "category" else texts


def _coded(codes: np.ndarray, names: tuple[str, ...]) -> pa.Array:
    indices = pa.array(codes.astype(np.int8), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.large_string()))


def _options(values: Values) -> pa.Array | None:
    texts = [values.texts(name) for name in _OPTIONS]
    known = [text for text in texts if text is not None]
    if not known:
        return None
    more = (pc.fill_null(text, "") for text in known[1:])
    return pc.binary_join_element_wise(known[0], *more, pa.scalar("", pa.large_string())).dictionary_encode()


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


def _encoded(texts: pa.Array) -> pa.Array | None:
    return None if texts.null_count == len(texts) else texts.dictionary_encode()


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


def _join(column: tables.Column, chunks: list[Any], sizes: list[int]) -> Any:
    if column.dtype == tables.TIME:
        return pd.DatetimeIndex(np.concatenate(chunks).view("M8[ns]"), tz="UTC")
    if column.dtype == "category":
        return _categorical(chunks, sizes)
    if column.dtype == "string":
        return _text(chunks, sizes)
    kind = pd.arrays.FloatingArray if column.dtype == "Float64" else pd.arrays.IntegerArray
    values, absent = np.zeros(sum(sizes), column.dtype.lower()), np.ones(sum(sizes), bool)
    for chunk, end, size in zip(chunks, np.cumsum(sizes), sizes, strict=True):
        if chunk is not None:
            values[end - size : end], absent[end - size : end] = chunk
    return kind(values, absent)


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
    return pd.Categorical.from_codes(codes, pd.Index(names.to_pandas(), dtype="str"))
