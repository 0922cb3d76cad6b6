"""Write what a busy mail host sends: a capture taken there, and its main log of the same deliveries; seeded.

``python benchmarks/capture_traffic.py CAPTURE --log MAINLOG --packets 1000000 [--snap-length 96]``

After so many packets, megabytes (``--megabytes 5000``) or deliveries no new ones begin. Every connection is
one delivery in clear text; one segment in a hundred is lost behind the host, and repeated. With
``--sick-every 500`` each so many deliveries one goes to a server behind a path MTU black hole.
"""

from __future__ import annotations

import argparse
import base64
import heapq
import os
import random
import struct
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import count, takewhile
from math import inf
from typing import BinaryIO, NamedTuple, TextIO

from exim_log import message_id

RATE = 300  # deliveries that begin each second
WHOLE = 262_144  # bytes: tcpdump's snap length
SERVERS = 5000
LOSS = 0.01  # of the data segments
FLIGHT = 10  # segments that are sent at once
MSS = 1448  # with timestamps in each header
START = 1_700_000_000_000_000  # µs since 1970
FINAL_TIMEOUT = 600_000_000  # µs, Exim's default
FIN, SYN, PSH, ACK = 0x01, 0x02, 0x08, 0x10
# Each message is an end of one text: lines of 78 octets, as an attachment has them, and the final dot.
LINE, LINES = 78, 1 << 16
TEXT = memoryview(
    base64.encodebytes(random.Random(0).randbytes(57 * LINES)).replace(b"\n", b"\r\n") + b".\r\n"
)

Event = tuple[int, bytes | str]  # µs since the one before, or since 1970; a frame, or a line of the log


class End(NamedTuple):
    """One end of a connection; its TTL as it arrives here."""

    version: int
    address: bytes
    port: int
    ttl: int


