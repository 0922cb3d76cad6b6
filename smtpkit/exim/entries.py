"""Whole lines of a log become entries: a line that starts one, with those that continue it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from smtpkit.exim import lines, syslog

LONGEST = 1 << 20  # bytes of a line, and of what continues it; Exim itself writes at most 8 KiB
NO_STAMP = "line without a time stamp, kept as text"
ZEROS = "binary zeros before a line"
TOO_LONG = f"rest of a line longer than {LONGEST} bytes"
LOST_PART = "part of a split syslog line whose other parts are missing"

# Exim escapes what is not printable, so these bytes are not of its making.
_JUNK = re.compile(rb"[\0-\x08\x0e-\x1f\x7f]|\\x[89a-f]")
_NEWLINE, _RETURN = b"\n\r"


class Entries(NamedTuple):
    """Some entries of a log."""

    form: SimpleNamespace
    buffer: np.ndarray  # bytes
    facts: np.ndarray  # as in `lines`; START to END is the first line of each
    number: np.ndarray  # its number in the file
    more: dict[int, list[bytes]]  # what continues it


class Skipped(dict[str, list[int]]):
    """What was left out of a file or is odd in it: count and first line, by reason."""

    def __init__(self, file: str) -> None:
        self.file = file

    def add(self, reason: str, line: int, count: int = 1) -> None:
        """Count what is skipped; the first place stays."""
        self.setdefault(reason, [0, line])[0] += count

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the table `skipped`."""
        for reason, (count, line) in self.items():
            yield {"file": self.file, "reason": reason, "count": count, "where": f"line {line}"}


class Block:
    """Whole lines, of which some may be no lines of Exim's."""

    def __init__(self, form: SimpleNamespace, data: bytes, number: int, written: datetime) -> None:
        self._form, self._data, self._number, self._written = form, data, number, written
        self._buffer = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(self._buffer == _NEWLINE)
        if data and not data.endswith(b"\n"):
            ends = np.append(ends, len(data))
        self._starts = np.append(0, ends + 1)[:-1]
        self._facts = self._heads(self._buffer, self._starts, _trimmed(self._buffer, self._starts, ends))
        self._kept = np.ones(len(ends), bool)
        self._odd: list[tuple[str, int]] = []
        self._more: dict[int, list[bytes]] = {}
        self._room: dict[int, int] = defaultdict(lambda: LONGEST)
        self._written_as: dict[int, tuple[syslog.Line, list[bytes]]] = {}
        self._open: dict[tuple[bytes, ...], tuple[int, int]] = {}  # row and next part, by writer

    def entries(self, final: bool, skipped: Skipped) -> tuple[Entries, int, int]:
        """Return the entries, the bytes that they take and the lines.

        Unless the block is the `final` one, its last entry and those after a split one that goes on are left.
        """
        self._sort_out()
        end = len(self._starts) if final else self._whole()
        self._count(end, skipped)
        rows = np.flatnonzero(self._kept[:end])
        buffer, facts = self._rewritten(end)
        more = {int(np.searchsorted(rows, i)): lines_ for i, lines_ in self._more.items() if i < end}
        entries = Entries(self._form, buffer, facts[:, rows], self._number + rows, more)
        return entries, int(self._starts[end]) if end < len(self._starts) else len(self._data), end

    def _heads(self, buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        facts = np.empty((len(lines.FACTS), len(starts)), np.int64)
        facts[lines.START], facts[lines.END] = starts, ends
        self._form.heads(self._form.view(buffer), self._form.view(facts), len(starts))
        return facts

    def _sort_out(self) -> None:
        """Find what becomes of the lines that start with no time stamp."""
        stamped = self._facts[lines.BODY] >= 0
        above = np.maximum.accumulate(np.where(stamped, np.arange(len(stamped)), -1))
        last = -1
        for i in np.flatnonzero(~stamped).tolist():
            start, end = self._facts[lines.START : lines.BODY, i].tolist()
            line = self._data[start:end]
            last = max(last, int(above[i]))
            if not line.strip(b" \t\r"):
                self._kept[i] = False
            elif parsed := syslog.parse(line, self._written):
                last = self._syslog(i, parsed)
            else:
                last = self._continue(i, last, line)

    def _continue(self, i: int, last: int, line: bytes) -> int:
        self._room[last] -= len(line) + 1
        if last < 0 or self._room[last] <= 0:
            self._odd.append((NO_STAMP, i))
            return i
        if _JUNK.search(line):
            self._odd.append((NO_STAMP, i))
        self._more.setdefault(last, []).append(line)
        self._kept[i] = False
        return last

    def _syslog(self, i: int, line: syslog.Line) -> int:
        first, expected = self._open.pop(line.writer, (i, 1))
        if line.part != expected:
            self._odd.append((LOST_PART, i))
            first = i
        texts = self._written_as.setdefault(first, (line, []))[1]
        texts.append(line.text + line.joint)
        self._kept[i] = first == i
        if line.part < line.parts and sum(map(len, texts)) < LONGEST:
            self._open[line.writer] = first, line.part + 1
        return first

    def _whole(self) -> int:
        """Return how many lines hold entries that are known to be whole."""
        kept = np.flatnonzero(self._kept)
        end = min([kept[-1] if len(kept) else 0, *(row for row, _ in self._open.values())])
        bounded = end and len(self._data) - self._starts[end] <= 4 * LONGEST
        return int(end) if bounded else len(self._starts)

    def _count(self, end: int, skipped: Skipped) -> None:
        start, stop = self._facts[lines.START, :end], self._facts[lines.END, :end]
        zeros = np.flatnonzero(start > self._starts[:end])
        long = np.flatnonzero(stop - self._starts[:end] == LONGEST)
        odd = [*self._odd, *((ZEROS, i) for i in zeros.tolist()), *((TOO_LONG, i) for i in long.tolist())]
        for reason, i in odd:
            if i < end:
                skipped.add(reason, self._number + i)

    def _rewritten(self, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Return buffer and facts with the lines of syslog as Exim writes them into files of its own."""
        rows = [i for i in self._written_as if i < end]
        if not rows:
            return self._buffer, self._facts
        texts = []
        for i in rows:
            line, parts = self._written_as[i]
            first, *more = syslog.exim_form(line, b"".join(parts)).rstrip(b"\n").split(b"\n")
            texts.append(first)
            if more:
                self._more[i] = [*more, *self._more.get(i, [])]
        sizes = np.array([len(text) for text in texts])
        ends = len(self._data) + np.cumsum(sizes)
        buffer = np.frombuffer(self._data + b"".join(texts), np.uint8)
        self._facts[:, rows] = self._heads(buffer, ends - sizes, ends)
        return buffer, self._facts


def _trimmed(buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the ends without carriage returns, and none too far from its start."""
    for _ in range(2):
        ends = ends - ((ends > starts) & (buffer[ends - 1] == _RETURN))
    return np.minimum(ends, starts + LONGEST)
