"""One mail transaction: MAIL, RCPT, the data, and the reply to it (RFC 5321 3.3)."""

from __future__ import annotations

import re
from typing import Any

from smtpkit.smtp.client import END_OF_DATA, Command
from smtpkit.smtp.data import Data
from smtpkit.smtp.server import Reply
from smtpkit.smtp.stream import Half, Place

_SIZE = re.compile(r"(?i)\sSIZE=(\d{1,18})(?:\s|$)")  # RFC 1870 6.1
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")  # RFC 2034 4


class Transaction:
    """What is known of one message, from MAIL to the reply that ended it."""

    def __init__(self, number: int, first: Place) -> None:
        self.number, self.first = number, first
        self.verb: str | None = None
        self.phase: str | None = None
        self.ended = False  # by the reply to its data, or by RSET: the next command begins another
        self.data: Data | None = None
        self.content: dict[str, Any] | None = None  # its row of `content`, if its data was captured whole
        self._row: dict[str, Any] = {}
        self._recipients = self._accepted = 0
        self._reply: Reply | None = None
        self._answered = False  # the data has its reply
        self._acknowledged: int | None = None  # when the end of the data was

    @property
    def in_chunks(self) -> bool:
        """Whether more BDAT chunks may come."""
        return self.data is not None and self.data.chunked and not self.data.closed

    def take(self, command: Command) -> None:
        """Take a command of this transaction."""
        if command.verb == "MAIL":
            declared = _SIZE.search(command.argument or "")
            size = int(declared[1]) if declared else None
            self._row = {"mail_time": command.first.time, "declared_size": size}
        elif command.verb == "RCPT":
            self._recipients += 1
        elif command.verb in ("DATA", "BDAT"):
            self.verb = command.verb

    def begin_data(self, data: Data, place: Place) -> None:
        """Take note that the data begins, by the packet that says so."""
        if self.data is None:
            self.data = data
            self._row["start"] = place.time

    def hear(self, command: Command, reply: Reply) -> None:
        """Take the reply to one of its commands."""
        if command.last_chunk:
            self.phase = END_OF_DATA
        refused = reply.code >= 400
        self._accepted += command.verb == "RCPT" and not refused
        if command.verb == END_OF_DATA or command.last_chunk or (command.verb == "BDAT" and refused):
            self.hear_data(reply)
        elif refused and not self._answered:
            self._reply = reply

    def hear_data(self, reply: Reply) -> None:
        """Take the reply to the data, however much of it was sent; the first one counts."""
        if not self._answered:
            self._answered, self._reply, self.ended = True, reply, True

    def close(self) -> None:
        """Measure the data to its end, and let go of it."""
        if self.data is None:
            return
        self.data.close()
        self._row |= self.data.facts()
        if self.data.whole and self.data.end is not None:
            self.content = self.data.measure.row()
        self.data.forget()

    def settle(self, sent: Half) -> None:
        """Look up when the end of the data was acknowledged, while that is known."""
        if self.data and self.data.end is not None:
            times = [self._acknowledged, sent.acknowledged_at(self.data.end)]
            self._acknowledged = min((time for time in times if time is not None), default=None)

    def row(self, sent: Half, *, server_seen: bool) -> dict[str, Any]:
        """Return its row of `transactions`; what the server's packets tell only if there are any."""
        row = self._row | {
            "transaction": self.number,
            "file": self.first.file,
            "frame": self.first.frame,
            "recipients": self._recipients,
            "recipients_accepted": self._accepted if server_seen else None,
            "verb": self.verb,
            "phase": self.phase,
        }
        if self.data:
            row |= self._data_row(self.data, sent, server_seen)
        if self._reply:
            row |= self._reply_row(self._reply, sent)
        return row

    def _data_row(self, data: Data, sent: Half, server_seen: bool) -> dict[str, Any]:
        row = {
            "data_seq": sent.header_number(data.start),
            "data_size": data.size(),
            "bytes_sent": data.up_to(sent.sent),
            "bytes_delivered": data.up_to(sent.acknowledged) if server_seen else None,
        }
        if data.end is None or data.ended is None:
            return row
        acknowledged = sent.acknowledged >= data.end if server_seen else None
        return row | {
            "end_sent": data.ended.time,
            "end_acknowledged": acknowledged,
            "end_split": data.split,
        }

    def _reply_row(self, reply: Reply, sent: Half) -> dict[str, Any]:
        found = _ENHANCED.match(reply.text)
        row: dict[str, Any] = {
            "reply_code": reply.code,
            "reply": reply.text,
            "enhanced": found[1] if found else None,
        }
        if not self._answered:
            return row
        time = reply.lines[-1].line.last.time
        row |= {"end": time, "data_end_seq": sent.header_number(reply.ack)}
        if self.data and self.data.ended:
            since = self.data.ended.time
            if self._acknowledged is not None and since < self._acknowledged < reply.first.time:
                since = self._acknowledged
            row["reply_wait"] = (reply.first.time - since) / 1e9
        return row
