"""Connections become tables, and tables of whole connections are put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from smtpkit import mtu, smtp, tables, tcp
from smtpkit.spool import Spool
from smtpkit.tables import KEY, among


class Traffic(NamedTuple):
    """What some connections say, and the packets that belong to none: tables of these names.

    `counts` has a row for each file: its rows of `packets`, and how many are of some kinds.
    """

    packets: pd.DataFrame
    connections: pd.DataFrame
    stalls: pd.DataFrame
    sizes: pd.DataFrame
    sessions: pd.DataFrame
    transactions: pd.DataFrame
    dialogue: pd.DataFrame
    content: pd.DataFrame
    counts: pd.DataFrame


_OF_CONNECTIONS = [name for name in Traffic._fields if name != "counts"]


class Room(NamedTuple):
    """How many packets and connections are kept."""

    packets: int
    connections: int


class OfInterest(Protocol):
    """A filter: which connections are of interest."""

    def __call__(self, connections: pd.DataFrame, transactions: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `connections` that are."""


def analyse(packets: pd.DataFrame, hear: Callable[[], smtp.Heard], captures: pd.DataFrame) -> Traffic:
    """Return the tables of whole connections.

    Parameters
    ----------
    packets : DataFrame
        Table `packets`: all of these connections, and those that belong to none.
    hear
        Returns what was said in them; called last, for it may have to wait.
    captures : DataFrame
        Table `captures`: until when they were watched.
    """
    analysed = tcp.analysis(packets)
    stalls, sizes = tcp.stalls(analysed, captures), mtu.sizes(analysed)
    connections, counts = tcp.connections(analysed), _counts(analysed)
    return Traffic(analysed, connections, stalls, sizes, *hear(), counts)


def _counts(packets: pd.DataFrame) -> pd.DataFrame:
    marks = packets[["capture", "file"]].assign(
        rows=1,
        acked_unseen=packets["ack_lost_segment"],
        captured_twice=packets["captured_twice"],
        icmp=packets["ip_protocol"] == 1,
        icmpv6=packets["ip_protocol"] == 58,
    )
    return marks.groupby(["capture", "file"], observed=True).sum().reset_index()


def nothing() -> Traffic:
    """Return the tables of no connection."""
    captures = tables.empty("captures")
    return analyse(tables.empty("packets"), smtp.Streams().close, captures)


def whole(pieces: list[Traffic], files: Sequence[str]) -> Traffic:
    """Put tables of connections together, of which no two pieces have one in common.

    Parameters
    ----------
    pieces
        At least one. They are taken out of the list, so that no table is in memory twice.
    files
        In the order of reading, which is that of the packets.
    """
    by_name = {name: [getattr(piece, name) for piece in pieces] for name in Traffic._fields}
    pieces.clear()
    return Traffic(*(_whole(by_name.pop(name), name, files) for name in Traffic._fields))


def _whole(frames: list[pd.DataFrame], name: str, files: Sequence[str]) -> pd.DataFrame:
    frames = [frame for frame in frames if len(frame)] or frames[:1]
    if len(frames) == 1:
        return frames[0]
    if name == "counts":
        return pd.concat(_alike(frames)).groupby(["capture", "file"], sort=False).sum().reset_index()
    frames = _alike(frames)
    order = _in_order(frames, name, files)
    columns = list(frames[0])
    pieces = [dict(frame.items()) for frame in frames]
    frames.clear()
    # Column by column: each is let go of before the next is put together.
    found = {
        column: pd.concat([piece.pop(column) for piece in pieces], ignore_index=True).array.take(order)
        for column in columns
    }
    return pd.DataFrame(found, copy=False)


def _in_order(frames: list[pd.DataFrame], name: str, files: Sequence[str]) -> np.ndarray:
    """Return the places of the rows in pieces: packets as they were read, others connection by connection."""
    keys = ["capture", "file", "frame"] if name == "packets" else KEY
    rows = pd.concat([frame[keys] for frame in frames], ignore_index=True)
    if name == "packets":
        places = {file: n for n, file in enumerate(files)}
        rows["file"] = rows["file"].cat.rename_categories(places).astype("int64")
    return np.lexsort([rows[key].to_numpy("int64") for key in reversed(keys)])


