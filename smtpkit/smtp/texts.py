"""The octets of some messages, read from the packets a second time: which ones matter is known only then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from smtpkit.smtp.stream import Half, Piece, Place
from smtpkit.smtp.streams import Segment, segments
from smtpkit.tables import KEY
from smtpkit.tcp.following import SYN
from smtpkit.tcp.tracking import client_of


def texts(
    batches: Iterable[tuple[pd.DataFrame, Sequence[bytes]]], transactions: pd.DataFrame
) -> dict[tuple[int, int, int], bytes]:
    """Return the data of mail transactions as it went over the wire, dots doubled, as far as it was sent.

    Parameters
    ----------
    batches
        Packets and their captured payload, of at least the connections wanted, in the order captured.
    transactions : DataFrame
        The wanted rows of table `transactions`. All their `data_seen` is held in memory.

    Returns
    -------
    dict
        Octets by capture, stream and number of the transaction; left out where some were not captured. Of
        BDAT (RFC 3030) the commands between the chunks are in it.
    """
    known = transactions.dropna(subset=["data_seq", "data_seen"])
    wanted: dict[Any, _Texts] = {key: _Texts(rows) for key, rows in known.groupby(KEY)}
    for packets, payload in batches:
        for key, segment in segments(packets, payload):
            if key in wanted:
                wanted[key].take(segment)
    return {(*key, number): text for key, mine in wanted.items() for number, text in mine.close()}


class _Texts:
    """The messages of one connection, in the client's octets."""

    def __init__(self, transactions: pd.DataFrame) -> None:
        named = transactions[["transaction", "data_seq", "data_seen"]].astype("int64")
        self._wanted = [(*row, bytearray()) for row in named.itertuples(index=False, name=None)]
        self._client: tuple[str, int] | None = None
        self._sent = Half()

    def take(self, segment: Segment) -> None:
        """Take a packet of either side."""
        self._client = self._client or client_of(segment.src, segment.dst, segment.flags)
        if segment.src != self._client:
            return
        syn = bool(segment.flags & SYN)
        start = self._sent.relative(segment.seq, syn=syn) + syn
        place = Place(segment.time, segment.file, segment.frame, 0)
        self._keep(self._sent.take(start, segment.data, segment.size, place))

    def close(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and octets of the messages that are here as far as they were seen."""
        self._keep(self._sent.close())
        yield from ((number, bytes(text)) for number, _, size, text in self._wanted if len(text) == size)

    def _keep(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            for _, number, size, text in self._wanted:
                first = self._sent.relative(number)
                start, end = max(piece.start, first), min(piece.end, first + size)
                if start < end:
                    text += piece.part(start, end).data
