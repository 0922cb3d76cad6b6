"""A small SMTP server that misbehaves as a plan says; it runs in threads of the lab's own process."""

import contextlib
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

from lab.certificates import make_certificate
from lab.connection import CRLF, DOT, Connection
from lab.namespaces import Host, Network

REFUSALS = {  # what comes in the place of a ServerHello, before hanging up
    "alert": bytes.fromhex("15 0303 0002 02 28"),  # fatal, handshake_failure
    "close": b"",
    "garbage": b"500 Command unrecognized\r\n",
}


@dataclass(frozen=True)
class Tls:
    """STARTTLS is offered, with a certificate chain, or breaks after the ClientHello."""

    key: str = "rsa:2048"  # what `openssl req -newkey` takes, or "ec"
    octets: int = 0  # the chain has at least this length in DER; 0: one self-signed certificate
    refuse: Literal["alert", "close", "garbage", "silent"] | None = None


@dataclass(frozen=True)
class Behaviour:
    """How a server differs from a plain one that takes every message.

    Phases are "banner", "EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "DATA", "BDAT" (all chunks but the last),
    "dot" (the final one, or the last chunk), "RSET", "NOOP" and "QUIT". Octets of data are those between 354
    and the final dot, or in chunks, as on the wire: with CRLF and doubled dots.
    """

    banner: str = "220 {name} ESMTP"
    keywords: tuple[str, ...] = ("SIZE 52428800", "8BITMIME", "PIPELINING")  # "CHUNKING": takes BDAT
    tls: Tls | None = None
    receive_buffer: int | None = None  # SO_RCVBUF, which the kernel doubles

    # Replies
    replies: Mapping[str, str] = field(default_factory=dict)  # by phase; lines end in \n; 421 closes
    greylist: float | None = None  # 451 at RCPT until a sender and recipient are known so long [s]
    reject_above: int | None = None  # 552 at the end of larger data
    limit_messages: int | None = None  # on one connection, then 421 at MAIL
    reply_in_data: tuple[int, str] | None = None  # as soon as more octets came; closes properly

    # Silence
    wait: Mapping[str, float] = field(default_factory=dict)  # before answering a phase [s]
    wait_per_megabyte: float = 0.0  # before answering the end of data, like a scanner [s]
    silent: frozenset[str] = frozenset()  # phases that are never answered
    silent_above: int | None = None  # the end of larger data is never answered
    end_missed_after: bytes | None = None  # after a line that ends so, the final dot is taken for data
    stop_reading_after: int | None = None  # octets; what fits into the buffers is acknowledged all the same

    # Hanging up without a reply
    close_above: int | None = None  # as soon as more octets came
    close_on_line_above: int | None = None  # octets in one line, CRLF not counted
    close_on: bytes | None = None  # as soon as a line of data holds these
    close_after_dot_above: int | None = None  # at the end of larger data; 0: of any
    close_wait: float = 0.0  # from the reason to the hanging up [s]
    reset: bool = False  # RST in the place of FIN


class Server:
    """Listens on one port of a host from construction until `stop`."""

    def __init__(self, network: Network, host: Host, behaviour: Behaviour, port: int, folder: Path) -> None:
        self.name, self.behaviour = host.name, behaviour
        self.context = _context(host.name, behaviour.tls, folder) if behaviour.tls else None
        self.first_tries: dict[tuple[str, str], float] = {}  # by sender and recipient
        self.queue_ids = random.Random(host.name)
        self.stopped = threading.Event()
        self.notes: list[str] = []
        self.sessions: list[Session] = []
        family = socket.AF_INET if host.version == 4 else socket.AF_INET6
        with network.inside(host.role):
            self.listener = socket.create_server((host.address, port), family=family, backlog=100)
        if behaviour.receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, behaviour.receive_buffer)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End all connections and free the port."""
        self.stopped.set()
        for each in (self.listener, *(session.connection.socket for session in self.sessions)):
            with contextlib.suppress(OSError):
                # Wakes the thread that waits there; past TLS, whose state belongs to that thread.
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        self.thread.join()

    def log(self) -> str:
        """Give what was answered and done, a line each, with the client's port."""
        return "".join(f"{note}\n" for note in self.notes)

    def greylists(self, sender: str, recipient: str) -> bool:
        """Whether a sender and recipient have not been known for long enough; known they are from now on."""
        now = time.monotonic()
        first = self.first_tries.setdefault((sender, recipient), now)
        return self.behaviour.greylist is not None and now - first < self.behaviour.greylist

    def _accept(self) -> None:
        with self.listener, contextlib.suppress(OSError):
            while True:
                accepted, address = self.listener.accept()
                session = Session(self, accepted, address[1])
                self.sessions.append(session)
                threading.Thread(target=session.run, daemon=True).start()