def _alike(frames: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Give categories of several pieces the same values: else they would be put together as text."""
    values = {
        str(name): pd.Index(pd.unique(pd.concat([pd.Series(f[name].cat.categories) for f in frames])))
        for name in frames[0].select_dtypes("category")
    }
    return [
        frame.assign(**{name: frame[name].cat.set_categories(own) for name, own in values.items()})
        for frame in frames
    ]


class Kept:
    """Adds up what batches of whole connections say, and keeps of it what there is room for.

    Up to `most.packets` all packets are kept. Beyond, packets and dialogue stay only of connections on which
    something went wrong, and of these, too, about as many packets. Of more than `most.connections` the other
    tables, too, have only those on which something went wrong, and at most as many again.

    Parameters
    ----------
    most
        How much there is room for.
    of_interest
        Of other connections neither packets nor dialogue are kept; where room is short, nothing of them.
    spool
        Takes the packets and the dialogue that there is no room for.

    Attributes
    ----------
    pieces : list of Traffic
    left_out : Counter
        Number of packets and of connections that there was no room for.
    """

    def __init__(self, most: Room, of_interest: OfInterest | None = None, spool: Spool | None = None) -> None:
        self.pieces: list[Traffic] = []
        self.left_out: Counter[str] = Counter()
        self._most, self._of_interest, self._spool, self._full = most, of_interest, spool, False

    def add(self, traffic: Traffic) -> None:
        """Take the next batch."""
        wanted = None
        if self._of_interest:
            wanted = self._of_interest(traffic.connections, traffic.transactions)
            traffic = _only(traffic, wanted)
        if self._count("connections") + len(traffic.connections) > self._most.connections:
            traffic = self._some_connections(traffic, wanted)
        if self._full:
            self._make_room(traffic)
            return
        self.pieces.append(traffic)
        if self._count("packets") > self._most.packets:
            self._full, pieces, self.pieces = True, self.pieces, []
            for piece in pieces:
                self._make_room(piece)

    def _count(self, table: str) -> int:
        return sum(len(getattr(piece, table)) for piece in self.pieces)

    def _some_connections(self, traffic: Traffic, wanted: pd.DataFrame | None) -> Traffic:
        chosen = _faulty(traffic) if wanted is None else wanted
        room = max(2 * self._most.connections - self._count("connections"), 0)
        kept = _only(traffic, chosen.iloc[:room], _OF_CONNECTIONS)
        self.left_out["packets"] += len(traffic.packets) - len(kept.packets)
        all_ = traffic.connections if wanted is None else wanted
        self.left_out["connections"] += len(all_) - len(kept.connections)
        return kept

    def _make_room(self, traffic: Traffic) -> None:
        chosen = _faulty(traffic)
        room = self._count("packets") < self._most.packets
        kept = _only(traffic, chosen if room else chosen.iloc[:0], loose=False)
        if self._spool:
            self._spool.add("packets", traffic.packets.drop(index=kept.packets.index))
            self._spool.add("dialogue", traffic.dialogue.drop(index=kept.dialogue.index))
        self.left_out["packets"] += len(traffic.packets) - len(kept.packets)
        self.pieces.append(kept)


def faulty(
    connections: pd.DataFrame, stalls: pd.DataFrame, transactions: pd.DataFrame, dialogue: pd.DataFrame
) -> pd.DataFrame:
    """Return the connections that stalled, were refused something or left without a reply to it.

    And those that did not begin and end in order.
    """
    orderly = connections["handshake"] == "complete"
    for flag, present in (("fin", True), ("rst", False)):
        for direction in ("forward", "reverse"):
            orderly &= connections[f"{flag}_{direction}"].notna() == present
    refused = dialogue[(dialogue["reply_code"] >= 400).fillna(False)]
    unanswered = transactions[transactions["reply_code"].isna()]
    of_faults = [among(connections, rows) for rows in (stalls, refused, unanswered)]
    return connections[np.logical_or.reduce([~orderly.fillna(False), *of_faults])]


def _faulty(traffic: Traffic) -> pd.DataFrame:
    return faulty(traffic.connections, traffic.stalls, traffic.transactions, traffic.dialogue)


def _only(
    traffic: Traffic,
    connections: pd.DataFrame,
    names: Sequence[str] = ("packets", "dialogue"),
    *,
    loose: bool = True,
) -> Traffic:
    """Leave other connections out of some tables; `loose` are the packets that belong to none."""
    kept = {name: among(getattr(traffic, name), connections) for name in names}
    if loose:
        kept["packets"] |= traffic.packets["stream"].isna()
    return traffic._replace(**{name: getattr(traffic, name)[rows] for name, rows in kept.items()})
