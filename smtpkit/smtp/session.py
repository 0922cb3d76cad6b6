"""One connection: each reply goes to its command, commands make transactions (RFC 5321 3, RFC 2920)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

from smtpkit.smtp import tls
from smtpkit.smtp.client import END_OF_DATA, MASKED, Client, Command
from smtpkit.smtp.server import Reply, ReplyLine, Server
from smtpkit.smtp.stream import Half, Piece, Place
from smtpkit.smtp.transaction import Transaction

MOST_LINES = 20_000  # lines of one connection in `dialogue`; sessions and transactions go on beyond it
MOST_TRANSACTIONS = 10_000  # of one connection
MOST_PENDING = 10_000  # commands without a reply, and replies without their command
MOST_PIPELINED = 1000  # commands in which the one that a reply answers is looked for
MOST_STRANGE = 20  # lines that are no command, after which a client that nobody answers does not speak SMTP
_HELLO = ("EHLO", "HELO", "LHLO")
_OFFERS = {True: "offered", False: "not offered", None: None}
_PHASES = {
    **dict.fromkeys(_HELLO, "EHLO"),
    **{verb: verb for verb in ("STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "QUIT", END_OF_DATA)},
}


class Session:
    """What both sides said.

    A reply is given to the oldest command that waits for one, once all is read that the server had
    acknowledged with it. So the order in which the two directions are captured changes nothing.
    """

    def __init__(self) -> None:
        self.client, self.server = Client(), Server()
        self.sent, self.received = Half(), Half()
        self.first: Place | None = None
        self.syn_seen = self.server_seen = False
        self.syn_ack: int | None = None
        self.spoken: list[tuple[Any, ...]] = []  # rows of `dialogue`, but for the connection
        self.transactions: list[Transaction] = []
        self.hello: str | None = None
        self.keywords: list[str] = []
        self.masked = False
        self.offers_starttls: bool | None = None  # None: no reply to EHLO was seen whole
        self.starttls: str | None = None  # what became of the command
        self.auth: str | None = None
        self.greeting: Reply | None = None
        self.last: Command | None = None
        self.last_answered: bool | None = None
        self.last_verb: Command | None = None
        self.last_reply: Reply | None = None
        self.quit = False
        self.knows_smtp = False  # a command that only SMTP has
        self.phase: str | None = None
        self.current: Transaction | None = None
        self._chunk: Command | None = None  # the last BDAT of this transaction
        self._transaction_count = 0
        self._pending: deque[Command] = deque()
        self._replies: deque[Reply] = deque()

    @property
    def strange(self) -> bool:
        """Whether this is no SMTP: what comes after need not be read."""
        unheard = self.client.strange > MOST_STRANGE and not (self.server.replied or self.knows_smtp)
        return self.server.strange or unheard

    def from_client(self, pieces: Iterable[Piece]) -> None:
        """Take what the client sent, in order."""
        for piece in pieces:
            self.client.take(piece)
            self._go_on()

    def pass_by(self, piece: Piece) -> bool:
        """Take octets of the client at once if they are message data, in order; say whether it was so."""
        if self._replies or self.strange or not self.sent.goes_on(piece):
            return False
        return self.client.pass_by(piece)

    def from_server(self, pieces: Iterable[Piece]) -> None:
        """Take what the server sent, in order."""
        for piece in pieces:
            self._replies.extend(self.server.take(piece))
            self._go_on()

    def close(self) -> None:
        """Take what is left, with its gaps; nothing more will come."""
        self.from_server(self.received.close())
        self.from_client(self.sent.close())
        self._go_on(closing=True)
        self._end_transaction()
        for transaction in self.transactions:
            transaction.settle(self.sent)
        for line in self.server.unfinished:
            self._write_reply(line, self._pending[0].verb if self._pending else None)

    def _go_on(self, *, closing: bool = False) -> None:
        while True:
            if self._replies and self.client.position >= self._replies[0].ack:
                self._pair(self._replies.popleft())
            elif command := self.client.next_command():
                self._take(command)
            elif self._replies and (closing or self.client.waits or len(self._replies) > MOST_PENDING):
                self._pair(self._replies.popleft())
            elif self.client.waits and (closing or self.client.overdue):
                if place := self.client.guess():
                    self._attach_data(place)
            else:
                return

    # --- commands ---------------------------------------------------------------------------------------

    def _take(self, command: Command) -> None:
        verb = command.verb
        self.last, self.last_answered = command, False
        self.knows_smtp |= verb in (*_HELLO, "MAIL", "RCPT", "STARTTLS", "BDAT")
        self.masked |= bool(verb and MASKED.fullmatch(verb))
        if verb == END_OF_DATA:
            command.transaction = self.current
        else:
            self.last_verb = command
            self._begin(command)
        self.phase = self._reached(command)
        if command.transaction:
            command.transaction.phase = self.phase
        self._write_command(command)
        if len(self._pending) < MOST_PENDING:
            self._pending.append(command)

    def _begin(self, command: Command) -> None:
        verb = command.verb
        if self.current and verb in (*_HELLO, "RSET"):  # RFC 5321 4.1.1.5, 4.1.4
            self.current.ended = True
        if verb in _HELLO:
            self.hello = verb
        elif verb == "QUIT":
            self.quit = True
        elif verb == "AUTH":
            self.auth = command.argument or self.auth
        elif verb == "STARTTLS":
            self.starttls = "unanswered"
        elif verb in ("MAIL", "RCPT", "DATA", "BDAT"):
            self._chunk = command if verb == "BDAT" else None
            self._go_on_with_transaction(command)

    def _go_on_with_transaction(self, command: Command) -> None:
        more = command.verb == "BDAT" and self.current is not None and self.current.in_chunks
        if command.verb == "MAIL" or self.current is None or (self.current.ended and not more):
            self._begin_transaction(command.first)
        assert self.current is not None
        command.transaction = self.current
        self.current.take(command)
        if command.verb == "BDAT" and self.client.data and self.client.data.chunked:
            self.current.begin_data(self.client.data, command.first)

    def _begin_transaction(self, first: Place) -> None:
        self._end_transaction()
        self.current = Transaction(self._transaction_count, first)
        self._transaction_count += 1

    def _end_transaction(self) -> None:
        if self.current is None:
            return
        ended, self.current = self.current, None
        waiting = [one for one in islice(reversed(self._pending), MOST_PIPELINED) if one.transaction is ended]
        ended.phase = self._reached(waiting[-1]) if waiting else ended.phase
        ended.close()
        ended.settle(self.sent)
        if len(self.transactions) < MOST_TRANSACTIONS:
            self.transactions.append(ended)

    def _reached(self, command: Command) -> str | None:
        if command.verb != "BDAT":
            return _PHASES.get(command.verb or "", self.phase)
        return END_OF_DATA if command.last_chunk and not self.client.in_chunk else "sending data block"

    # --- replies ----------------------------------------------------------------------------------------

    def _pair(self, reply: Reply) -> None:
        self.last_reply = reply
        greets = self.greeting is None and self._greets(reply)
        command = None if greets else self._answered_by(reply)
        if command and command.verb == "DATA" and reply.after_gap and reply.code < 300:
            # The 354 is in the gap: this reply is the one to the data.
            self._begin_data(command, command.last, reply.lines[0].line.start)
            self._replies.appendleft(reply._replace(after_gap=False))
            return
        for line in reply.lines:
            self._write_reply(line, "banner" if greets else command.verb if command else None)
        if greets:
            self.greeting, self.phase = reply, self.phase or "banner"
            self.masked |= any("***" in line.text for line in reply.lines)
        elif reply.code == 354:
            last = reply.lines[-1].line
            self._begin_data(command, last.last, last.end)
        elif command:
            self._answer(command, reply)
        elif self.client.in_data:
            self._reply_in_data(reply)

    def _greets(self, reply: Reply) -> bool:
        """Say whether this is the greeting: the first octets of the server, or before any command."""
        first = self.last_verb is None
        if self.syn_ack is not None:
            first = reply.lines[0].line.start == 1 and not reply.after_gap
        return first and (reply.code == 220 or reply.code >= 400)

    def _answered_by(self, reply: Reply) -> Command | None:
        """Take the command that a reply answers from those that wait; None if none can have caused it."""
        if not self._pending or self._pending[0].start >= reply.ack:
            return None
        answered = self._pending[0]
        if reply.code == 354 or reply.after_gap:
            waiting = [one for one in islice(self._pending, MOST_PIPELINED) if one.start < reply.ack]
            data = (one for one in waiting if one.verb == "DATA" and reply.code == 354)
            answered = next(data, waiting[-1])
        while self._pending.popleft() is not answered:
            pass
        if answered is self.last:
            self.last_answered = True
        return answered

    def _begin_data(self, command: Command | None, place: Place, seen: int) -> None:
        """Let the data begin with a 354 that came in the packet `place` and ends at `seen`."""
        if command and command.verb == "DATA":
            self.client.answered("DATA", 354, seen)
        elif not self.client.in_data:
            self.client.begin_data(seen)
        self._attach_data(place)

    def _attach_data(self, place: Place) -> None:
        """Give the data that begins to its transaction."""
        if self.current is None or self.current.ended:
            self._begin_transaction(place)
        assert self.current is not None
        assert self.client.data is not None
        self.current.verb = "DATA"
        self.current.begin_data(self.client.data, place)
        self.phase = self.current.phase = "sending data block"

    def _reply_in_data(self, reply: Reply) -> None:
        """Take a reply before any final dot: the server met an end that we did not see, or gives up."""
        if reply.code < 400 or (self.client.data and not self.client.data.whole):
            self.client.end_data()
            self.phase = END_OF_DATA
        if self.current:
            self.current.phase = self.phase
            self.current.hear_data(reply)

    def _answer(self, command: Command, reply: Reply) -> None:
        verb = command.verb
        if verb in _HELLO and reply.code < 300:
            self._hear_keywords(reply, extended=verb != "HELO")
        elif verb == "STARTTLS":
            self.starttls = "accepted" if reply.code == 220 else "refused"
        elif verb in ("AUTH", "DATA"):
            self.client.answered(verb, reply.code, reply.lines[-1].line.end)
        if command.transaction:
            command.transaction.hear(command, reply)

    def _hear_keywords(self, reply: Reply, *, extended: bool) -> None:
        """Take the EHLO keywords: all lines but the first (RFC 5321 4.1.1.1)."""
        words = [line.text.split()[0].upper() for line in reply.lines[1:] if line.text.split()]
        self.keywords = list(dict.fromkeys(words))
        self.masked |= any(MASKED.fullmatch(word) for word in words)
        if "STARTTLS" in words or (extended and not reply.cut):
            self.offers_starttls = "STARTTLS" in words

    # --- rows -------------------------------------------------------------------------------------------

    def row(self) -> dict[str, Any]:
        """Return the connection's row of `sessions`, once it is closed."""
        replies = bool(self.server.replied or self.in_tls) or self.is_smtp is True
        row: dict[str, Any] = {
            "is_smtp": self.is_smtp,
            "helo": self.hello,
            "keywords": " ".join(self.keywords) or None,
            "masked": self.masked if replies else None,
            "starttls": self.starttls or _OFFERS.get(self.offers_starttls),
            "auth": self.auth,
            "transactions": None if self.in_tls else self._transaction_count,
            "answered": self._last_answered_known(),
            "quit": None if self.in_tls else self.quit,
            "phase": self._phase_at_end(),
            "conflicting": self.sent.conflict or self.received.conflict,
            "gaps_forward": self.client.gaps,
            "gaps_reverse": self.server.gaps,
        }
        return row | self._greeting_row() | self._last_row() | self._tls_row()

    @property
    def in_tls(self) -> bool:
        """Whether TLS has begun."""
        return self.client.in_tls or self.server.in_tls

    @property
    def is_smtp(self) -> bool | None:
        """Whether SMTP was spoken in clear; None if nothing was said that tells."""
        if self.knows_smtp or self.greeting or (self.server.replied and self.last_verb):
            return True
        return False if self.strange or self.client.strange else None

    def _greeting_row(self) -> dict[str, Any]:
        if self.greeting is None:
            return {}
        since = self.syn_ack
        wait = None if since is None else (self.greeting.first.time - since) / 1e9
        first = self.greeting.lines[0]
        return {"greeting_code": self.greeting.code, "greeting": first.text, "greeting_wait": wait}

    def _last_row(self) -> dict[str, Any]:
        row: dict[str, Any] = {}
        if self.last_verb:
            acknowledged = self.sent.acknowledged >= self.last_verb.end if self.server_seen else None
            row |= {
                "last_command": self.last_verb.verb,
                "last_command_time": self.last_verb.last.time,
                "last_command_acknowledged": acknowledged,
            }
        if self.last_reply:
            last = self.last_reply
            row |= {
                "last_reply_code": last.code,
                "last_reply": None if last.code == 334 else last.text,
                "last_reply_time": last.lines[-1].line.last.time,
            }
        return row

    def _last_answered_known(self) -> bool | None:
        """Say whether the last command or final dot was answered, unless a gap may hold the answer."""
        if self.last is None or not self.server_seen or self.in_tls:
            return None
        return True if self.last_answered else None if self.server.gaps else False

    def _phase_at_end(self) -> str | None:
        if self.in_tls:
            return None if self.tls_established else "TLS"
        if self.is_smtp is False:
            return None
        if self._pending and not self.client.in_data:
            return self._reached(self._pending[0])
        if self._chunk and self.phase == "sending data block":
            return self._reached(self._chunk)
        if self.phase or not self.server_seen:
            return self.phase or ("connect" if self.syn_seen else None)
        return "connect" if self.syn_seen and self.syn_ack is None else "banner"

    @property
    def tls_established(self) -> bool:
        """Whether both sides have sent application data."""
        return self.client.records.application_data and self.server.records.application_data

    def _tls_row(self) -> dict[str, Any]:
        client, server = self.client.records, self.server.records
        hello = client.first_of(tls.CLIENT_HELLO)
        state = "client hello" if hello else None
        if server.first_of(tls.SERVER_HELLO):
            state = "server hello"
        alerts = [(one, by) for by, one in (("client", client.alert), ("server", server.alert)) if one]
        row: dict[str, Any] = {"client_hello_size": hello.size if hello else None}
        if server.start is not None:
            row["server_flight_size"] = self._server_flight_end() - server.start
        if self.tls_established:
            return row | {"tls": "established"}
        if alerts:
            alert, by = min(alerts, key=lambda one: one[0].place.time)
            state, row["tls_alert"], row["tls_alert_by"] = "alert", alert.description, by
        return row | {"tls": state}

    def _server_flight_end(self) -> int:
        """Return how far the server had sent when the client went on after its ClientHello."""
        going_on = (one for one in self.client.records.records if not one.opens)
        after = next(going_on, None)
        return after.place.ack if after else self.received.sent

    def _write_command(self, command: Command) -> None:
        said = (command.verb, command.argument, None, None)
        self._write("forward", command.start, None if command.cut else command.end, said, command.last)

    def _write_reply(self, reply: ReplyLine, verb: str | None) -> None:
        line, text = reply.line, None if reply.code == 334 else reply.text  # a challenge is half of a secret
        said = (verb, None, reply.code, text)
        self._write("reverse", line.start, None if line.cut else line.end, said, line.last)

    def _write(self, direction: str, start: int, end: int | None, said: tuple[Any, ...], at: Place) -> None:
        if len(self.spoken) < MOST_LINES:
            length = None if end is None else end - start
            self.spoken.append((at.time, direction, start, length, *said, at.file, at.frame))
