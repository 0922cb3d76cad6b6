"""The octets of one message while it passes by, after DATA or in BDAT chunks (RFC 5321 4.5.2, RFC 3030)."""

from __future__ import annotations

from typing import Any

from smtpkit.measure import Measure, header_id, received_id
from smtpkit.smtp.stream import Piece, Place

BLOCK = 1 << 14  # octets that are collected before they are measured
MOST_CHUNKS = 1000  # of one message, whose places are kept
_END = b"\r\n.\r\n"


class Data:
    """One message's data: where it begins and ends, and what is in it; only the last block is kept."""

    def __init__(self, start: int, *, chunked: bool) -> None:
        self.start = start
        self.chunks: list[tuple[int, int]] = []  # ranges, in relative sequence numbers
        self.end: int | None = None  # behind the final dot, or the last chunk
        self.ended: Place | None = None  # the packet of its last octet
        self.split: bool | None = None
        self.whole = True  # no gap so far
        self.seen = 0
        self.measure = Measure(stuffed=not chunked)
        self.chunked = chunked
        self.closed = False
        self._block = bytearray()
        self._at_start = True

    def scan(self, piece: Piece, at: int) -> int:
        """Take what follows DATA, up to the final dot; return the offset after it."""
        before = len(self._block)
        self._block += piece.data[at:]
        self.seen += len(piece.data) - at
        dot = self._final_dot(before)
        if dot < 0:
            self._measure(keep=len(_END) - 1)
            return len(piece.data)
        rest = len(self._block) - dot - 3
        self.seen -= rest + 3
        del self._block[dot:]
        end = piece.end - rest
        self.split = piece.start > max(end - len(_END), self.start)
        self.chunks = [(self.start, end - 3)]
        self.finish(end, piece.place)
        return end - piece.start

    def pass_by(self, data: bytes) -> bool:
        """Take octets in which no final dot ends, and say whether they were that: most are."""
        if not self.whole:
            return False
        before = len(self._block)
        self._block += data
        if self._final_dot(before) >= 0:
            del self._block[before:]
            return False
        self.seen += len(data)
        self._measure(keep=len(_END) - 1)
        return True

    def _final_dot(self, before: int) -> int:
        """Return where in the block the final dot is, not within the first `before` octets; -1 if nowhere."""
        if self._at_start and self._block.startswith(b".\r\n"):
            return 0
        found = self._block.find(_END, max(before - len(_END) + 1, 0))
        return found + 2 if found >= 0 else -1

    def begin_chunk(self, start: int, end: int) -> None:
        """Take note of a chunk's range; of very many only what they have together stays."""
        if len(self.chunks) == MOST_CHUNKS:
            self.chunks = [(self.start, self.start + sum(end - start for start, end in self.chunks))]
        self.chunks.append((start, end))

    def chunk(self, piece: Piece, at: int, end: int) -> None:
        """Take octets of a chunk, from offset `at` to `end` of a piece."""
        self._block += piece.data[at:end]
        self.seen += end - at
        self._measure(keep=0)

    def over(self, end: int) -> None:
        """Let the data end here, as the server's reply says, though the final dot was not seen."""
        self.chunks = [(self.start, end)]
        self.close()

    def gap(self) -> None:
        """Take note that octets are missing here."""
        self._measure(keep=0, least=1)
        self.measure.gap()
        self.whole = self._at_start = False

    def close(self) -> None:
        """Measure what is left."""
        if self.closed:
            return
        self.closed = True
        self._measure(keep=0, least=1)
        self.measure.finish()

    def finish(self, end: int, place: Place) -> None:
        """Take the end of the data, and the packet that it came in."""
        self.end, self.ended = end, place
        self.close()

    def _measure(self, keep: int, least: int = BLOCK) -> None:
        if len(self._block) < least + keep:
            return
        cut = len(self._block) - keep
        self.measure.feed(bytes(self._block[:cut]))
        del self._block[:cut]
        self._at_start = False

    def size(self) -> int | None:
        """Return the octets of data, if its end was seen."""
        return None if self.end is None else sum(end - start for start, end in self.chunks)

    def up_to(self, number: int) -> int:
        """Return how many octets of data lie before a sequence number."""
        ranges = self.chunks if self.chunked or self.chunks else [(self.start, number)]
        return sum(max(min(end, number) - start, 0) for start, end in ranges)

    def facts(self) -> dict[str, Any]:
        """Return what the data seen has in it, in the terms of `transactions`.

        Where octets are missing, a zero that was seen is one, and nothing tells that there is none; what is
        bare, or how long a line is, may be the gap's doing.
        """
        header = self.measure.header()
        ids = {"message_id": received_id(header), "header_message_id": header_id(header)}
        seen = self.measure.seen()
        if not self.whole:
            seen |= dict.fromkeys(("longest_line", "bare_lf", "bare_cr"))
            seen |= {name: seen[name] or None for name in ("nul_count", "eight_bit")}
        return seen | {"data_seen": self.seen} | ids

    def forget(self) -> None:
        """Let go of what only measuring needs."""
        self.measure, self._block = Measure(), bytearray()
