"""What the server says: replies, or TLS records (RFC 5321 4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from smtpkit.smtp import tls
from smtpkit.smtp.lines import Line, Lines
from smtpkit.smtp.stream import Piece, Place

MOST_REPLY_LINES = 200  # of one reply that are kept; no known server has more EHLO keywords
_REPLY = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)


class ReplyLine(NamedTuple):
    """One line of a reply."""

    code: int
    text: str
    more: bool  # a hyphen after the code: another line follows
    line: Line


class Reply(NamedTuple):
    """One reply: its first lines and its last one."""

    lines: tuple[ReplyLine, ...]
    after_gap: bool  # replies before it may be missing

    @property
    def code(self) -> int:
        """Its code, that of the last line."""
        return self.lines[-1].code

    @property
    def text(self) -> str:
        """The text of its last line."""
        return self.lines[-1].text

    @property
    def cut(self) -> bool:
        """Whether its end was not captured."""
        return self.lines[-1].more or self.lines[-1].line.cut

    @property
    def first(self) -> Place:
        """The packet that it begins in."""
        return self.lines[0].line.first

    @property
    def ack(self) -> int:
        """What the server had received before it replied, in relative sequence numbers of the client."""
        return self.first.ack


class Server:
    """Takes the server's pieces, gives its replies."""

    def __init__(self) -> None:
        self.records = tls.Records()
        self.replied = False
        self.strange = False  # began with what is no reply
        self.gaps = False
        self.unfinished: list[ReplyLine] = []  # lines of the reply that is under way
        self._lines = Lines()
        self._after_gap = False

    @property
    def in_tls(self) -> bool:
        """Whether TLS has begun."""
        return self.records.start is not None

    def take(self, piece: Piece) -> Iterator[Reply]:
        """Yield the replies that end in this piece."""
        if not piece.data:
            yield from self._gap(piece)
            return
        at = 0
        while at < len(piece.data) and not self.strange:
            if self.in_tls or (not self._lines.begun and tls.begins(piece.data, at)):
                at = self.records.take(piece, at)
                continue
            line, at = self._lines.take(piece, at)
            if line:
                yield from self._line(line)

    def _gap(self, piece: Piece) -> Iterator[Reply]:
        self.gaps = True
        if self.in_tls:
            self.records.gap(piece.end)
            return
        if line := self._lines.cut(piece.end):
            yield from self._line(line)
        if self.unfinished:  # its last line is in the gap, and nothing else is likely to be
            yield self._reply(tuple(self.unfinished))
        else:
            self._after_gap = True

    def _line(self, line: Line) -> Iterator[Reply]:
        found = _REPLY.fullmatch(line.text)
        if not found:
            self.strange = not (self.replied or self.unfinished or self._after_gap or line.cut)
            return
        one = ReplyLine(int(found[1]), decode(found[3] or b""), found[2] == b"-", line)
        if len(self.unfinished) < MOST_REPLY_LINES:
            self.unfinished.append(one)
        if not one.more:
            kept = self.unfinished[:-1] if self.unfinished[-1] is one else self.unfinished
            yield self._reply((*kept, one))

    def _reply(self, lines: tuple[ReplyLine, ...]) -> Reply:
        reply = Reply(lines, self._after_gap)
        self.replied, self.unfinished, self._after_gap = True, [], False
        return reply


def decode(raw: bytes) -> str:
    """Return text of the wire; what is no UTF-8 is written out."""
    return raw.decode("utf-8", "backslashreplace")
