"""Capture files: pcap and pcapng, read in chunks, as buffers with a table of the frames in them.

References: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from smtpkit.capture.decoder import (
    DAMAGED,
    DROPPED,
    FULL,
    INTERFACE,
    MAX_CAPTURED,
    MAX_LEN,
    MORE,
    NETWORK,
    NO_INTERFACE,
    NO_PACKET,
    OTHER_BLOCK,
    ROWS,
    ticks,
)
from smtpkit.files import open_input

CHUNK = 2 << 20  # bytes read at a time, which stay in the processor's cache until they are decoded
MOST_BLOCK = 8 << 20  # bytes of a pcapng block that is no packet
FRAMES = 8192  # frames in a batch at most, so that their tables stay in the processor's cache

# magic number -> byte order, time stamps per second, record header
_PCAP = {
    b"\xa1\xb2\xc3\xd4": (">", 10**6, 16),
    b"\xd4\xc3\xb2\xa1": ("<", 10**6, 16),
    b"\xa1\xb2\x3c\x4d": (">", 10**9, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9, 16),
    b"\xa1\xb2\xcd\x34": (">", 10**6, 24),
    b"\x34\xcd\xb2\xa1": ("<", 10**6, 24),
}
_SECTION, _DESCRIPTION, _OLD_PACKET, _SIMPLE_PACKET, _STATISTICS = 0x0A0D0D0A, 1, 2, 3, 5
_SECTION_MAGIC = struct.pack("<I", _SECTION)
# Blocks besides packets that Wireshark numbers like frames: systemd journal, Sysdig events, custom blocks.
_NUMBERED = {9, 0x204, 0x216, 0x221, 0x0BAD, 0x40000BAD}


class CaptureError(ValueError):
    """A file that is no capture, or of which nothing can be read; says which file and where."""


class Interface(NamedTuple):
    """What a capture file says of an interface."""

    link: int  # LINKTYPE number
    snap: int  # bytes kept of each packet, 0: all
    units: int = 10**6  # time stamps per second
    offset: int = 0  # seconds to add to them
    filter: str | None = None


class Batch(NamedTuple):
    """Frames that lie in one buffer."""

    buffer: np.ndarray  # (bytes,) uint8
    frames: np.ndarray  # (decoder.ROWS, FRAMES) int64
    size: int  # frames in it
    first: int  # frames of the file before these


def sniff(head: bytes) -> bool:
    """Tell whether a file that begins with `head` (decompressed, at least 12 bytes) is a pcap or pcapng."""
    return head[:4] in _PCAP or (head[:4] == _SECTION_MAGIC and _section_order(head) is not None)


def _section_order(head: bytes | memoryview) -> str | None:
    return {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}.get(bytes(head[8:12]))


class CaptureFile:
    """One capture file; iterating `batches` reads it once.

    `interfaces`, `dropped` and `damaged` (what ended the reading early, and where) are complete after that.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.interfaces: list[Interface] = []
        self._lost: dict[int, int] = {}
        self._statistics: dict[int, int] = {}
        self.damaged: list[tuple[str, str]] = []
        self.frames = 0
        self._stream = open_input(path)
        self._buffer = np.empty(0, np.uint8)
        self._at = self._end = 0
        self._before = 0  # bytes of the file before the buffer

    @property
    def position(self) -> int:
        """Bytes of the file, decompressed, that were read."""
        return self._before + self._at

    def batches(self, form: Callable[[], SimpleNamespace], limit: int = FRAMES) -> Iterator[Batch]:
        """Yield the frames, `limit` at a time; `form()` gives the decoder's form for the next batch.

        Raises
        ------
        CaptureError
            If the file is empty or no capture.
        """
        with self._stream:
            self._fill()
            container = self._container()
            status = MORE
            while status in (MORE, FULL):
                frames = np.empty((len(ROWS), limit), np.int64)
                self._at, count, status = container.scan(form(), frames)
                if count:
                    self._count_lost(frames[:, :count])
                    yield Batch(self._buffer[: self._end], frames, count, self.frames)
                    self.frames += count
                if status == MORE and not self._fill():
                    break
            self._report_end(status)

    def _count_lost(self, frames: np.ndarray) -> None:
        """Add up what the packets say was lost before them, by interface."""
        for column in np.flatnonzero(frames[DROPPED]):
            number, lost = int(frames[INTERFACE, column]), int(frames[DROPPED, column])
            self._lost[number] = self._lost.get(number, 0) + lost

    @property
    def dropped(self) -> dict[int, int]:
        """Packets lost, by interface; its statistics hold, else the sum of what the packets say."""
        return self._lost | self._statistics

    def _container(self) -> _Pcap | _Pcapng:
        head = bytes(self._buffer[: min(self._end, 24)])
        if not head:
            why = self._stream.damage or "the file is empty"
            raise CaptureError(f"{self.path}: byte 0: {why}; nothing can be read")
        if not sniff(head):
            raise CaptureError(f"{self.path}: byte 0: neither pcap nor pcapng; is this a capture file?")
        if head[:4] == _SECTION_MAGIC:
            return _Pcapng(self)
        if len(head) < 24:
            raise CaptureError(f"{self.path}: byte {len(head)}: the file ends inside its header")
        return _Pcap(self, head)

    def _fill(self) -> bool:
        """Move what is not yet read to the start of a new buffer and read on; False at the file's end."""
        rest = self._buffer[self._at : self._end]
        buffer = np.empty(len(rest) + CHUNK, np.uint8)
        buffer[: len(rest)] = rest
        got = self._stream.readinto(buffer[len(rest) :].data)
        self._before += self._at
        self._buffer, self._at, self._end = buffer, 0, len(rest) + got
        return got > 0

    def _report_end(self, status: int) -> None:
        where = f"byte {self.position}, after frame {self.frames}"
        if self._stream.damage:
            self.damaged.append((self._stream.damage, where))
        elif status == DAMAGED:
            self.damaged.append(("damaged record, the rest of the file is not read", where))
        elif self._at < self._end:
            self.damaged.append(("file ends in the middle of a packet", where))


