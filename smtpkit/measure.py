"""Measures a message while it passes by, block by block, from a file or from the wire.

Nothing of it is kept but counters, the head in which its ids stand, and an outline of its MIME parts.
"""

from __future__ import annotations

import re
from email.message import Message
from email.parser import BytesParser
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from smtpkit import tables

LONGEST_HEAD = 1 << 16  # octets of the header in which ids are looked for
LIMITS = (998, 1000, 1024)  # RFC 5322 2.1.1; RFC 5321 4.5.3.1.6, its CRLF not counted; what some servers take
_MOST_PARTS, _OUTLINE, _OUTLINE_LINE = 100, 1 << 15, 998  # bounds on what is kept for the MIME structure
LF, CR, DOT, DASH = b"\n\r.-"
_HIGH = bytes(range(128, 256))
_BLANK = re.compile(rb"(?:^|\n)\r?\n")
_RECEIVED = re.compile(
    rf"^Received:(?:[^\n]|\n(?=[ \t]))*?\sid ({tables.MESSAGE_ID})(?=[\s;])".encode(),
    re.IGNORECASE | re.MULTILINE,
)
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([^<>\s]{1,998})>", re.IGNORECASE | re.MULTILINE)
# Fields of no matter to the MIME structure, with the lines that continue them.
_OTHER_FIELDS = re.compile(
    rb"(?:^(?!content-|-)[!-9;-~]+:[^\r\n]*\n(?:[ \t][^\r\n]*\n)*)+", re.IGNORECASE | re.MULTILINE
)


