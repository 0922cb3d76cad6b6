"""Connections become tables, and tables of whole connections are put together."""

from __future__ import annotations

from collections.abc import Sequence
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


class OfInterest(Protocol):
    """A filter: which connections are of interest."""

    def __call__(self, connections: pd.DataFrame, transactions: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `connections` that are."""


def analyse(packets: pd.DataFrame, heard: smtp.Heard, captures: pd.DataFrame) -> Traffic:
    """Return the tables of whole connections.

    Parameters
    ----------
    packets : DataFrame
        Table `packets`: all of these connections, and those that belong to none.
    heard
        What was said in them.
    captures : DataFrame
        Table `captures`: until when they were watched.
    """
    analysed = tcp.analysis(packets)
    stalls, sizes = tcp.stalls(analysed, captures), mtu.sizes(analysed)
    return Traffic(analysed, tcp.connections(analysed), stalls, sizes, *heard, _counts(analysed))


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
    return analyse(tables.empty("packets"), smtp.Streams().close(), captures)


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
    frame = pd.concat(_alike(frames), ignore_index=True)
    if name == "counts":
        return frame.groupby(["capture", "file"], sort=False).sum().reset_index()
    if name != "packets":
        return tables.conform(frame.sort_values(KEY, kind="stable", ignore_index=True), name)
    place = frame["file"].cat.rename_categories({file: n for n, file in enumerate(files)}).astype("int64")
    return frame.take(np.lexsort((frame["frame"], place, frame["capture"]))).reset_index(drop=True)


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
    """Adds up what batches of whole connections say, and keeps of their packets what there is room for.

    Up to `most` packets all are kept. Beyond, packets and dialogue stay only of connections on which
    something went wrong, and of these, too, about `most` packets.

    Parameters
    ----------
    most
        Number of packets.
    of_interest
        Of other connections neither packets nor dialogue are kept.
    spool
        Takes what there is no room for.

    Attributes
    ----------
    pieces : list of Traffic
    left_out : int
        Packets that there was no room for.
    """

    def __init__(self, most: int, of_interest: OfInterest | None = None, spool: Spool | None = None) -> None:
        self.pieces: list[Traffic] = []
        self.left_out = 0
        self._most, self._of_interest, self._spool, self._full = most, of_interest, spool, False

    def add(self, traffic: Traffic) -> None:
        """Take the next batch."""
        if self._of_interest:
            traffic = _only(traffic, self._of_interest(traffic.connections, traffic.transactions))
        if self._full:
            self._make_room(traffic)
            return
        self.pieces.append(traffic)
        if self._rows() > self._most:
            self._full, pieces, self.pieces = True, self.pieces, []
            for piece in pieces:
                self._make_room(piece)

    def _rows(self) -> int:
        return sum(len(piece.packets) for piece in self.pieces)

    def _make_room(self, traffic: Traffic) -> None:
        chosen = faulty(traffic.connections, traffic.stalls, traffic.dialogue)
        kept = _only(traffic, chosen if self._rows() < self._most else chosen.iloc[:0], loose=False)
        if self._spool:
            self._spool.add("packets", traffic.packets.drop(index=kept.packets.index))
            self._spool.add("dialogue", traffic.dialogue.drop(index=kept.dialogue.index))
        self.left_out += len(traffic.packets) - len(kept.packets)
        self.pieces.append(kept)


def faulty(connections: pd.DataFrame, stalls: pd.DataFrame, dialogue: pd.DataFrame) -> pd.DataFrame:
    """Return the connections that stalled, were refused something, or did not begin and end in order."""
    orderly = connections["handshake"] == "complete"
    for flag, present in (("fin", True), ("rst", False)):
        for direction in ("forward", "reverse"):
            orderly &= connections[f"{flag}_{direction}"].notna() == present
    refused = dialogue[(dialogue["reply_code"] >= 400).fillna(False)]
    of_faults = among(connections, stalls) | among(connections, refused)
    return connections[~orderly.fillna(False) | of_faults]


def _only(traffic: Traffic, connections: pd.DataFrame, *, loose: bool = True) -> Traffic:
    """Leave out packets and dialogue of other connections; `loose` are the packets that belong to none."""
    mine = among(traffic.packets, connections)
    packets = traffic.packets[mine | traffic.packets["stream"].isna() if loose else mine]
    return traffic._replace(packets=packets, dialogue=traffic.dialogue[among(traffic.dialogue, connections)])
