"""One direction of a connection: its segments in order, and gaps left as gaps (RFC 9293 3.4, 3.10.7.4)."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# A hole waits for its segment until so much behind it has arrived. Once the receiver has acknowledged the
# hole, the segment was delivered and only the capture lacks it: it may still be late, but not by much.
MOST_HELD, MOST_HELD_ACKNOWLEDGED = 4 << 20, 1 << 16  # octets
MOST_HELD_PIECES = 4096
MOST_RECENT, MOST_RECENT_PIECES = 1 << 18, 256  # octets and pieces that a repetition is compared with
LARGEST_WINDOW = 1 << 30  # octets, RFC 7323 2.3
RECENT_ACKNOWLEDGMENTS = 64  # whose times are known: an acknowledgment may be captured before its data


class Place(NamedTuple):
    """The packet that octets came in: time in ns, file, frame, and what it acknowledges (relative)."""

    time: int
    file: str
    frame: int
    ack: int


class Piece(NamedTuple):
    """A range of a direction's octets, in relative sequence numbers; without data they were not captured."""

    start: int
    end: int
    data: bytes
    place: Place

    def part(self, start: int, end: int) -> Piece:
        """Return what lies from `start` to `end`, both inside."""
        if start == self.start and end == self.end:
            return self
        data = self.data[start - self.start : end - self.start] if self.data else b""
        return Piece(start, end, data, self.place)


class Half:
    """One direction: takes segments as they come, gives pieces in order, each octet once.

    Relative numbers are those of the table `analysis`: the SYN counts as 0, the first octet as 1. Of an octet
    sent twice the first copy counts. Where two copies that were under way together differ, `conflict` is
    set: which one the receiver took is unknown.
    """

    def __init__(self) -> None:
        self.base: int | None = None
        self.next = 1  # what lies before has been given
        self.sent = 1  # the highest octet known to be sent, + 1
        self.acknowledged = 1
        self.conflict = False
        self._held: list[Piece] = []  # in order, not overlapping
        self._held_size = 0
        self._recent: deque[Piece] = deque()
        self._recent_size = 0
        self._acknowledgments: dict[int, int] = {}  # number -> first time, oldest first

    def relative(self, number: int, *, syn: bool = False) -> int:
        """Unwrap one of this direction's sequence numbers (modulo 2^32)."""
        if self.base is None:
            self.base = number if syn else number - 1
        return self.next + (number - self.base - self.next + 2**31) % 2**32 - 2**31

    def acknowledge(self, ack: int, time: int) -> Iterable[Piece]:
        """Take the receiver's acknowledgment; return what needs to wait no longer."""
        if self._acknowledgments.get(ack, time + 1) <= time or ack > self.sent + LARGEST_WINDOW:
            return ()
        self._acknowledgments[ack] = time
        if len(self._acknowledgments) > RECENT_ACKNOWLEDGMENTS:
            del self._acknowledgments[next(iter(self._acknowledgments))]
        self.acknowledged, self.sent = max(ack, self.acknowledged), max(ack, self.sent)
        while self._recent and self._recent[0].end <= ack:
            self._recent_size -= len(self._recent.popleft().data)
        return list(self._release()) if self._held else ()

    def acknowledged_at(self, number: int) -> int | None:
        """Return the time when all before `number` was acknowledged first, if that is known."""
        if len(self._acknowledgments) == RECENT_ACKNOWLEDGMENTS and min(self._acknowledgments) >= number:
            return None
        return min((time for ack, time in self._acknowledgments.items() if ack >= number), default=None)

    def header_number(self, relative: int) -> int:
        """Return a relative number as it stands in the header."""
        return (relative + (self.base or 0)) % 2**32

    def take(self, start: int, data: bytes, size: int, place: Place) -> Iterable[Piece]:
        """Take a segment of `size` octets, of which `data` were captured; return what is in order now."""
        if start > self.next + LARGEST_WINDOW:
            return ()
        self.sent = max(self.sent, start + size)
        piece = Piece(start, start + size, data, place)
        if len(data) == size and self.goes_on(piece):
            self._pass(piece)
            return (piece,)
        if size == 1 and start == self.next - 1:  # a keep-alive, whose octet may be anything
            return ()
        captured = start + len(data)
        if data:
            self._insert(Piece(start, captured, data, place))
        if captured < start + size:
            self._insert(Piece(captured, start + size, b"", place))
        return list(self._release())

    def goes_on(self, piece: Piece) -> bool:
        """Say whether a piece is just the next one, and no other waits."""
        return piece.start == self.next and not self._held

    def close(self) -> Iterable[Piece]:
        """Return what is left, with the holes that nothing has filled."""
        return list(self._release(at_once=True))

    def _pass(self, piece: Piece) -> None:
        self.next = piece.end
        if not piece.data or piece.end <= self.acknowledged:
            return
        # Of a long one, the end alone: what is acknowledged no repetition is compared with.
        kept = piece.part(max(piece.start, self.acknowledged, piece.end - MOST_RECENT), piece.end)
        self._recent.append(kept)
        self._recent_size += len(kept.data)
        while self._recent_size > MOST_RECENT or len(self._recent) > MOST_RECENT_PIECES:
            self._recent_size -= len(self._recent.popleft().data)

    def _insert(self, piece: Piece) -> None:
        """Hold those parts that are new; compare the others with what came before."""
        if piece.start < self.next:
            if self.acknowledged < piece.end:  # what arrived before this was sent is no copy under way
                copy = piece.part(max(piece.start, self.acknowledged), piece.end)
                self.conflict |= any(_differ(copy, other) for other in self._recent)
            if piece.end <= self.next:
                return
            piece = piece.part(self.next, piece.end)
        at = bisect_right(self._held, piece.start, key=lambda one: one.start)
        if at and self._held[at - 1].end > piece.start:
            at -= 1
        last, new, start = at, [], piece.start
        while last < len(self._held) and self._held[last].start < piece.end:
            other = self._held[last]
            self.conflict |= _differ(piece, other)
            if start < other.start:
                new.append(piece.part(start, other.start))
            new.append(other)
            start, last = max(start, other.end), last + 1
        if start < piece.end:
            new.append(piece.part(start, piece.end))
        self._held_size += sum(len(one.data) for one in new)
        self._held_size -= sum(len(one.data) for one in self._held[at:last])
        self._held[at:last] = new

    def _release(self, *, at_once: bool = False) -> Iterator[Piece]:
        released = 0
        for piece in self._held:
            if piece.start > self.next:
                if not (at_once or self._waited_enough(piece.start, released)):
                    break
                yield Piece(self.next, piece.start, b"", piece.place)
            self._held_size -= len(piece.data)
            self._pass(piece)
            released += 1
            yield piece
        del self._held[:released]

    def _waited_enough(self, hole_end: int, released: int) -> bool:
        most = MOST_HELD_ACKNOWLEDGED if self.acknowledged >= hole_end else MOST_HELD
        return self._held_size > most or len(self._held) - released > MOST_HELD_PIECES


def _differ(one: Piece, other: Piece) -> bool:
    """Say whether two pieces have different octets in a range that they share."""
    start, end = max(one.start, other.start), min(one.end, other.end)
    if start >= end or not (one.data and other.data):
        return False
    return one.part(start, end).data != other.part(start, end).data
