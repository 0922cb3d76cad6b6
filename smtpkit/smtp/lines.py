"""Lines of commands and replies (RFC 5321 2.3.8, 4.5.3.1), taken from pieces of a stream."""

from __future__ import annotations

from typing import NamedTuple

from smtpkit.smtp.stream import Piece, Place

LONGEST = 1024  # octets of a line that are kept; RFC 5321 4.5.3.1.4 allows 512, extensions add to it


class Line(NamedTuple):
    """One line: its range in relative sequence numbers, its first octets without CRLF, its packets."""

    start: int
    end: int  # of a line that is cut: the end of the gap
    text: bytes
    cut: bool  # its end was not captured
    first: Place
    last: Place


class Lines:
    """Puts lines together that are split over pieces."""

    def __init__(self) -> None:
        self._start = 0
        self._head = bytearray()
        self._first: Place | None = None

    @property
    def begun(self) -> bool:
        """Whether octets of a line have been taken, and not its end."""
        return self._first is not None

    def take(self, piece: Piece, at: int) -> tuple[Line | None, int]:
        """Return the line that ends at or behind offset `at` of a piece, if any, and the offset after it."""
        end = piece.data.find(b"\n", at)
        after = end + 1 if end >= 0 else len(piece.data)
        if self._first is None and end >= 0:
            text = _text(piece.data[at:after])
            return Line(piece.start + at, piece.start + after, text, False, piece.place, piece.place), after
        if self._first is None:
            self._start, self._first = piece.start + at, piece.place
        self._head += piece.data[at : min(after, at + LONGEST + 2 - len(self._head))]
        if end < 0:
            return None, after
        return self._line(piece.start + after, piece.place, cut=False), after

    def cut(self, gap_end: int) -> Line | None:
        """Return the line that a gap cuts, if one has begun; it ends somewhere in the gap."""
        if self._first is None:
            return None
        return self._line(gap_end, self._first, cut=True)

    def _line(self, end: int, last: Place, *, cut: bool) -> Line:
        assert self._first is not None
        line = Line(self._start, end, _text(bytes(self._head)), cut, self._first, last)
        self._head.clear()
        self._first = None
        return line


def _text(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")[:LONGEST]
