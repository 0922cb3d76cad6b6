"""Write a capture to hand over: headers only, of all packets or of some, for strangers with other addresses.

A packet keeps its place, its time and its length on the wire. Of its bytes those up to the end of the TCP
header stay, of an ICMP error those up to the end of the TCP header that it quotes. Addresses are mapped
wherever a header has them; link-layer addresses, IP options and TCP options that may hold an address or a
secret are blanked. Checksums are adjusted to that and to no more (RFC 1624): one that was right is right for
the whole packet, one that was wrong, or left to the network card, still is.

The result is pcapng (draft-ietf-opsawg-pcapng) with what the file says of its interfaces; comments, names and
records that are no packets are left out, the latter with an empty packet in their place.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Container, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO

from smtpkit import files, forms, phrases
from smtpkit.addresses import Address
from smtpkit.capture import decoder
from smtpkit.capture.containers import Batch, CaptureFile, Interface
from smtpkit.capture.decoder import ICMP, ICMPV6, IPV4, IPV6, TCP, u16
from smtpkit.capture.inner import ETHERNET, GENEVE, UDP, layers
from smtpkit.capture.reader import LARGE

_ERRORS = {ICMP: (3, 4, 5, 11, 12), ICMPV6: (1, 2, 3, 4)}  # these quote a packet
_REDIRECT = 5
_KEPT_OPTIONS = (0, 1, 2, 3, 4, 5, 8)  # end, padding, MSS, window scale, SACK permitted, SACK, timestamps
_LINK_ADDRESS = {1: (0, 12), 113: (6, 14), 276: (12, 20)}  # LINKTYPE -> where its addresses are
_PRIVATE_USE = 147  # LINKTYPE of what is no packet


def redact_capture(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    mapped: Callable[[Address], Address],
    frames: Container[int] | None = None,
) -> int:
    """Write the capture `path` to `output` without payload and without its addresses.

    Parameters
    ----------
    path, output
        Capture file (pcap or pcapng, plain or compressed), and the pcapng file to write.
    mapped
        Gives the address in the place of another, such as `smtpkit.addresses.prefix_preserving`.
    frames
        Numbers of the frames to write, from 1; by default all.

    Returns
    -------
    int
        Packets written.

    Raises
    ------
    CaptureError
        If `path` is no capture.
    OSError
        If a file cannot be opened or written.
    """
    file, unfinished = CaptureFile(path), Path(f"{os.fspath(output)}.part")
    rewriter = _Rewriter(mapped)
    try:
        with open(unfinished, "wb") as stream:
            stream.write(_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
            writer = _Writer(stream, file, rewriter, frames)
            form = (forms.compiled if files.size(path) >= LARGE else forms.interpreted)(decoder)
            for batch in file.batches(lambda: form):
                writer.write(batch)
            writer.write_drops()
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    return writer.count


class _Writer:
    """Writes batches of frames as pcapng blocks."""

    def __init__(
        self, stream: BinaryIO, file: CaptureFile, rewriter: _Rewriter, frames: Container[int] | None
    ) -> None:
        self._stream, self._file, self._rewriter, self._wanted = stream, file, rewriter, frames
        self.count = 0
        self._numbers: dict[int, int] = {}  # interface of the file -> that written

    def write(self, batch: Batch) -> None:
        frames, numbers = batch.frames[:5, : batch.size], range(batch.first + 1, batch.first + batch.size + 1)
        if self._wanted is not None:
            frames = frames[:, [n in self._wanted for n in numbers]]
        for at, captured, length, ticks, interface in frames.T.tolist():
            self.count += 1
            frame = bytearray(batch.buffer[at : at + captured])
            number, link = self._interface(interface)
            kept = self._rewriter.rewrite(frame, link, length)
            when = max(ticks, 0)
            head = struct.pack("<5I", number, when >> 32, when & 0xFFFFFFFF, len(kept), length)
            self._stream.write(_block(6, head + _padded(kept)))

    def write_drops(self) -> None:
        """Write what the capturing system lost: isb_ifdrop of each interface."""
        for interface, lost in self._file.dropped.items():
            if interface in self._numbers:
                option = struct.pack("<HHQHH", 5, 8, lost, 0, 0)
                self._stream.write(_block(5, struct.pack("<3I", self._numbers[interface], 0, 0) + option))

    def _interface(self, interface: int) -> tuple[int, int]:
        """Return the interface's number and link type; it is described before its first packet."""
        described = self._file.interfaces[interface] if interface >= 0 else Interface(_PRIVATE_USE, 0)
        if interface not in self._numbers:
            self._numbers[interface] = len(self._numbers)
            self._stream.write(_block(1, self._rewriter.describe(described)))
        return self._numbers[interface], described.link


