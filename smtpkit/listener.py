"""SMTP is listened to on several cores: each process reads the capture, and takes some of its connections."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import compress, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe
from typing import NamedTuple

import numpy as np
import pandas as pd

from smtpkit import smtp, tables
from smtpkit.capture import CaptureError, Reader, payload_of
from smtpkit.tables import KEY

AHEAD = 4  # batches of the reader that other processes may be ahead by: what they hold is bounded
MOST_OTHERS = 3  # processes; with more the one that follows TCP is the last to end


class Share(NamedTuple):
    """Some connections: those whose number leaves one of these remainders."""

    remainders: tuple[int, ...]
    shares: int

    def of(self, packets: pd.DataFrame) -> np.ndarray:
        """Mark the packets that belong to them."""
        return (packets["stream"] % self.shares).isin(self.remainders).to_numpy(bool)


class Listeners:
    """Gives what `smtp.Streams` does, from forked processes (see `cores.may_fork`).

    Parameters
    ----------
    paths
        Files of the capture, from its beginning.
    capture
        Number of this capture point.
    others
        How many other processes listen; each takes twice as much as this one, which follows TCP as well.
    """

    def __init__(self, paths: Sequence[str], capture: int, others: int) -> None:
        self._path, self._streams, self._share = paths[0], smtp.Streams(), Share((0,), 2 * others + 1)
        self._pipes: list[Connection] = []
        for first in range(1, 2 * others, 2):
            reader, share = Reader(*paths, capture=capture), Share((first, first + 1), 2 * others + 1)
            ours, theirs = Pipe()
            self._pipes.append(ours)
            arguments = (reader, share, theirs, self._pipes)
            get_context("fork").Process(target=_listen, args=arguments, daemon=True).start()
            theirs.close()
        self._send([None] * AHEAD)

    def feed(self, packets: pd.DataFrame, payload: Sequence[bytes]) -> None:
        """Take the next batch."""
        self._send([None])
        mine = self._share.of(packets)
        self._streams.feed(packets[mine], list(compress(payload, mine)))

    def close(self, streams: Iterable[int] | None = None) -> smtp.Heard:
        """Return what was heard, as `smtp.Streams.close` does.

        Raises
        ------
        ChildProcessError
            Another process has been ended.
        """
        self._send([(streams,)])
        heard = [self._streams.close(streams), *map(self._received, self._pipes)]
        together = zip(smtp.Heard._fields, zip(*heard, strict=True), strict=True)
        return smtp.Heard(
            *(
                tables.concat(list(frames), name).sort_values(KEY, kind="stable", ignore_index=True)
                for name, frames in together
            )
        )

    def _send(self, messages: Sequence[tuple[Iterable[int] | None] | None]) -> None:
        for pipe in self._pipes:
            with suppress(OSError):  # if the process has ended, `_received` tells why
                for message in messages:
                    pipe.send(message)

    def _received(self, pipe: Connection) -> smtp.Heard:
        try:
            answer = pipe.recv()
        except (EOFError, OSError):
            why = "a process that listened was ended, perhaps for want of memory"
            raise ChildProcessError(None, why, self._path) from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _listen(reader: Reader, share: Share, pipe: Connection, inherited: Sequence[Connection]) -> None:
    """Answer the process that asks, as long as there is one; an interrupt is its business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for one in inherited:
        one.close()
    with suppress(EOFError, OSError):
        try:
            _answer(reader, share, pipe)
        except Exception as error:
            pipe.send(error)


def _answer(reader: Reader, share: Share, pipe: Connection) -> None:
    """Take a batch for each None, else say what was heard in the connections asked for."""
    streams, batches = smtp.Streams(), iter(reader)
    while True:
        asked = pipe.recv()
        if asked:
            pipe.send(streams.close(*asked))
            continue
        with suppress(CaptureError, OSError):  # the process that asks meets it, too
            for packets, payload in islice(batches, 1):
                mine = packets[share.of(packets)]
                streams.feed(mine, payload_of(mine, payload))