class Measure:
    """Counters of one message.

    Parameters
    ----------
    stuffed
        The octets come from after DATA, where a dot at the start of a line is doubled (RFC 5321 4.5.2).
        It counts in `size`, not in the length of its line.
    """

    def __init__(self, *, stuffed: bool = False) -> None:
        self.stuffed = stuffed
        self.size = self.nuls = self.eight_bit = self.cr = self.lf = self.crlf = 0
        self.first_nul: int | None = None
        self.last = b""  # the last five octets
        self.lines = self.dot_lines = 0
        self.unended = 0  # octets of the last line, if it has no end yet
        self.unended_head = b""
        self.header_lines: int | None = None  # number of the empty line behind the header
        self.longest = self.longest_number = 0
        self.above = dict.fromkeys(LIMITS, 0)
        self.run, self.run_octet, self._running = 0, 0, (-1, 0)
        self.head = bytearray()
        self._head_open = True
        self._outline = _Outline()

    def feed(self, block: bytes) -> None:
        """Take the next octets."""
        if not block:
            return
        if self._head_open:
            self._keep_head(block)
        octets = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(octets == LF)
        after_cr = octets[ends - 1] == CR
        after_cr[:1] &= ends[:1] > 0  # the block's first octet has none before it
        self._count(block, octets, after_cr)
        self._split(block, octets, ends, after_cr)
        self._runs(block, octets)
        self.size += len(block)
        self.last = (self.last + block[-5:])[-5:]

    def gap(self) -> None:
        """Take note that octets are missing here: the line that they cut has no length, the header no end."""
        self.unended, self.unended_head = 0, b""
        self._head_open, self._running = False, (-1, 0)

    def _keep_head(self, block: bytes) -> None:
        start = max(len(self.head) - 2, 0)
        self.head += block[: LONGEST_HEAD - len(self.head)]
        blank = _BLANK.search(self.head, start)
        if blank:
            del self.head[blank.end() :]
        self._head_open = not blank and len(self.head) < LONGEST_HEAD

    def _count(self, block: bytes, octets: np.ndarray, after_cr: np.ndarray) -> None:
        if b"\0" in block:
            if self.first_nul is None:
                self.first_nul = self.size + block.index(b"\0")
            self.nuls += block.count(b"\0")
        if not block.isascii():
            self.eight_bit += len(block) - len(block.translate(None, _HIGH))
        self.cr += int(np.count_nonzero(octets == CR))
        self.lf += len(after_cr)
        self.crlf += int(np.count_nonzero(after_cr))
        self.crlf += self.last[-1:] == b"\r" and block[:1] == b"\n"

    def _split(self, block: bytes, octets: np.ndarray, ends: np.ndarray, after_cr: np.ndarray) -> None:
        """Count lines; LF ends one, with CR before it or without."""
        if len(ends):
            begun = self.unended_head if self.unended else b""
            start, begin = block[: ends[0]], octets[ends[:-1] + 1]
            lengths = ends - after_cr
            lengths[1:] -= ends[:-1] + 1
            lengths[0] = self._ended(start)
            dots = np.append((begun + start)[:1] == b".", begin == DOT)
            self._lengths(lengths - self._doubled(dots), self.lines)
            delimiters = (np.flatnonzero(begin == DASH) + 1).tolist()
            if self._outline.in_header or delimiters or (begun + start).startswith(b"--"):
                self._outline.take([begun + start, *block.split(b"\n")[1:-1]], delimiters)
            self.lines += len(ends)
            self.unended, self.unended_head = 0, b""
        rest = block[ends[-1] + 1 :] if len(ends) else block
        self.unended += len(rest)
        self.unended_head = (self.unended_head + rest[:_OUTLINE_LINE])[:_OUTLINE_LINE]

    def _ended(self, first: bytes) -> int:
        """Return the length of the line that began in an earlier block."""
        before = first[-1:] or (self.last[-1:] if self.unended else b"")
        return self.unended + len(first) - (before == b"\r")

    def _doubled(self, dots: np.ndarray) -> np.ndarray:
        """Count the lines that begin with a dot; return which have one that is not their own."""
        self.dot_lines += int(np.count_nonzero(dots))
        return dots & self.stuffed

    def _lengths(self, lengths: np.ndarray, before: int) -> None:
        longest = int(lengths.max())
        if longest > self.longest or not self.longest_number:
            self.longest, self.longest_number = longest, before + 1 + int(lengths.argmax())
        if longest > LIMITS[0]:
            for limit in LIMITS:
                self.above[limit] += int(np.count_nonzero(lengths > limit))
        if self.header_lines is None and not lengths.all():
            self.header_lines = before + 1 + int(lengths.argmin())

    def _runs(self, block: bytes, octets: np.ndarray) -> None:
        """Find the longest run of one octet, also over the edges of blocks."""
        same = octets[1:] == octets[:-1]
        octet, before = self._running
        before = before if octets[0] == octet else 0
        first = before + len(block) - len(block.lstrip(block[:1]))
        longest, place = max((first, 0), _longest(same, self.run), key=lambda run: run[0])
        if longest > self.run:
            self.run, self.run_octet = longest, int(octets[place])
        last = len(block) - len(block.rstrip(block[-1:]))
        self._running = int(octets[-1]), first if last == len(block) else last

    def finish(self) -> None:
        """Take the end of the message: its last line may lack an end."""
        if self.unended:
            dots = np.array([self.unended_head.startswith(b".")])
            self._lengths(self.unended - self._doubled(dots), self.lines)
            self._outline.take([self.unended_head], [])
            self.lines += 1

    def seen(self) -> dict[str, Any]:
        """Return what was counted so far, in the terms of `transactions`."""
        return {
            "nul_count": self.nuls,
            "first_nul": self.first_nul,
            "longest_line": self.longest,
            "eight_bit": self.eight_bit,
            "bare_lf": self.lf - self.crlf,
            "bare_cr": self.cr - self.crlf,
            "ends_with": self.last.hex() or None,
        }

    def row(self) -> dict[str, Any]:
        """Return the message's row of `content`, once it is finished; files are the caller's business."""
        body = self.header_lines is not None and self.longest_number > self.header_lines
        stuffing = self.dot_lines if self.stuffed else 0
        octets = self.size - self.lf - self.crlf
        # A file whose lines all end in LF is none with bare LF: so it is stored, and sent with CRLF.
        bare_lf = self.lf - self.crlf if self.crlf or self.stuffed else 0
        return self.seen() | {
            "bare_lf": bare_lf,
            "size": self.size - stuffing,
            "data_size": octets - stuffing + 2 * self.lines + self.dot_lines,
            "nul_last": self._text_end() == b"\0",
            "lines": self.lines,
            "longest_line_number": self.longest_number or None,
            "longest_line_in": ("body" if body else "header") if self.lines else None,
            **{f"lines_above_{limit}": count for limit, count in self.above.items()},
            "dot_lines": self.dot_lines,
            "longest_run": self.run,
            "longest_run_octet": f"{self.run_octet:02x}" if self.run else None,
            "mime": self._outline.structure(),
            "message_id": received_id(self.header()),
            "header_message_id": header_id(self.header()),
        }

    def header(self) -> bytes:
        """Return the header, or as much of it as is kept."""
        return bytes(self.head)

    def _text_end(self) -> bytes:
        """Return the last octet of the last line."""
        end = b"\r\n" if self.last.endswith(b"\r\n") else b"\n"
        return self.last.removesuffix(end)[-1:]


