"""Write a main log of Exim's that looks like a busy host's: the same for the same seed.

    python benchmarks/exim_log.py 5000000 mainlog

Message ids have 16 characters, which is all that exigrep and eximstats of Exim 4.96 know.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CIPHERS = ("TLS1.3:TLS_AES_256_GCM_SHA384:256", "TLS1.2:ECDHE_RSA_AES_128_GCM_SHA256:128")
START = datetime(2024, 5, 1, tzinfo=UTC)


class Writer:
    """Writes lines about one message after the other."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._names = [f"user{n}@domain{n % 997}.example" for n in range(20_000)]
        self._hosts = [(f"mx{n}.domain{n % 997}.example", self._address(n)) for n in range(3_000)]
        self._clients = [f"client{n}.isp{n % 89}.example" for n in range(5_000)]
        self._count = 0

    def lines(self) -> Iterator[str]:
        """Yield the lines without end."""
        while True:
            draw = self._random.random()
            if draw < 0.12:
                yield from self._nothing_sent()
            else:
                yield from self._message(draw)

    def _address(self, n: int) -> str:
        return f"198.{18 + n % 2}.{n // 250 % 250}.{n % 250 + 1}"

    def _stamp(self) -> str:
        self._count += 1
        return f"{START + timedelta(seconds=self._count // 12):%F %T}"

    def _id(self) -> str:
        second = int(START.timestamp()) + self._count // 12
        return message_id(second, self._random.randrange(62**4), self._count)

    def _client(self) -> str:
        n = self._random.randrange(5_000)
        return f"H={self._clients[n]} (mail{n % 50}.isp{n % 89}.example) [{self._address(n)}]"

    def _nothing_sent(self) -> Iterator[str]:
        client, name = self._client(), self._random.choice(self._names)
        draw = self._random.random()
        if draw < 0.5:
            yield (
                f"{self._stamp()} {client} F=<{self._random.choice(self._names)}> rejected RCPT <{name}>:"
                " relay not permitted"
            )
        elif draw < 0.8:
            address = self._address(self._random.randrange(9999))
            yield f"{self._stamp()} no host name found for IP address {address}"
        elif draw < 0.97:
            yield f"{self._stamp()} SMTP command timeout on connection from {client[2:]} D=5m"
        else:
            yield f"{self._stamp()} Start queue run: pid={self._random.randrange(99999)}"

    def _message(self, draw: float) -> Iterator[str]:
        message, size = self._id(), int(self._random.lognormvariate(9.5, 1.3))
        sender = self._random.choice(self._names)
        yield (
            f"{self._stamp()} {message} <= {sender} {self._client()} P=esmtps"
            f" X={self._random.choice(CIPHERS)} CV=no K S={size}"
            f" id={self._random.getrandbits(64):x}.{self._count}@{sender.partition('@')[2]}"
        )
        if draw < 0.3:
            yield from self._local(message)
        else:
            for flag in ("=>", "->", "->")[: self._random.choice((1, 1, 1, 2, 3))]:
                yield from self._remote(message, flag, draw)
        yield f"{self._stamp()} {message} Completed"

    def _local(self, message: str) -> Iterator[str]:
        name = self._random.choice(self._names)
        user = name.partition("@")[0]
        yield f"{self._stamp()} {message} => {user} <{name}> R=local_user T=maildir_home QT=2s DT=0.021s"

    def _remote(self, message: str, flag: str, draw: float) -> Iterator[str]:
        host, address = self._hosts[self._random.randrange(3_000)]
        where = f"H={host} [{address}]"
        line = f"{message} {flag} {self._random.choice(self._names)} R=dnslookup T=remote_smtp"
        if draw > 0.97:
            error = f"SMTP timeout after end of data ({size_of(draw)} bytes written)"
            yield f"{self._stamp()} {message} {where}: {error}"
            yield f"{self._stamp()} {message} == {line[20:]} defer (110): Connection timed out {where}"
        elif draw > 0.93:
            yield (
                f"{self._stamp()} {message} ** {line[20:]} {where}: SMTP error from remote mail server after"
                " RCPT TO:<x@y.example>: 550 5.1.1 no such user"
            )
        else:
            yield (
                f"{self._stamp()} {line} {where} X={CIPHERS[self._count % 2]} CV=yes K"
                f' C="250 2.0.0 Ok: queued as {self._random.getrandbits(40):010X}" QT=3s DT=1.204s'
            )


def message_id(second: int, number: int, fraction: int = 0) -> str:
    """Return an id as Exim up to 4.96 makes it, of the time and the process."""
    return f"{_base62(second, 6)}-{_base62(number, 6)}-{_base62(fraction, 2)}"


def _base62(number: int, digits: int) -> str:
    return "".join(BASE62[number // 62**at % 62] for at in reversed(range(digits)))


def size_of(draw: float) -> int:
    """Return a number of bytes."""
    return int(draw * 1e6) % 90_000


def main() -> None:
    """Write as many lines as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=int)
    parser.add_argument("output")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    lines = Writer(asked.seed).lines()
    with open(asked.output, "w") as file:
        for _ in range(asked.lines):
            file.write(next(lines) + "\n")


if __name__ == "__main__":
    main()
