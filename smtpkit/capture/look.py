"""A first look at a capture file: which connections are in it, and where they end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from smtpkit.capture import decoder
from smtpkit.capture.containers import CaptureError
from smtpkit.capture.reader import Knowledge, Reader


class Seen(NamedTuple):
    """What is in a capture file, or in some of a rotation; rows are those of the table `packets`."""

    streams: np.ndarray  # numbers of the connections, ascending
    last_row: np.ndarray  # of each, from 0
    rows: int
    first: (
        int  # time of the earliest packet, and of the latest, in ns since 1970; decoder.NAT if none has any
    )
    last: int


def look(path: str | os.PathLike[str], before: Knowledge | None = None) -> tuple[Seen, Knowledge]:
    """Read through a file, and keep next to nothing.

    Parameters
    ----------
    path
        A capture file.
    before
        What is known from the files before it.

    Returns
    -------
    Seen
    Knowledge
        What is known then. Where the file is no capture, it is in its account.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    reader, last_row, rows = Reader(path, knowledge=before), np.empty(0, np.int64), 0
    first, last = np.iinfo(np.int64).max, decoder.NAT
    try:
        for batch in reader._decoded():
            streams, own = batch.cells[decoder.STREAM], batch.time[batch.time != decoder.NAT]
            last_row = _longer(last_row, int(streams.max(initial=-1)) + 1)
            tied = np.flatnonzero(streams >= 0)
            last_row[streams[tied]] = tied + rows  # of a number that occurs twice the last one counts
            rows += len(streams)
            first, last = min(first, own.min(initial=first)), max(last, own.max(initial=last))
    except CaptureError:
        pass
    found = np.flatnonzero(last_row >= 0)
    return Seen(found, last_row[found], rows, int(first), int(last)), reader.knowledge


def together(files: Sequence[Seen]) -> Seen:
    """Return what is in files that are read one after the other."""
    before = np.cumsum([0, *(file.rows for file in files)])
    streams = np.concatenate([file.streams for file in files])
    rows = np.concatenate([file.last_row + n for file, n in zip(files, before[:-1], strict=True)])
    order = np.lexsort((rows, streams))
    streams, rows = streams[order], rows[order]
    final = np.append(np.diff(streams) > 0, True)[: len(streams)]
    first, last = min(file.first for file in files), max(file.last for file in files)
    return Seen(streams[final], rows[final], int(before[-1]), first, last)


def _longer(last_row: np.ndarray, size: int) -> np.ndarray:
    if size <= len(last_row):
        return last_row
    longer = np.full(max(size, 2 * len(last_row)), -1)
    longer[: len(last_row)] = last_row
    return longer