@dataclass
class Transaction:
    """A mail transaction; of the data only the end is kept."""

    sender: str | None = None
    recipients: int = 0
    size: int = 0  # octets of data
    lines: list[bytes] = field(default_factory=lambda: [b""])  # without CRLF; the last is yet to end

    def add(self, piece: bytes) -> None:
        """Take data that came."""
        self.size += len(piece)
        self.lines = (self.lines[-1] + piece).split(CRLF)


class Session:
    """SMTP with one client."""

    def __init__(self, server: Server, accepted: socket.socket, port: int) -> None:
        self.server, self.behaviour, self.port = server, server.behaviour, port
        self.connection = Connection(accepted)
        self.mail = Transaction()
        self.accepted = 0  # messages

    def run(self) -> None:
        """Talk to the client until one of the two ends the connection."""
        with contextlib.suppress(OSError):
            self._answer("banner", self.behaviour.banner.format(name=self.server.name))
            while True:
                self._obey(*self.connection.line().partition(" ")[::2])
        self.connection.socket.close()

    def _obey(self, verb: str, rest: str) -> None:
        match verb := verb.upper():
            case "EHLO" | "HELO" | "RSET" | "NOOP" | "QUIT":
                self._plain(verb)
            case "STARTTLS" if self._offers_tls():
                self._start_tls()
            case "MAIL":
                self._sender(rest)
            case "RCPT":
                self._recipient(rest)
            case "DATA":
                self._data()
            case "BDAT" if "CHUNKING" in self.behaviour.keywords:
                self._chunk(*rest.split())
            case _:
                self._answer(verb, "500 Command unrecognized")

    def _plain(self, verb: str) -> None:
        replies = {"EHLO": self._greeting(), "HELO": f"250 {self.server.name}", "QUIT": "221 Bye"}
        self._answer(verb, replies.get(verb, "250 OK"))
        if verb == "QUIT":
            self.connection.close()
        if verb != "NOOP":
            self.mail = Transaction()

    def _greeting(self) -> str:
        lines = [self.server.name, *self.behaviour.keywords, *["STARTTLS"] * self._offers_tls()]
        return "\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    def _offers_tls(self) -> bool:
        return self.behaviour.tls is not None and not isinstance(self.connection.socket, ssl.SSLSocket)

    def _start_tls(self) -> None:
        assert self.behaviour.tls
        assert self.server.context
        if not self._answer("STARTTLS", "220 Go ahead"):
            return
        refuse = self.behaviour.tls.refuse
        if refuse is None:
            self.connection.start_tls(self.server.context)
            self.mail = Transaction()
            return
        self.connection.octets(1)  # waits for the ClientHello
        if refuse == "silent":
            self._never_answer("TLS")
        self.connection.socket.sendall(REFUSALS[refuse])
        self._hang_up()

    def _sender(self, rest: str) -> None:
        limit = self.behaviour.limit_messages
        full = limit is not None and self.accepted >= limit
        if self._answer("MAIL", "421 Too many messages on this connection" if full else "250 OK"):
            self.mail.sender = _address(rest)

    def _recipient(self, rest: str) -> None:
        usual = "250 Accepted"
        if self.mail.sender is None:
            usual = "503 MAIL first"
        elif self.server.greylists(self.mail.sender, _address(rest)):
            usual = "451 4.7.1 Greylisted, please try again later"
        self.mail.recipients += self._answer("RCPT", usual)

    def _data(self) -> None:
        usual = "354 End data with <CR><LF>.<CR><LF>" if self.mail.recipients else "503 RCPT first"
        if self._answer("DATA", usual):
            while (piece := self.connection.piece()) != DOT or self.mail.lines[-1]:
                self._take(piece)
            missed = self.behaviour.end_missed_after
            if missed and b"".join(self.mail.lines).endswith(missed):
                self._never_answer("dot")
            self._end_of_data()

    def _chunk(self, octets: str, last: str = "") -> None:
        left = int(octets)
        while left:
            piece = self.connection.octets(left)
            left -= len(piece)
            if self.mail.recipients:
                self._take(piece)
        if not self.mail.recipients:
            self._answer("BDAT", "503 RCPT first")
        elif last:
            self._end_of_data()
        else:
            self._answer("BDAT", f"250 {octets} octets received")

    def _take(self, piece: bytes) -> None:
        """Take some data, and do what the plan wants done about it."""
        plan, mail = self.behaviour, self.mail
        mail.add(piece)
        if plan.reply_in_data and mail.size > plan.reply_in_data[0]:
            self._say("data", plan.reply_in_data[1])
            self.connection.close()
        if _above(mail.size, plan.stop_reading_after):
            self._note("stops reading")
            self.connection.stop_reading()
        if (
            _above(mail.size, plan.close_above)
            or _above(max(len(line.rstrip(b"\r")) for line in mail.lines), plan.close_on_line_above)
            or (plan.close_on and any(plan.close_on in line for line in mail.lines))
        ):
            self._hang_up()

    def _end_of_data(self) -> None:
        plan, size = self.behaviour, self.mail.size
        if _above(size, plan.close_after_dot_above):
            self._hang_up()
        if _above(size, plan.silent_above):
            self._never_answer("dot")
        self._pause(plan.wait_per_megabyte * size / 1e6)
        usual = f"250 OK: queued as {self.server.queue_ids.getrandbits(40):010X}"
        if _above(size, plan.reject_above):
            usual = "552 5.3.4 Message too large"
        self.accepted += self._answer("dot", usual)
        self.mail = Transaction()

    def _answer(self, phase: str, usual: str) -> bool:
        """Answer as the plan says or as usual; whether that lets the client go on."""
        if phase in self.behaviour.silent:
            self._never_answer(phase)
        self._pause(self.behaviour.wait.get(phase, 0.0))
        reply = self.behaviour.replies.get(phase, usual)
        self._say(phase, reply)
        if reply.startswith("421"):
            self.connection.close()
        return reply[0] in "23"

    def _say(self, phase: str, reply: str) -> None:
        self._note(f"{phase}: {reply!r}")
        self.connection.say(reply)

    def _never_answer(self, phase: str) -> NoReturn:
        self._note(f"{phase}: never answered")
        self.connection.never_answer()

    def _hang_up(self) -> NoReturn:
        self._note("hangs up")
        self.connection.hang_up(self.behaviour.close_wait, self.behaviour.reset)

    def _pause(self, seconds: float) -> None:
        if seconds:
            self.connection.flush()
            if self.server.stopped.wait(seconds):
                raise ConnectionAbortedError

    def _note(self, text: str) -> None:
        self.server.notes.append(f"{self.port} {text}, {self.mail.size} octets of data")


def _above(value: int, limit: int | None) -> bool:
    return limit is not None and value > limit


def _address(rest: str) -> str:
    found = re.search("<(.*?)>", rest)
    return found[1].lower() if found else ""


def _context(name: str, tls: Tls, folder: Path) -> ssl.SSLContext:
    folder.mkdir(exist_ok=True)
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make_certificate(name, tls.key, key, certificate, tls.octets)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
