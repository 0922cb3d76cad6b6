"""What TLS shows in clear: record headers, the first handshake messages, alerts (RFC 8446 5.1, 4, 6)."""

from __future__ import annotations

from typing import NamedTuple

from smtpkit.smtp.stream import Piece, Place

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CLIENT_HELLO, SERVER_HELLO = 1, 2
_HEADER = 5
_LARGEST = (1 << 14) + 2048  # octets of a record, RFC 5246 6.2.3
_MOST_RECORDS = 64  # that are kept of each direction: more than any handshake has


class Record(NamedTuple):
    """One record: what it is, how long with its header, its first octets, and the packet it begins in."""

    type: int
    size: int
    start: int
    head: bytes
    place: Place

    @property
    def opens(self) -> bool:
        """Whether a client may send it before it has the server's flight: ClientHello, ChangeCipherSpec."""
        hello = self.type == HANDSHAKE and self.head[:1] == bytes([CLIENT_HELLO])
        return hello or self.type == CHANGE_CIPHER_SPEC

    @property
    def description(self) -> int | None:
        """Description of an alert; None if it is encrypted."""
        return self.head[1] if self.size == _HEADER + 2 and len(self.head) == 2 else None


def begins(data: bytes | bytearray, at: int) -> bool:
    """Say whether a record may begin here: no line of SMTP begins with these octets."""
    return CHANGE_CIPHER_SPEC <= data[at] <= APPLICATION_DATA and data[at + 1 : at + 2] in (b"", b"\3")


class Records:
    """Steps from header to header through one direction; what lies between is not looked at."""

    def __init__(self) -> None:
        self.start: int | None = None  # where TLS begins, in relative sequence numbers
        self.records: list[Record] = []
        self.alert: Record | None = None
        self.application_data = False
        self._head = bytearray()
        self._begun: tuple[int, Place] | None = None
        self._next = 0  # where the next header begins
        self._lost = False

    def take(self, piece: Piece, at: int) -> int:
        """Take a piece from offset `at` on; return the offset after it, the piece's end."""
        if self.start is None:
            self.start = self._next = piece.start + at
        while at < len(piece.data) and not self._lost:
            at = self._step(piece, at)
        return len(piece.data)

    def _step(self, piece: Piece, at: int) -> int:
        """Collect a header and two octets more; the rest of the record is stepped over."""
        if self._begun is None:
            at = max(at, self._next - piece.start)
            if at >= len(piece.data):
                return at
            self._begun = piece.start + at, piece.place
        wanted = _HEADER + 2 - len(self._head)
        self._head += piece.data[at : at + wanted]
        if len(self._head) >= _HEADER:
            size = _HEADER + int.from_bytes(self._head[3:5])
            if len(self._head) >= min(size, _HEADER + 2):
                return self._end(size) - piece.start
        return at + wanted

    def _end(self, size: int) -> int:
        """Take note of the record that has begun; return where the next one begins."""
        assert self._begun is not None
        start, place = self._begun
        record = Record(self._head[0], size, start, bytes(self._head[5 : min(size, 7)]), place)
        self._lost = not begins(self._head, 0) or size > _LARGEST
        self._head.clear()
        self._begun, self._next = None, start + size
        if not self._lost:
            self._keep(record)
        return self._next

    def _keep(self, record: Record) -> None:
        self.application_data |= record.type == APPLICATION_DATA
        if record.type == ALERT and self.alert is None:
            self.alert = record
        if len(self.records) < _MOST_RECORDS:
            self.records.append(record)

    def first_of(self, handshake: int) -> Record | None:
        """Return the first record that begins with a handshake message of this type."""
        wanted = HANDSHAKE, bytes([handshake])
        return next((one for one in self.records if (one.type, one.head[:1]) == wanted), None)

    def gap(self, end: int) -> None:
        """Take note that octets up to `end` were not captured: a record may span them, a header not."""
        self._lost = self._lost or self._begun is not None or end > self._next
