"""Write a capture of SMTP traffic as a busy host would take it: seeded, interleaved, with loss.

``python benchmarks/capture_traffic.py 1000000 /tmp/full.pcap [SNAP_LENGTH]``
"""

from __future__ import annotations

import heapq
import random
import struct
import sys
from collections.abc import Iterator
from itertools import count, islice
from typing import BinaryIO, NamedTuple

OPEN = 3000  # connections at a time
LOSS = 0.01  # of the data segments, beyond the capturing host, which is the client's
FLIGHT = 10  # segments that are sent at once
MSS = 1448  # with timestamps in each header
START = 1_700_000_000_000_000  # µs since 1970
FIN, SYN, PSH, ACK = 0x01, 0x02, 0x08, 0x10
TEXT = b"A line of a message, as long as most of them are, and no two.\r\n" * 30


class End(NamedTuple):
    """One end of a connection: its IP version, address and port."""

    version: int
    address: bytes
    port: int


class Conversation:
    """Both ends of one connection; each method yields packets as (µs since the last one, bytes)."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self.rng = rng
        version = 6 if rng.random() < 0.1 else 4
        client, server = rng.randrange(4), int(rng.paretovariate(0.5)) % 5000
        port = 1024 + number % 64000
        self.ends = (_end(version, 1 << 16 | client, port), _end(version, 2 << 16 | server, 25))
        self.rtt = int(rng.lognormvariate(10, 0.7))  # median 22 ms
        self.seq = [rng.getrandbits(32), rng.getrandbits(32)]
        self.ip_id = [rng.getrandbits(16), rng.getrandbits(16)]
        self.clock = rng.getrandbits(31)

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """Yield one delivery, from SYN to FIN."""
        yield from self._handshake()
        yield from self._says(1, 90)
        for command, reply in ((22, 140), (32, 8), (34, 14), (6, 37)):
            yield from self._says(0, command)
            yield from self._says(1, reply)
        yield from self._message(int(self.rng.lognormvariate(10, 1.4)))  # median 22 kB, mean 59 kB
        yield from self._says(1, 40)
        yield from self._says(0, 6)
        yield from self._says(1, 30)
        for side in (0, 1):
            yield self.rtt // 2, self._packet(side, FIN | ACK)
            self.seq[side] += 1
        yield self.rtt // 2, self._packet(0, ACK)

    def _handshake(self) -> Iterator[tuple[int, bytes]]:
        yield 0, self._packet(0, SYN)
        self.seq[0] += 1
        yield self.rtt, self._packet(1, SYN | ACK)
        self.seq[1] += 1
        yield 30, self._packet(0, ACK)

    def _says(self, side: int, size: int) -> Iterator[tuple[int, bytes]]:
        yield self.rtt // 2, self._packet(side, PSH | ACK, size)
        self.seq[side] += size
        if self.rng.random() < 0.3:  # else the answer acknowledges
            yield self.rtt, self._packet(1 - side, ACK)

    def _message(self, size: int) -> Iterator[tuple[int, bytes]]:
        while size > 0:
            lengths = [min(MSS, size - at) for at in range(0, min(size, FLIGHT * MSS), MSS)]
            size -= sum(lengths)
            start = self.seq[0]
            for length in lengths:
                yield 12, self._packet(0, ACK, length)
                self.seq[0] += length
            lost = next((n for n in range(len(lengths)) if self.rng.random() < LOSS), None)
            yield from self._acknowledged(start, lengths, lost)

    def _acknowledged(self, start: int, lengths: list[int], lost: int | None) -> Iterator[tuple[int, bytes]]:
        """Yield the answers to a flight, and what is sent again if segment number `lost` of it is."""
        arrived = lengths if lost is None else lengths[:lost]
        for n in range(2, len(arrived) + 1, 2):
            yield (self.rtt if n == 2 else 20), self._packet(1, ACK, ack=start + sum(arrived[:n]))
        if lost is None:
            return
        gap = start + sum(arrived)
        after = gap + lengths[lost]
        for n in range(lost + 1, len(lengths)):
            sack = after, after + sum(lengths[lost + 1 : n + 1])
            yield 25, self._packet(1, ACK, ack=gap, sack=sack)
        answers = len(lengths) - lost - 1
        timeout = 40 if answers >= 3 else self.rtt + 200_000
        yield timeout, self._packet(0, ACK, lengths[lost], seq=gap)
        yield self.rtt, self._packet(1, ACK)

    def _packet(
        self,
        side: int,
        flags: int,
        size: int = 0,
        *,
        seq: int | None = None,
        ack: int | None = None,
        sack: tuple[int, int] | None = None,
    ) -> bytes:
        """Return one Ethernet frame, checksums left out."""
        source, target = self.ends[side], self.ends[1 - side]
        seq = self.seq[side] if seq is None else seq
        ack = self.seq[1 - side] if ack is None else ack
        self.clock += 1
        clocks = self.clock & 0xFFFFFFFF, (self.clock - 20) & 0xFFFFFFFF
        if flags & SYN:
            options = struct.pack(">BBHHH2IHBB", 2, 4, 1460, 0x0402, 0x080A, *clocks, 0x0103, 3, 7)
        elif sack:
            edges = [edge & 0xFFFFFFFF for edge in sack]
            options = struct.pack(">HH2IHH2I", 0x0101, 0x080A, *clocks, 0x0101, 0x050A, *edges)
        else:
            options = struct.pack(">HH2I", 0x0101, 0x080A, *clocks)
        header = 20 + len(options)
        tcp = struct.pack(
            ">HHIIBBHHH",
            *(source.port, target.port, seq & 0xFFFFFFFF, 0 if flags == SYN else ack & 0xFFFFFFFF),
            *(header << 2, flags, 501, 0, 0),
        )
        self.ip_id[side] = (self.ip_id[side] + 1) & 0xFFFF
        return _ip(source, target, header + size, self.ip_id[side]) + tcp + options + TEXT[:size]


def _end(version: int, host: int, port: int) -> End:
    prefix = b"\x0a" if version == 4 else bytes.fromhex("20010db8") + bytes(9)
    return End(version, prefix + host.to_bytes(3, "big"), port)


def _ip(source: End, target: End, size: int, ip_id: int) -> bytes:
    """Return an Ethernet and an IP header with don't fragment."""
    macs = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02"
    ends = source.address + target.address
    if source.version == 6:
        return macs + struct.pack(">HIHBB", 0x86DD, 0x60000000, size, 6, 64) + ends
    return macs + struct.pack(">HBBHHHBBH", 0x0800, 0x45, 0, 20 + size, ip_id, 0x4000, 64, 6, 0) + ends