class _Pcap:
    def __init__(self, file: CaptureFile, head: bytes) -> None:
        order, self._units, self._header = _PCAP[head[:4]]
        self._big = order == ">"
        snap, link = struct.unpack(f"{order}II", head[16:24])
        # The upper bits of the link type tell of a frame check sequence.
        file.interfaces.append(Interface(link & 0x03FFFFFF, snap, self._units))
        file._at = 24
        self._file = file

    def scan(self, form: SimpleNamespace, frames: np.ndarray) -> tuple[int, int, int]:
        """Enter frames from the file's place on; return the new place, the number of frames, and why."""
        file = self._file
        buffer, table = form.view(file._buffer), form.view(frames)
        return form.scan_pcap(buffer, file._at, file._end, self._big, self._units, self._header, table, 0)


class _Pcapng:
    def __init__(self, file: CaptureFile) -> None:
        self._file = file
        self._order = "<"
        self._first = 0  # number of the section's first interface

    def scan(self, form: SimpleNamespace, frames: np.ndarray) -> tuple[int, int, int]:
        """Do as `_Pcap.scan`; blocks that describe, and packets of the rarer kinds, are read here."""
        buffer, table = form.view(self._file._buffer), form.view(frames)
        at, end, count, status = self._file._at, self._file._end, 0, OTHER_BLOCK
        while status == OTHER_BLOCK:
            known, big = len(self._file.interfaces) - self._first, self._order == ">"
            at, count, status = form.scan_pcapng(buffer, at, end, big, known, self._first, table, count)
            if status == OTHER_BLOCK:
                at, count, status = self._other(at, frames, count)
        return at, count, status

    def _other(self, at: int, frames: np.ndarray, count: int) -> tuple[int, int, int]:
        head = bytes(self._file._buffer[at : at + 12])
        if head[:4] == _SECTION_MAGIC:
            order = _section_order(head)
            if order is None:
                return at, count, DAMAGED
            self._order, self._first = order, len(self._file.interfaces)
        kind, size = struct.unpack(f"{self._order}II", head[:8])
        if size < 12 or size % 4 or size > MOST_BLOCK:
            return at, count, DAMAGED
        if self._file._end - at < size:
            return at, count, MORE
        body = bytes(self._file._buffer[at + 8 : at + size - 4])
        frame = self._frame(kind, at + 8, body)
        if frame:
            frames[:NETWORK, count] = frame
            count += 1
        else:
            self._describe(kind, body)
        return at + size, count, OTHER_BLOCK

    def _frame(self, kind: int, at: int, body: bytes) -> tuple[int, ...] | None:
        """Return the rows of `frames` up to DROPPED, if the block counts as a frame."""
        if kind == _SIMPLE_PACKET and len(body) >= 4:
            return self._simple_packet(at + 4, body)
        if kind == _OLD_PACKET and len(body) >= 20:
            return self._old_packet(at + 20, body)
        return (at, 0, len(body), -1, NO_PACKET, 0) if kind in _NUMBERED else None

    def _describe(self, kind: int, body: bytes) -> None:
        if kind == _DESCRIPTION and len(body) >= 8:
            self._file.interfaces.append(self._interface(body))
        elif kind == _STATISTICS and len(body) >= 12:
            self._count_drops(body)

    def _interface(self, body: bytes) -> Interface:
        link, snap = struct.unpack(f"{self._order}HxxI", body[:8])
        options = self._options(body[8:])
        resolution = (options.get(9) or b"\x06")[0]
        units = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
        offset = options.get(14, b"")
        seconds = struct.unpack(f"{self._order}q", offset)[0] if len(offset) == 8 else 0
        rule = options.get(11, b"")
        text = rule[1:].decode("utf-8", "replace") if rule[:1] == b"\0" else None
        return Interface(link, snap, units, seconds, text)

    def _count_drops(self, body: bytes) -> None:
        """Take isb_ifdrop and isb_osdrop; they count from the start, so an interface's last block holds."""
        number = self._first + struct.unpack(f"{self._order}I", body[:4])[0]
        options = self._options(body[12:])
        counts = [options[code] for code in (5, 7) if len(options.get(code, b"")) == 8]
        if counts:
            self._file._statistics[number] = sum(struct.unpack(f"{self._order}Q", c)[0] for c in counts)

    def _simple_packet(self, at: int, body: bytes) -> tuple[int, ...]:
        """Read a packet of the section's first interface, without a time stamp."""
        (length,) = struct.unpack(f"{self._order}I", body[:4])
        interface = self._number(0)
        snap = self._file.interfaces[interface].snap if interface >= 0 else 0
        captured = min(length, len(body) - 4, snap or MAX_CAPTURED, MAX_CAPTURED)
        return at, captured, min(length, MAX_LEN), -1, interface, 0

    def _old_packet(self, at: int, body: bytes) -> tuple[int, ...]:
        number, lost, high, low, captured, length = struct.unpack(f"{self._order}HHIIII", body[:20])
        captured = min(captured, len(body) - 20, MAX_CAPTURED)
        known = lost if lost < 0xFFFF else 0  # all ones: unknown
        return at, captured, min(length, MAX_LEN), ticks(high, low), self._number(number), known

    def _number(self, number: int) -> int:
        """Return an interface's number in the file."""
        return self._first + number if number < len(self._file.interfaces) - self._first else NO_INTERFACE

    def _options(self, data: bytes) -> dict[int, bytes]:
        """Return the first option of each code."""
        options: dict[int, bytes] = {}
        at = 0
        while at + 4 <= len(data):
            code, size = struct.unpack(f"{self._order}HH", data[at : at + 4])
            if code == 0:
                break
            options.setdefault(code, data[at + 4 : at + 4 + size])
            at += 4 + size + -size % 4
        return options
