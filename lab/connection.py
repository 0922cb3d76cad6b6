"""The octets of one connection of the small SMTP server: how they are read, and how it ends."""

import contextlib
import select
import socket
import ssl
import struct
import time
from typing import NoReturn

CRLF = b"\r\n"
DOT = b".\r\n"
AT_ONCE = 4096  # octets: with more, one that is to stop reading would have the message by then
LINGER = 5.0  # after a proper end the client has this long to close as well [s]


class Connection:
    """One client's; replies wait until all commands that came are answered (RFC 2920).

    That it has ended, whoever did it, is a ConnectionAbortedError or another OSError.
    """

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.came = bytearray()
        self.replies = bytearray()

    def line(self) -> str:
        """Read a command."""
        while (end := self.came.find(b"\n")) < 0:
            self._receive()
        return self.octets(end + 1).decode("latin-1").strip()

    def piece(self) -> bytes:
        """Read a line of data with its CRLF or, of one that has not ended yet, what has come."""
        while (end := self.came.find(CRLF)) < 0 and len(self.came) < len(DOT):
            self._receive()
        return self.octets(end + 2 if end >= 0 else len(self.came) - self.came.endswith(b"\r"))

    def octets(self, most: int) -> bytes:
        """Read some octets, at least one."""
        if not self.came:
            self._receive()
        taken = bytes(self.came[:most])
        del self.came[:most]
        return taken

    def say(self, reply: str) -> None:
        """Send a reply of one line or more, with the next ones if commands wait."""
        self.replies += b"".join(line.encode() + CRLF for line in reply.splitlines())

    def flush(self) -> None:
        """Send the replies that wait."""
        self.socket.sendall(self.replies)
        self.replies.clear()

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on over TLS; what came before in clear does not count (RFC 3207)."""
        self.flush()
        self.came.clear()
        secure = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.socket = secure
        secure.do_handshake()

    def never_answer(self) -> NoReturn:
        """Read on, so that TCP acknowledges; the client's FIN may end its commands only, as Exim's does."""
        self.flush()
        while self.socket.recv(AT_ONCE):
            pass
        self.stop_reading()

    def stop_reading(self) -> NoReturn:
        """Leave to the kernel what comes, until the client sends RST."""
        self.flush()
        self._await_reset()
        raise ConnectionAbortedError

    def close(self) -> NoReturn:
        """Send FIN, over TLS close_notify first, and wait for the client's."""
        self.flush()
        if isinstance(self.socket, ssl.SSLSocket):
            self.socket.settimeout(0)
            with contextlib.suppress(OSError):  # the client has not sent its own yet
                self.socket.unwrap()
        self.socket.shutdown(socket.SHUT_WR)
        self._discard(LINGER)
        raise ConnectionAbortedError

    def hang_up(self, wait: float, reset: bool) -> NoReturn:
        """Close after a time in which what comes is read, with RST or FIN."""
        self.flush()
        end = time.monotonic() + wait
        self._discard(wait)
        self._await_reset(max(0.0, end - time.monotonic()))
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            # On closing, the kernel sends RST if octets came that were not read, and for each that
            # comes later: a client that is still sending meets FIN and then RST.
            self.socket.shutdown(socket.SHUT_WR)
            self._discard(0.0)
        raise ConnectionAbortedError

    def _receive(self) -> None:
        self.flush()
        received = self.socket.recv(AT_ONCE)
        if not received:
            raise ConnectionAbortedError
        self.came += received

    def _await_reset(self, seconds: float | None = None) -> None:
        gone = select.poll()
        gone.register(self.socket, 0)  # errors are reported unasked
        gone.poll(None if seconds is None else 1000 * seconds)

    def _discard(self, seconds: float) -> None:
        """Read and forget for a time or up to the client's FIN."""
        end = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            while True:
                self.socket.settimeout(max(0.0, end - time.monotonic()))
                if not self.socket.recv(AT_ONCE):
                    return