class _Rewriter:
    """Rewrites single packets, in place."""

    def __init__(self, mapped: Callable[[Address], Address]) -> None:
        self._mapped = mapped
        self._known: dict[bytes, bytes] = {}

    def describe(self, interface: Interface) -> bytes:
        """Return the body of an interface description block."""
        power = interface.units.bit_length() - 1
        binary = interface.units > 1 and interface.units == 1 << power
        resolution = 0x80 | power if binary else len(str(interface.units)) - 1
        options = struct.pack("<HHB3xHHq", 9, 1, resolution, 14, 8, interface.offset)
        if interface.filter:
            text = b"\0" + phrases.capture_filter(interface.filter, self._name).encode()
            options += struct.pack("<HH", 11, len(text)) + _padded(text)
        return struct.pack("<HHI", interface.link, 0, interface.snap) + options + bytes(4)

    def rewrite(self, frame: bytearray, link: int, wire: int) -> bytearray:
        """Return what is kept of a frame; `wire` is its length on the wire."""
        kind, at = decoder.network(frame, 0, len(frame), link)
        first, last = _LINK_ADDRESS.get(link, (0, 0))
        _blank(frame, first, last)
        if kind < 0:
            return frame[:at]
        end = at
        for place, layer in list(layers(kind, bytes(frame[at:]))):
            end = self._layer(frame, at + place, layer, wire)
        return frame[:end]

    def _layer(self, frame: bytearray, at: int, layer: int, wire: int) -> int:
        """Rewrite one layer; return the end of what is kept if no other follows."""
        if layer in (IPV4, IPV6):
            return self._ip(frame, at, wire)
        if layer == ETHERNET:
            _blank(frame, at, at + 12)
        elif layer == UDP:
            _blank(frame, at + 6, at + 8)  # no checksum: that of a tunnel covers all that it carries
        elif layer == GENEVE and at < len(frame):
            _blank(frame, at + 8, at + 8 + (frame[at] & 0x3F) * 4)
        return at

    def _ip(self, frame: bytearray, at: int, wire: int, *, quoted: bool = False) -> int:
        protocol, transport, ip_len, fragment_offset, more, _ = decoder.ip_header(frame, at, len(frame))
        if protocol < 0 or transport > len(frame):
            return at
        before = bytes(frame)
        ip_end = at + ip_len if ip_len else wire
        four = frame[at] >> 4 == 4
        for place, size in ((at + 12, 4), (at + 16, 4)) if four else ((at + 8, 16), (at + 24, 16)):
            self._address(frame, place, size)
        if four:
            frame[at + 20 : transport] = b"\x01" * (transport - at - 20)  # no operation, RFC 791
            _adjust(frame, at + 10, before, at, transport)
        else:
            _blank_extensions(frame, at, transport)
        if protocol not in (TCP, ICMP, ICMPV6) or fragment_offset:
            return transport
        ends = (at + 12, at + 20) if four else (at + 8, at + 40)
        if protocol == TCP:
            whole = not more and not quoted and min(len(frame), ip_end) - transport >= 18
            partial = whole and decoder.checksum_offload(before, at, transport, ip_end)
            return _tcp(frame, transport, ip_end, before, ends, partial=bool(partial))
        end = self._icmp(frame, transport, protocol, quoted=quoted)
        if protocol == ICMPV6:
            _adjust(frame, transport + 2, before, *ends)  # RFC 4443 2.3
        _adjust(frame, transport + 2, before, transport + 4, end)
        return end

    def _icmp(self, frame: bytearray, at: int, protocol: int, *, quoted: bool) -> int:
        """Rewrite an ICMP message, and the packet that an error quotes; what is quoted quotes no more."""
        if len(frame) < at + 8 or frame[at] not in _ERRORS[protocol] or quoted:
            return min(at + 8, len(frame))
        if protocol == ICMP and frame[at] == _REDIRECT:
            self._address(frame, at + 4, 4)
        return self._ip(frame, at + 8, len(frame), quoted=True)

    def _address(self, frame: bytearray, at: int, size: int) -> None:
        original = bytes(frame[at : at + size])
        if original not in self._known:
            self._known[original] = self._mapped(ip_address(original)).packed
        frame[at : at + size] = self._known[original]

    def _name(self, word: str) -> str:
        try:
            return str(self._mapped(ip_address(word)))
        except ValueError:
            return phrases.WITHHELD