def interleaved(seed: int) -> Iterator[tuple[int, bytes]]:
    """Yield packets without end, as (µs since 1970, bytes), of `OPEN` connections at a time."""
    rng, numbers = random.Random(seed), count()
    waiting: list[tuple[int, int, bytes, Iterator[tuple[int, bytes]]]] = []

    def begin(now: int) -> None:
        number = next(numbers)
        own = Conversation(rng, number).packets()
        _, frame = next(own)
        heapq.heappush(waiting, (now + rng.randrange(1_000_000), number, frame, own))

    for _ in range(OPEN):
        begin(START)
    while True:
        now, number, frame, own = waiting[0]
        yield now, frame
        after = next(own, None)
        if after:
            heapq.heapreplace(waiting, (now + after[0], number, after[1], own))
        else:
            heapq.heappop(waiting)
            begin(now)


def write(packets: int, file: BinaryIO, snap: int = 262_144, seed: int = 1) -> None:
    """Write a pcap file of so many packets, each cut to `snap` bytes."""
    file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, 1))
    for time, frame in islice(interleaved(seed), packets):
        kept = frame[:snap]
        file.write(struct.pack("<IIII", *divmod(time, 1_000_000), len(kept), len(frame)) + kept)


if __name__ == "__main__":
    with open(sys.argv[2], "wb") as output:
        write(int(sys.argv[1]), output, *map(int, sys.argv[3:]))