def _longest(same: np.ndarray, above: int) -> tuple[int, int]:
    """Return length and place of the longest run of one octet, if it is longer than `above`, else zeros.

    `same` tells which octets are followed by the same. Looked for are runs of twice the length until there
    are none: of most text that leaves a few places, without a number made of each octet.
    """
    lasting, width = _lasting(same, max(above, 1)), max(above, 1)
    if not lasting.any():
        return 0, 0
    while (longer := lasting[width:] & lasting[:-width]).any():
        lasting, width = longer, 2 * width
    places = np.flatnonzero(lasting)
    ends = np.flatnonzero(np.append(places[1:] - places[:-1] != 1, True))
    counts = ends.copy()
    counts[1:] -= ends[:-1]
    counts[0] += 1
    most = int(counts.argmax())
    return width + int(counts[most]), int(places[ends[most]] - counts[most] + 1)


def _lasting(same: np.ndarray, times: int) -> np.ndarray:
    """Mark the octets that are followed by the same so many times; `times` is 1 or more."""
    width = 1
    while width < times:
        step = min(width, times - width)
        same, width = same[step:] & same[:-step], width + step
    return same


def received_id(header: bytes) -> str | None:
    """Return Exim's id by the topmost Received field that has one."""
    found = _RECEIVED.search(header)
    return found[1].decode() if found else None


def header_id(header: bytes) -> str | None:
    """Return the Message-ID without its angle brackets (RFC 5322 3.6.4)."""
    found = _MESSAGE_ID.search(header)
    return found[1].decode("utf-8", "backslashreplace") if found else None


class _Outline:
    """The header and what follows each delimiter line: enough for the structure, whatever the parts' size."""

    def __init__(self) -> None:
        self.in_header = True
        self._kept: list[bytes] = []
        self._size = self._parts = 0

    def take(self, lines: list[bytes], delimiters: list[int]) -> None:
        """Take lines, keep those of a header; besides the first only those at `delimiters` may be one."""
        for start, end in pairwise([0, *delimiters, len(lines)]):
            if lines[start].startswith(b"--"):
                self.in_header = self._parts < _MOST_PARTS
                self._parts += 1
            while start < end and self.in_header and self._size < _OUTLINE:
                kept = lines[start][:_OUTLINE_LINE].rstrip(b"\r")
                self._kept.append(kept)
                self._size += len(kept) + 1
                self.in_header = bool(kept)
                start += 1

    def structure(self) -> str | None:
        """Return the MIME structure (RFC 2046), as in ``multipart/mixed(text/plain, image/png base64)``."""
        if not self._kept:
            return None
        return _structure_of(_OTHER_FIELDS.sub(b"X:\n", b"\n".join(self._kept) + b"\n"))


@lru_cache(maxsize=1000)  # most messages without parts have the same
def _structure_of(outline: bytes) -> str | None:
    try:
        return _structure(BytesParser().parsebytes(outline))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None  # the standard library stumbles over some parameters (RFC 2231) that make no sense


def _structure(part: Message) -> str:
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    name = f"{part.get_content_type()} {encoding}".strip()
    parts = [one for one in part.get_payload() if isinstance(one, Message)] if part.is_multipart() else []
    return f"{name}({', '.join(map(_structure, parts))})" if parts else name
