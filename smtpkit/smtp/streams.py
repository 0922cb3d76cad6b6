"""Batches of packets and payload become tables of what was said (RFC 5321)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from smtpkit import tables
from smtpkit.smtp.session import Session
from smtpkit.smtp.stream import LARGEST_WINDOW, Half, Piece, Place
from smtpkit.tables import KEY, TIME
from smtpkit.tcp.following import FIN, FLAG_ACK, RST, SYN
from smtpkit.tcp.tracking import client_of

_NEEDED = ["stream", "src_port", "dst_port", "seq", "ack", "flags", "tcp_len"]
_INTEGERS = ["capture", "frame", "time", *_NEEDED]
_ORDER = ["capture", "stream", "time", "frame", "relative_seq"]


class Heard(NamedTuple):
    """What the connections of a capture said: tables of these names."""

    sessions: pd.DataFrame
    transactions: pd.DataFrame
    dialogue: pd.DataFrame
    content: pd.DataFrame


class Streams:
    """Puts the streams of all connections together while the payload passes by, and listens to them.

    Of each connection it keeps a few kilobytes, and segments that wait for one before them (at most
    `stream.MOST_HELD`): never the messages. Connections are independent of each other.
    """

    def __init__(self) -> None:
        self._connections: dict[tuple[int, int], _Connection] = {}

    def feed(self, packets: pd.DataFrame, payload: Sequence[bytes]) -> None:
        """Take the next batch.

        Parameters
        ----------
        packets : DataFrame
            Table `packets`, one batch of a capture.
        payload
            The captured payload of each of its rows (`capture.payload_of`).
        """
        for key, run in runs(packets, payload):
            connection = self._connections.get(key)
            if connection is None:
                connection = self._connections[key] = _Connection(run[0])
            if len(run) == 1 or not connection.pass_by(run):
                for segment in run:
                    connection.take(segment)

    def close(self, streams: Iterable[int] | None = None) -> Heard:
        """Return what was heard; nothing more will come.

        Parameters
        ----------
        streams
            Numbers of the connections that have ended, of one capture; by default all have.

        Returns
        -------
        Heard
            `sessions` and the others, in order of capture and stream: of connections to an SMTP port, and of
            all others where SMTP was spoken.
        """
        rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in Heard._fields}
        chosen = None if streams is None else set(streams)
        for key in sorted(k for k in self._connections if chosen is None or k[1] in chosen):
            for name, found in self._connections.pop(key).rows(dict(zip(KEY, key, strict=True))).items():
                rows[name] += found
        heard = {name: _table(found, name) for name, found in rows.items()}
        heard["dialogue"] = heard["dialogue"].sort_values(_ORDER, kind="stable", ignore_index=True)
        return Heard(**heard)


def listen(batches: Iterable[tuple[pd.DataFrame, Sequence[bytes]]]) -> Heard:
    """Return what the connections said in batches of packets and payload.

    Connections that share no key can be listened to apart: the rows are the same.
    """
    streams = Streams()
    for packets, payload in batches:
        streams.feed(packets, payload)
    return streams.close()


class Segment(NamedTuple):
    """A TCP packet and its payload as captured; numbers as in the header, time in ns."""

    src: tuple[str, int]
    dst: tuple[str, int]
    seq: int
    ack: int
    flags: int
    size: int
    time: int
    file: str
    frame: int
    data: bytes


def segments(packets: pd.DataFrame, payload: Sequence[bytes]) -> Iterator[tuple[tuple[int, int], Segment]]:
    """Yield the TCP packets with their connection; a damaged or cut header tells nothing."""
    for key, run in runs(packets, payload):
        yield from ((key, segment) for segment in run)


def runs(packets: pd.DataFrame, payload: Sequence[bytes]) -> Iterator[tuple[tuple[int, int], list[Segment]]]:
    """Yield the TCP packets connection by connection; what one side sends in one go is together.

    The segments of a run have data, captured whole, each from where the one before ends, and all acknowledge
    the same. Between and behind them are the other side's bare acknowledgments, of nothing yet to come.
    """
    whole = ~np.logical_or.reduce([packets[name].isna() for name in _NEEDED])
    number = packets["capture"].to_numpy("int64") << 32 | packets["stream"].to_numpy("int64", na_value=0)
    rows = np.flatnonzero(whole)
    rows = rows[np.argsort(number[rows], kind="stable")]  # each connection's packets stay in order
    columns = {name: packets[name].to_numpy("int64", na_value=0)[rows] for name in _INTEGERS}
    hosts, files = (_texts(packets, names, rows) for names in (["src", "dst"], ["file"]))
    data = [payload[row] for row in rows.tolist()]
    starts = _starts(columns, packets["src"].cat.codes.to_numpy()[rows], data).tolist()
    lists = {name: column.tolist() for name, column in columns.items()}
    ends = (zip(texts, lists[f"{end}_port"], strict=True) for end, texts in hosts.items())
    numbers = (lists[name] for name in ("seq", "ack", "flags", "tcp_len", "time"))
    fields = zip(*ends, *numbers, files["file"], lists["frame"], data, strict=True)
    found = map(partial(tuple.__new__, Segment), fields)  # as `_make`, in a third of the time
    for start, end in pairwise([*starts, len(data)]):
        yield (lists["capture"][start], lists["stream"][start]), list(islice(found, end - start))


def _texts(packets: pd.DataFrame, names: list[str], rows: np.ndarray) -> dict[str, list[str]]:
    return {
        name: packets[name].cat.categories.to_numpy(object)[packets[name].cat.codes.to_numpy()[rows]].tolist()
        for name in names
    }


def _starts(tcp: dict[str, np.ndarray], src: np.ndarray, data: list[bytes]) -> np.ndarray:
    """Return the rows in which runs begin."""
    plain = tcp["flags"] & (SYN | FIN | RST | FLAG_ACK) == FLAG_ACK
    bulk = plain & _captured_whole(tcp["tcp_len"], data)
    rows = np.arange(len(src))
    last = np.maximum.accumulate(np.where(bulk, rows, -1))[:-1]  # data before each row but the first
    known = last >= 0
    for name in ("capture", "stream"):
        known &= tcp[name][1:] == tcp[name][last]
    own = (src[1:] == src[last]) & (tcp["src_port"][1:] == tcp["src_port"][last])
    end = tcp["seq"][last] + tcp["tcp_len"][last]
    more = own & bulk[1:] & (tcp["seq"][1:] == end % 2**32) & (tcp["ack"][1:] == tcp["ack"][last])
    bare = ~own & plain[1:] & (tcp["tcp_len"][1:] == 0) & ((end - tcp["ack"][1:]) % 2**32 <= LARGEST_WINDOW)
    other = ~bulk
    other[1:] &= ~(known & bare)
    broken = np.maximum.accumulate(np.where(other, rows, -1))[:-1] > last
    return np.flatnonzero(np.append(np.ones(min(len(src), 1), bool), ~(known & (more | bare)) | broken))


def _captured_whole(size: np.ndarray, data: list[bytes]) -> np.ndarray:
    """Mark packets of data that were captured whole and in which no message ends."""
    captured = np.fromiter(map(len, data), np.int64, len(data))
    ends = np.fromiter((one.endswith(b".\r\n") for one in data), bool, len(data))
    return (size > 0) & (size == captured) & ~ends


class _Connection:
    """Who is who, and the session that is fed accordingly."""

    def __init__(self, first: Segment) -> None:
        self._client = client_of(first.src, first.dst, first.flags)
        server = first.dst if first.src == self._client else first.src
        self._on_smtp_port = server[1] in tables.SMTP_PORTS
        self._first = first
        self._session: Session = Session()

    def pass_by(self, run: list[Segment]) -> bool:
        """Take a run at once if it is nothing but message data, in order; say whether it was so."""
        session, first = self._session, run[0]
        if first.src != self._client or not session.client.in_data:
            return False
        self._acknowledge(first, session.received, session.from_server)
        start, data = session.sent.relative(first.seq), b"".join([segment.data for segment in run])
        place = Place(first.time, first.file, first.frame, 0)
        if not session.pass_by(Piece(start, start + len(data), data, place)):
            return False
        for segment in run:
            if not segment.size:
                session.server_seen = True
                session.sent.acknowledge(session.sent.relative(segment.ack), segment.time)
        session.sent.take(start, data, len(data), place)
        return True

    def take(self, segment: Segment) -> None:
        """Take a segment: first what it acknowledges, then what it carries."""
        session = self._session
        forward = segment.src == self._client
        mine, other = (session.sent, session.received) if forward else (session.received, session.sent)
        hear, hear_other = session.from_client, session.from_server
        if not forward:
            session.server_seen = True
            hear, hear_other = hear_other, hear
        syn = segment.flags & SYN
        if syn:
            self._shake(segment, forward)
        start = mine.relative(segment.seq, syn=bool(syn))
        ack = self._acknowledge(segment, other, hear_other)
        if segment.size and not session.strange:
            place = Place(segment.time, segment.file, segment.frame, ack)
            hear(mine.take(start + bool(syn), segment.data, segment.size, place))

    def _acknowledge(self, segment: Segment, other: Half, hear: Callable[[Iterable[Piece]], None]) -> int:
        """Take what a segment acknowledges of the other side's octets; return it."""
        if not segment.flags & FLAG_ACK:
            return 0
        ack = other.relative(segment.ack)
        if freed := other.acknowledge(ack, segment.time):
            hear(freed)
        return ack

    def _shake(self, segment: Segment, forward: bool) -> None:
        session = self._session
        session.syn_seen = True
        if not forward and session.syn_ack is None:
            session.syn_ack = segment.time

    def rows(self, key: dict[str, int]) -> dict[str, list[tuple[Any, ...]]]:
        """Return the rows of each table; none if this is no SMTP on a port of another."""
        session = self._session
        session.close()
        if not (self._on_smtp_port or session.knows_smtp):
            return {}
        own = key | {"file": self._first.file, "frame": self._first.frame}
        transactions, content = [], []
        for one in session.transactions:
            transactions.append(one.row(session.sent, server_seen=session.server_seen) | key)
            if one.content:
                content.append(one.content | {"transaction": one.number, "file": one.first.file} | key)
        return {
            "sessions": _cells([session.row() | own], "sessions"),
            "transactions": _cells(transactions, "transactions"),
            "content": _cells(content, "content"),
            "dialogue": [(*key.values(), *line) for line in session.spoken],
        }


def _cells(rows: list[dict[str, Any]], name: str) -> list[tuple[Any, ...]]:
    """Return the cells of rows in the order of the table's columns."""
    names = [column.name for column in tables.TABLES[name]]
    return [tuple(map(row.get, names)) for row in rows]


def _table(rows: list[tuple[Any, ...]], name: str) -> pd.DataFrame:
    """Return a table column by column: of rows, pandas would first have to find out what is in them."""
    columns = zip(tables.TABLES[name], zip(*rows, strict=True), strict=False)  # no columns without rows
    return tables.conform(
        pd.DataFrame({one.name: _column(values, one.dtype) for one, values in columns}), name
    )


def _column(values: tuple[Any, ...], dtype: Any) -> Any:
    return pd.to_datetime(pd.array(values, "Int64"), utc=True) if dtype == TIME else pd.array(values, dtype)