def _tcp(
    frame: bytearray, at: int, ip_end: int, before: bytes, ends: tuple[int, int], *, partial: bool
) -> int:
    """Rewrite a TCP header; its checksum covers the addresses `ends` (RFC 9293 3.1)."""
    end = min(len(frame), ip_end)
    if end >= at + 13:
        end = min(end, at + max(20, (frame[at + 12] >> 4) * 4))
    for place, size in list(_options(frame, at + 20, end)):
        if frame[place] not in _KEPT_OPTIONS:
            frame[place : place + size] = b"\x01" * size
        elif frame[place] == 0:
            _blank(frame, place, end)
    if partial:  # the sum itself, not its complement
        _complement(frame, at + 16)
        _adjust(frame, at + 16, before, *ends)
        _complement(frame, at + 16)
    else:
        _adjust(frame, at + 16, before, *ends)
        _adjust(frame, at + 16, before, at + 20, end)
    return end


def _options(frame: bytearray, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield place and size of each TCP option; the last one, and what is no option, go on to the end."""
    while at < end:
        size = frame[at + 1] if at + 1 < end else 0
        size = 1 if frame[at] == 1 else size if frame[at] and 2 <= size <= end - at else end - at
        yield at, size
        at += size


def _blank_extensions(frame: bytearray, at: int, transport: int) -> None:
    """Blank what IPv6 extension headers hold; a fragment header stays (RFC 8200 4)."""
    kind, place = frame[at + 6], at + 40
    while place < transport:
        size = 8 if kind == decoder.FRAGMENT else (frame[place + 1] + 1) * 8
        size = (frame[place + 1] + 2) * 4 if kind == 51 else size
        if kind != decoder.FRAGMENT:
            kept = place + (4 if kind == 43 else 2)
            _blank(frame, kept, place + size)
        kind, place = frame[place], place + size


def _adjust(frame: bytearray, at: int, before: bytes, start: int, end: int) -> None:
    """Adjust the checksum at `at` to what changed from `start` to `end` (RFC 1624, equation 3)."""
    if at + 2 > len(frame):
        return
    total = ~u16(frame, at) & 0xFFFF
    for place in range(start, end - 1, 2):
        if place != at:
            total += (~u16(before, place) & 0xFFFF) + u16(frame, place)
    if (end - start) % 2:
        total += (~(before[end - 1] << 8) & 0xFFFF) + (frame[end - 1] << 8)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    frame[at : at + 2] = struct.pack(">H", ~total & 0xFFFF)


def _blank(frame: bytearray, start: int, end: int) -> None:
    frame[start:end] = bytes(len(frame[start:end]))


def _complement(frame: bytearray, at: int) -> None:
    frame[at : at + 2] = struct.pack(">H", ~u16(frame, at) & 0xFFFF)


def _padded(data: bytes | bytearray) -> bytes | bytearray:
    return data + bytes(-len(data) % 4)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size