class Delivery:
    """Both ends of one connection, and what Exim logs of it."""

    def __init__(self, rng: random.Random, number: int, start: int, *, sick: bool) -> None:
        self.rng, self.sick = rng, sick
        version = 6 if rng.random() < 0.1 and not sick else 4
        server = SERVERS if sick else int(rng.paretovariate(0.5)) % SERVERS
        self.ends = _end(version, 1, 1024 + number % 64000, 64), _end(version, 2 + server, 25, 52)
        self.rtt = int(rng.lognormvariate(10, 0.7))  # median 22 ms
        self.seq = [rng.getrandbits(32), rng.getrandbits(32)]
        self.ip_id = [rng.getrandbits(16), rng.getrandbits(16)]
        self.clock = rng.getrandbits(31)
        self.host, self.id = f"mx{server}.example.net", message_id(start // 1_000_000, number)
        self.sender, self.recipient = f"user{number % 997}@example.org", f"user{number % 9973}@example.net"
        lines = min(
            int(rng.lognormvariate(10, 1.4)) // LINE, LINES
        )  # of 22 kB at the median, 59 kB on average
        if sick:
            lines = rng.choice((3, rng.randrange(2 * MSS, FLIGHT * MSS) // LINE))  # the short ones arrive
        self.body = TEXT[-(lines * LINE + 3) :]

    def events(self) -> Iterator[Event]:
        """Yield one delivery, from arrival to completion."""
        head = self._head()
        size = len(head) + len(self.body) - 3
        yield 0, f"{self.id} <= {self.sender} U=list P=local S={size} id={self.id}@mail.example.org"
        yield from self._handshake()
        yield from self._commands()
        yield from self._flight(head)
        if self.sick and len(self.body) > MSS:
            yield from self._black_hole(len(head))
            return
        for at in range(0, len(self.body), FLIGHT * MSS):
            yield from self._flight(self.body[at : at + FLIGHT * MSS])
        accepted = f"250 2.0.0 Ok: queued as {self.rng.getrandbits(40):010X}"
        yield from self._says(1, accepted)
        yield 100, f'{self.id} => {self._to()} {self._where()} C="{accepted}"'
        yield 0, f"{self.id} Completed"
        yield from self._says(0, "QUIT")
        yield from self._says(1, "221 2.0.0 Bye")
        for side in (0, 1):
            yield self.rtt // 2, self._packet(side, FIN | ACK)
            self.seq[side] += 1
        yield self.rtt // 2, self._packet(0, ACK)

    # --- what is said -----------------------------------------------------------------------------------

    def _handshake(self) -> Iterator[Event]:
        yield 50_000, self._packet(0, SYN)
        self.seq[0] += 1
        yield self.rtt, self._packet(1, SYN | ACK)
        self.seq[1] += 1
        yield 30, self._packet(0, ACK)

    def _commands(self) -> Iterator[Event]:
        yield from self._says(1, f"220 {self.host} ESMTP")
        size = len(self.body)
        keywords = "250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES"
        for command, reply in (
            ("EHLO mail.example.org", f"250-{self.host}\r\n{keywords}"),
            (f"MAIL FROM:<{self.sender}> SIZE={size}", "250 2.1.0 Ok"),
            (f"RCPT TO:<{self.recipient}>", "250 2.1.5 Ok"),
            ("DATA", "354 End data with <CR><LF>.<CR><LF>"),
        ):
            yield from self._says(0, command)
            yield from self._says(1, reply)

    def _says(self, side: int, text: str) -> Iterator[Event]:
        octets = text.encode() + b"\r\n"
        yield self.rtt // 2, self._packet(side, PSH | ACK, octets)
        self.seq[side] += len(octets)
        if self.rng.random() < 0.3:  # else the answer acknowledges
            yield self.rtt, self._packet(1 - side, ACK)

    def _head(self) -> bytes:
        fields = (
            f"Received: from list by mail.example.org with local (Exim 4.96)\r\n\tid {self.id}",
            f"\tfor {self.recipient}; Tue, 14 Nov 2023 22:13:20 +0000",
            f"Message-Id: <{self.id}@mail.example.org>",
            f"From: {self.sender}",
            f"To: {self.recipient}",
            "Subject: The figures that you asked for",
            "Date: Tue, 14 Nov 2023 22:13:20 +0000",
            "MIME-Version: 1.0",
            "Content-Type: application/octet-stream",
            "Content-Transfer-Encoding: base64",
        )
        return "".join(f"{field}\r\n" for field in (*fields, "")).encode()

    def _to(self) -> str:
        return f"{self.recipient} R=dnslookup T=remote_smtp"

    def _where(self) -> str:
        client, server = self.ends
        return f"H={self.host} [{_text(server)}]:25 I=[{_text(client)}]:{client.port}"

    # --- how it is sent ---------------------------------------------------------------------------------

    def _flight(self, octets: bytes | memoryview) -> Iterator[Event]:
        """Yield segments that are sent at once, and their acknowledgment; one may have to be sent again."""
        start = self.seq[0]
        segments = [octets[at : at + MSS] for at in range(0, len(octets), MSS)]
        for segment in segments:
            yield 12, self._packet(0, ACK, segment)
            self.seq[0] += len(segment)
        lost = next((n for n in range(len(segments)) if self.rng.random() < LOSS), None)
        arrived = len(segments) if lost is None else lost
        for n in range(2, arrived + 2, 2):
            ack = min(start + min(n, arrived) * MSS, self.seq[0])
            yield (self.rtt if n == 2 else 20), self._packet(1, ACK, ack=ack)
        if lost is not None:
            yield from self._repaired(start, segments, lost)

    def _repaired(self, start: int, segments: list[bytes | memoryview], lost: int) -> Iterator[Event]:
        """Yield what follows when one segment of a flight is lost: duplicate acknowledgments, and a copy."""
        gap = start + lost * MSS
        after = gap + len(segments[lost])
        for n in range(lost + 1, len(segments)):
            arrived = min(start + (n + 1) * MSS, self.seq[0])
            yield 25, self._packet(1, ACK, ack=gap, sack=(after, arrived))
        fast = len(segments) - lost - 1 >= 3
        yield (40 if fast else self.rtt + 200_000), self._packet(0, ACK, segments[lost], seq=gap)
        yield self.rtt, self._packet(1, ACK)

    def _black_hole(self, head: int) -> Iterator[Event]:
        """Yield full-size packets, which are lost, and a short one, which arrives, until Exim gives up."""
        start, wait, waited = self.seq[0], self.rtt + 200_000, self.rtt
        for at in range(0, len(self.body), MSS):
            segment = self.body[at : at + MSS]
            yield 12, self._packet(0, ACK, segment)
            self.seq[0] += len(segment)
        short = self.seq[0] - len(segment), self.seq[0]
        yield self.rtt, self._packet(1, ACK, ack=start, sack=short)
        while waited + wait < FINAL_TIMEOUT:
            yield wait, self._packet(0, ACK, self.body[:MSS], seq=start)
            waited, wait = waited + wait, 2 * wait
        error = f"SMTP timeout after end of data ({head + len(self.body)} bytes written)"
        host = self._where().partition(" I=")[0]
        yield FINAL_TIMEOUT - waited, f"{self.id} {host}: {error}: Connection timed out"
        yield 0, f"{self.id} == {self._to()} defer (110): Connection timed out {self._where()}: {error}"

    def _packet(
        self,
        side: int,
        flags: int,
        octets: bytes | memoryview = b"",
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
        ip = _ip(source, target, header + len(octets), self.ip_id[side])
        return b"".join((ip, tcp, options, octets))


def _end(version: int, host: int, port: int, ttl: int) -> End:
    """Return an end in the networks for benchmarks (RFC 2544 C.2.2, RFC 5180 8)."""
    prefix = bytes.fromhex("20010002" + "0" * 20) if version == 6 else bytes((198, 18))
    return End(version, prefix + host.to_bytes(2, "big"), port, ttl)


def _text(end: End) -> str:
    if end.version == 4:
        return ".".join(map(str, end.address))
    return f"2001:2::{int.from_bytes(end.address[-2:]):x}"


def _ip(source: End, target: End, size: int, ip_id: int) -> bytes:
    """Return an Ethernet and an IP header with don't fragment."""
    macs, ttl = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02", source.ttl
    ends = source.address + target.address
    if source.version == 6:
        return macs + struct.pack(">HIHBB", 0x86DD, 0x60000000, size, 6, ttl) + ends
    return macs + struct.pack(">HBBHHHBBH", 0x0800, 0x45, 0, 20 + size, ip_id, 0x4000, ttl, 6, 0) + ends


# --- all deliveries together ----------------------------------------------------------------------------


def interleaved(seed: int, numbers: Iterable[int], sick_every: int = 0) -> Iterator[Event]:
    """Yield frames and lines of deliveries of these numbers; their times are µs since 1970."""
    rng, start = random.Random(seed), START
    waiting: list[tuple[int, int, bytes | str, Iterator[Event]]] = []
    for number in numbers:
        start += int(rng.expovariate(RATE) * 1_000_000)
        while waiting and waiting[0][0] <= start:
            yield _next(waiting)
        sick = sick_every > 0 and number % sick_every == sick_every - 1
        own = Delivery(rng, number, start, sick=sick).events()
        heapq.heappush(waiting, (start, number, next(own)[1], own))
    while waiting:
        yield _next(waiting)


def _next(waiting: list[tuple[int, int, bytes | str, Iterator[Event]]]) -> Event:
    now, number, event, own = waiting[0]
    if after := next(own, None):
        heapq.heapreplace(waiting, (now + after[0], number, after[1], own))
    else:
        heapq.heappop(waiting)
    return now, event


class Writer:
    """Writes a pcap file, each packet cut to `snap` bytes, and the log beside it."""

    def __init__(self, capture: BinaryIO, log: TextIO | None = None, snap: int = WHOLE) -> None:
        self.packets, self.size = 0, 24
        self._capture, self._log, self._snap = capture, log, snap
        capture.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, 1))

    def write(self, time: int, event: bytes | str) -> None:
        """Write a frame, or a line."""
        if isinstance(event, bytes):
            kept = event[: self._snap]
            header = struct.pack("<IIII", *divmod(time, 1_000_000), len(kept), len(event))
            self._capture.write(header + kept)
            self.packets, self.size = self.packets + 1, self.size + 16 + len(kept)
        elif self._log:
            self._log.write(f"{datetime.fromtimestamp(time // 1_000_000, UTC):%F %T} {event}\n")


def write(
    writer: Writer,
    *,
    packets: float = inf,
    size: float = inf,
    deliveries: float = inf,
    sick_every: int = 0,
    seed: int = 1,
) -> None:
    """Let deliveries begin up to the first limit that is reached; all that have begun go on to their end."""

    def wanted(number: int) -> bool:
        return writer.packets < packets and writer.size < size and number < deliveries

    for event in interleaved(seed, takewhile(wanted, count()), sick_every):
        writer.write(*event)


def main() -> None:
    """Write as much as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("capture")
    parser.add_argument("--log")
    parser.add_argument("--packets", type=int, default=inf)
    parser.add_argument("--megabytes", type=int, default=inf)
    parser.add_argument("--deliveries", type=int, default=inf)
    parser.add_argument("--snap-length", type=int, default=WHOLE)
    parser.add_argument("--sick-every", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if inf == asked.packets == asked.megabytes == asked.deliveries:
        sys.exit("say where to end: --packets, --megabytes or --deliveries")
    with open(asked.capture, "wb") as capture, open(asked.log or os.devnull, "w") as log:
        write(
            Writer(capture, log, asked.snap_length),
            packets=asked.packets,
            size=asked.megabytes * 1_000_000,
            deliveries=asked.deliveries,
            sick_every=asked.sick_every,
            seed=asked.seed,
        )


if __name__ == "__main__":
    main()
