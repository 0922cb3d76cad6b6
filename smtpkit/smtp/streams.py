"""Batches of packets and payload become tables of what was said (RFC 5321)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from smtpkit import tables
from smtpkit.smtp.session import Session
from smtpkit.smtp.stream import Place
from smtpkit.tables import KEY
from smtpkit.tcp.following import FLAG_ACK, SYN
from smtpkit.tcp.tracking import client_of

_NEEDED = ["stream", "src_port", "dst_port", "seq", "ack", "flags", "tcp_len"]
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
        for key, segment in segments(packets, payload):
            connection = self._connections.get(key)
            if connection is None:
                connection = self._connections[key] = _Connection(segment)
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
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in Heard._fields}
        chosen = None if streams is None else set(streams)
        for key in sorted(k for k in self._connections if chosen is None or k[1] in chosen):
            for name, row in self._connections.pop(key).rows():
                rows[name].append(dict(zip(KEY, key, strict=True)) | row)
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
    whole = packets[_NEEDED].notna().all(axis="columns").to_numpy()
    tcp = packets[whole]
    integers = {name: tcp[name].to_numpy("int64").tolist() for name in ["capture", "frame", "time", *_NEEDED]}
    names = {name: tcp[name].astype(object).tolist() for name in ("src", "dst", "file")}
    keys = zip(integers["capture"], integers["stream"], strict=True)
    sources = zip(names["src"], integers["src_port"], strict=True)
    targets = zip(names["dst"], integers["dst_port"], strict=True)
    numbers = (integers[name] for name in ("seq", "ack", "flags", "tcp_len"))
    places = integers["time"], names["file"], integers["frame"]
    data = [one for one, wanted in zip(payload, whole, strict=True) if wanted]
    fields = zip(sources, targets, *numbers, *places, data, strict=True)
    yield from zip(keys, map(Segment._make, fields), strict=True)


class _Connection:
    """Who is who, and the session that is fed accordingly."""

    def __init__(self, first: Segment) -> None:
        self._client = client_of(first.src, first.dst, first.flags)
        server = first.dst if first.src == self._client else first.src
        self._on_smtp_port = server[1] in tables.SMTP_PORTS
        self._first = first
        self._session: Session = Session()

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
        ack = 0
        if segment.flags & FLAG_ACK:
            ack = other.relative(segment.ack)
            if freed := other.acknowledge(ack, segment.time):
                hear_other(freed)
        if segment.size and not session.strange:
            place = Place(segment.time, segment.file, segment.frame, ack)
            hear(mine.take(start + bool(syn), segment.data, segment.size, place))

    def _shake(self, segment: Segment, forward: bool) -> None:
        session = self._session
        session.syn_seen = True
        if not forward and session.syn_ack is None:
            session.syn_ack = segment.time

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield its rows with the names of their tables; none if this is no SMTP on a port of another."""
        session = self._session
        session.close()
        if not (self._on_smtp_port or session.knows_smtp):
            return
        yield "sessions", session.row() | {"file": self._first.file, "frame": self._first.frame}
        for transaction in session.transactions:
            yield "transactions", transaction.row(session.sent, server_seen=session.server_seen)
            if transaction.content:
                number = {"transaction": transaction.number, "file": transaction.first.file}
                yield "content", transaction.content | number
        yield from (("dialogue", line) for line in session.spoken)


def _table(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    for column in tables.TABLES[name]:
        if column.dtype == tables.TIME and column.name in frame:
            # Not from `frame`: beside an absent one, numbers become floats there, which have too few digits.
            times = pd.array([row.get(column.name) for row in rows], "Int64")
            frame[column.name] = pd.to_datetime(times, utc=True)
    return tables.conform(frame, name)
