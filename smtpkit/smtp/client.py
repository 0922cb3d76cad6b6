"""What the client says: commands, message data, TLS records (RFC 5321 4.1, RFC 3030, RFC 4954)."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Any

from smtpkit.smtp import tls
from smtpkit.smtp.data import Data
from smtpkit.smtp.lines import LONGEST, Line, Lines
from smtpkit.smtp.server import decode
from smtpkit.smtp.stream import Piece, Place

END_OF_DATA = "end of data"
MOST_WAITING = 1 << 16  # octets that wait for the reply which says what they are
VERBS = {
    *("EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP"),
    *("STARTTLS", "AUTH", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML", "XCLIENT", "XFORWARD"),
}
_COMMAND = re.compile(rb"([A-Za-z]{4,12})(?:[ \t]+(.*))?", re.DOTALL)
_CHUNK = re.compile(r"(\d{1,18})(?:\s+(LAST))?\s*", re.IGNORECASE)
MECHANISMS = {
    *("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "NTLM", "GSSAPI", "GSS-SPNEGO", "EXTERNAL", "ANONYMOUS"),
    *("XOAUTH2", "OAUTHBEARER", *(f"SCRAM-SHA-{n}{plus}" for n in (1, 256, 512) for plus in ("", "-PLUS"))),
}
MASKED = re.compile(r"X{4,}[A-Z]?")  # what ESMTP inspection makes of a word that it does not know


@dataclass
class Command:
    """A command, an answer to a challenge of AUTH, or the final dot; never a secret."""

    verb: str | None  # None: no command that is known
    argument: str | None
    start: int
    end: int
    first: Place
    last: Place
    cut: bool = False  # its end was not captured
    last_chunk: bool = False
    transaction: Any = None  # the one that it belongs to


class Client:
    """Takes the client's pieces in order, gives commands one by one, measures message data on the way.

    After DATA and AUTH only the reply says how to read on: until `answered` is called the pieces wait.
    """

    def __init__(self) -> None:
        self.records = tls.Records()
        self.data: Data | None = None  # of the last message
        self.in_data = False  # after DATA
        self.position = 1  # what lies before was taken
        self.gaps = False
        self.strange = 0  # lines that are no command
        self._awaits: str | None = None  # the verb whose reply must be known first
        self._seen = 0  # how far into the server's octets the reply lies that let the data begin
        self._challenged = False  # the next line answers a challenge of AUTH
        self._chunk_end: int | None = None
        self._last_chunk = False
        self._lost = False  # a gap may have ended in mid-line
        self._lines = Lines()
        self._pieces: deque[tuple[Piece, int]] = deque()
        self._waiting = 0

    @property
    def in_tls(self) -> bool:
        """Whether TLS has begun."""
        return self.records.start is not None

    @property
    def in_chunk(self) -> bool:
        """Whether a BDAT chunk is under way."""
        return self._chunk_end is not None

    @property
    def waits(self) -> bool:
        """Whether pieces wait for a reply."""
        return bool(self._pieces)

    def take(self, piece: Piece) -> None:
        """Take the next piece."""
        self._pieces.append((piece, 0))
        self._waiting += len(piece.data)

    def pass_by(self, piece: Piece) -> bool:
        """Take the next piece at once if there is nothing but message data in it; say whether it was so."""
        if not self.in_data or self._pieces or self.in_tls or not piece.data:
            return False
        assert self.data is not None
        if not self.data.pass_by(piece.data):
            return False
        self.position = piece.end
        return True

    @property
    def overdue(self) -> bool:
        """Whether more waits for a reply than one that is only late would let."""
        return self._waiting > MOST_WAITING

    def next_command(self) -> Command | None:
        """Return the next command, if one is complete and may be read."""
        while self._pieces:
            piece, at = self._pieces[0]
            if self._must_wait(piece):
                return None
            command, at = self._read(piece, at) if piece.data else (self._gap(piece), 0)
            self.position = piece.start + at if piece.data else piece.end
            if at < len(piece.data):
                self._pieces[0] = piece, at
            else:
                self._waiting -= len(self._pieces.popleft()[0].data)
            if command:
                return command
        return None

    def answered(self, verb: str, code: int, seen: int) -> None:
        """Take note of the reply to DATA or AUTH, which ends at `seen`, in the server's relative numbers."""
        self._awaits = None
        if code == 354:
            self.begin_data(seen)
        self._challenged = verb == "AUTH" and code == 334

    def begin_data(self, seen: int) -> None:
        """Read what follows as message data."""
        self._awaits, self._seen, self.in_data = None, seen, True
        self.data = Data(self.position, chunked=False)

    def end_data(self) -> None:
        """Let the data end here though no final dot was seen: the server has replied to it."""
        if self.data and self.in_data:
            self.data.over(self.position)
        self.in_data = False

    def guess(self) -> Place | None:
        """Read on without the reply; return the packet that data begins in, if this looks like data."""
        (piece, at), verb = self._pieces[0], self._awaits
        self._awaits = None
        if self.in_data:
            self.end_data()
        elif _known(piece.data[at : at + LONGEST].partition(b"\n")[0]) is None:
            self._challenged = verb == "AUTH"
            if verb == "DATA":
                self.begin_data(piece.place.ack)
                return piece.place
        return None

    def _must_wait(self, piece: Piece) -> bool:
        """Say whether a reply must come first: to DATA or AUTH, or to data whose final dot a gap may hold."""
        if self.in_data and self.data and not self.data.whole and piece.place.ack > self._seen:
            return True
        return self._awaits is not None

    def _read(self, piece: Piece, at: int) -> tuple[Command | None, int]:
        if self.in_tls:
            return None, self.records.take(piece, at)
        if self.in_data:
            return self._read_data(piece, at)
        if self._chunk_end is not None:
            return None, self._read_chunk(piece, at, self._chunk_end)
        if not (self._lines.begun or self._challenged) and tls.begins(piece.data, at):
            return None, self.records.take(piece, at)
        line, at = self._lines.take(piece, at)
        return (self._command(line) if line else None), at

    def _read_data(self, piece: Piece, at: int) -> tuple[Command | None, int]:
        assert self.data is not None
        at = self.data.scan(piece, at)
        if self.data.end is None:
            return None, at
        self.in_data = False
        place = piece.place
        return Command(END_OF_DATA, None, self.data.end - 3, self.data.end, place, place), at

    def _read_chunk(self, piece: Piece, at: int, chunk_end: int) -> int:
        assert self.data is not None
        end = min(chunk_end - piece.start, len(piece.data))
        self.data.chunk(piece, at, end)
        if piece.start + end == chunk_end:
            self._end_chunk(piece.place)
        return end

    def _end_chunk(self, place: Place) -> None:
        if self.data and self._last_chunk and self._chunk_end is not None:
            self.data.finish(self._chunk_end, place)
        self._chunk_end = None

    def _gap(self, piece: Piece) -> Command | None:
        """Pass over what was not captured; a command that it cuts is known by its beginning."""
        self.gaps = True
        if self.in_tls:
            self.records.gap(piece.end)
            return None
        if self.data and (self.in_data or self._chunk_end is not None):
            self.data.gap()
            if self._chunk_end is not None and piece.end >= self._chunk_end:
                self._lost = piece.end > self._chunk_end
                self._end_chunk(piece.place)
            return None
        line = self._lines.cut(piece.end)
        command = self._command(line) if line else None
        self._lost = True
        return command

    def _command(self, line: Line) -> Command | None:
        if self._challenged:
            self._challenged, self._awaits = False, "AUTH"
            return Command("AUTH", None, line.start, line.end, line.first, line.last)
        known = _known(line.text)
        if known is None and self._lost:
            return None  # the rest of a line
        self._lost = False
        verb, argument = known or (None, None)
        command = Command(verb, argument, line.start, line.end, line.first, line.last, line.cut)
        if verb is None and not line.cut:
            self.strange += 1
        elif verb == "BDAT" and not line.cut:
            self._begin_chunk(command)
        elif verb in ("DATA", "AUTH"):
            self._awaits = verb
        elif verb in ("MAIL", "RSET"):
            self.data = None
        return command

    def _begin_chunk(self, command: Command) -> None:
        chunk = _CHUNK.fullmatch(command.argument or "")
        if not chunk:
            return
        if self.data is None or not self.data.chunked or self.data.closed:
            self.data = Data(command.end, chunked=True)
        command.last_chunk = self._last_chunk = bool(chunk[2])
        self._chunk_end = command.end + int(chunk[1])
        self.data.begin_chunk(command.end, self._chunk_end)
        if not int(chunk[1]):
            self._end_chunk(command.last)


def _known(text: bytes) -> tuple[str, str | None] | None:
    """Return verb and argument of a command; None if it is none that is known."""
    found = _COMMAND.fullmatch(text)
    verb = found[1].decode().upper() if found else ""
    if not found or not (verb in VERBS or MASKED.fullmatch(verb)):
        return None
    if verb not in VERBS:
        return verb, None
    argument = decode(found[2]).strip() if found[2] else None
    if verb == "AUTH":
        mechanism = (argument or "").partition(" ")[0].upper()
        argument = mechanism if mechanism in MECHANISMS else None  # anything else may be a secret
    return verb, argument
