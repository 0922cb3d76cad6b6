"""Captures are read: batches of whole connections, in bounded memory, on all cores.

Connections are independent of each other, so batches of whole ones say together what all would say at once.
Where there is too much to hold, a first look tells where each connection ends; then it can be let go.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from functools import partial
from itertools import compress, pairwise
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.asyncio import tqdm as plain
from tqdm.auto import tqdm

from smtpkit import smtp, tables
from smtpkit.capture import CaptureError, Knowledge, Reader, Seen, in_order, look, payload_of, together
from smtpkit.cores import cores, may_fork
from smtpkit.files import size
from smtpkit.listener import MOST_OTHERS, Listeners
from smtpkit.spool import Spool
from smtpkit.traffic import Kept, OfInterest, Room, Traffic, analyse, nothing, whole

BATCH = 200_000  # packets of whole connections that are analysed together
PER_CONNECTION = 20  # packets that take as much memory as a connection that is listened to
MOST = Room(packets=500_000, connections=50_000)  # kept of all captures together
WORTH_WORKERS = 64 << 20  # bytes of captures; for less, to start workers takes longer than they save
_SILENT = None if tqdm is plain else False  # a bar in a terminal and in a notebook, none in a file


class Source(NamedTuple):
    """Files that are read one after the other: a capture, or some of a rotation.

    Where there was a first look, `seen` is what it told, `knowledge` what is known from the files before
    these, `captures` the row of the whole capture; `shared` are connections that reach into other files.
    """

    paths: tuple[str, ...]
    capture: int
    seen: Seen | None = None
    knowledge: Knowledge | None = None
    captures: pd.DataFrame | None = None
    skipped: pd.DataFrame | None = None
    shared: np.ndarray = np.empty(0, np.int64)


class Shared(NamedTuple):
    """Packets of connections that reach into other files, and the payload of each."""

    packets: pd.DataFrame
    payload: list[bytes]


class Reading(NamedTuple):
    """What was read; `left_out` counts the packets and connections that there was no room for."""

    paths: tuple[str, ...]
    traffic: Traffic
    shared: list[Shared]
    captures: pd.DataFrame
    skipped: pd.DataFrame
    left_out: Counter[str]
    error: str | None = None


def read(
    rotations: Sequence[Sequence[str]], *, of_interest: OfInterest | None = None, spool: Spool | None = None
) -> list[Reading]:
    """Read captures, each one file or the files of a rotation.

    All cores are used where there are several files. Of more than `MOST` only the packets, the dialogue and
    at last the connections are kept on which something went wrong.

    Parameters
    ----------
    rotations
        Paths of the files; those of a rotation that go over the same time are capture points of their own.
    of_interest
        Only of these connections packets and dialogue are kept at all.
    spool
        Where to put the packets and dialogue that are not kept; with it all connections are.

    Returns
    -------
    list
        A reading for each capture, by its number.
    """
    sources = list(_sources(rotations))
    most = Room(*(count // max(len(sources), 1) for count in MOST))
    each = partial(
        read_source,
        most=most._replace(connections=sys.maxsize) if spool else most,
        of_interest=of_interest,
        spool=spool,
    )
    if _worth_workers(sources):
        readings = _on_all_cores(each, sources)
    else:
        alone = len(sources) == 1 and _large(sources[0].paths) and may_fork()
        others = min(cores() - 1, MOST_OTHERS) if alone else 0
        readings = [each(source, silent=_SILENT, others=others) for source in sources]
    by_number: dict[int, list[tuple[Source, Reading]]] = {}
    for source, reading in zip(sources, readings, strict=True):
        by_number.setdefault(source.capture, []).append((source, reading))
    return [_capture(shares) for shares in by_number.values()]


def _sources(rotations: Sequence[Sequence[str]]) -> Iterator[Source]:
    number = 0
    for rotation in rotations:
        found = [Source(tuple(rotation), number)] if len(rotation) == 1 else _looked_at(rotation, number)
        yield from found
        number = found[-1].capture + 1


def _looked_at(rotation: Sequence[str], number: int) -> list[Source]:
    """Look through a rotation, and share it among the cores."""
    paths = in_order(rotation)
    count = min(cores(), len(paths)) if _large(paths) else 1
    edges = np.linspace(0, len(paths), count + 1).astype(int).tolist()
    files, known, knowledge = list[Seen](), dict[int, Knowledge](), Knowledge()
    for place, path in enumerate(paths):
        known |= {place: knowledge} if place in edges else {}
        seen, knowledge = look(path, knowledge)
        files.append(seen)
    if overlap(files):
        return apart(paths, number)
    shares = [(start, tuple(paths[start:end]), together(files[start:end])) for start, end in pairwise(edges)]
    whole_ = of_capture([seen for _, _, seen in shares], knowledge, number)
    return [Source(own, number, seen, known[at].only(seen.streams), *whole_) for at, own, seen in shares]


def apart(paths: Sequence[str], number: int) -> list[Source]:
    """Return each file as a capture of its own."""
    return [Source((path,), number + n) for n, path in enumerate(paths)]


def of_capture(
    shares: Sequence[Seen], knowledge: Knowledge, number: int
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Return what all shares of a capture know: `captures`, `skipped`, and connections that several have."""
    streams, counts = np.unique(np.concatenate([seen.streams for seen in shares]), return_counts=True)
    account = knowledge.account
    return account.captures(number), account.skipped(), streams[counts > 1]


def overlap(files: Sequence[Seen]) -> bool:
    """Say whether files go over the same time: they are capture points of their own, and no rotation."""
    spans = sorted((file.first, file.last) for file in files if file.rows)
    return any(later[0] < earlier[1] for earlier, later in pairwise(spans))


def _large(paths: Iterable[str]) -> bool:
    return sum(map(size, paths)) >= WORTH_WORKERS


def _worth_workers(sources: Sequence[Source]) -> bool:
    return len(sources) > 1 and _large(path for one in sources for path in one.paths) and cores() > 1


def _on_all_cores(each: Callable[[Source], Reading], sources: Sequence[Source]) -> list[Reading]:
    bar = partial(tqdm, total=len(sources), desc="captures", disable=_SILENT, leave=False)
    try:
        with _pool(min(cores(), len(sources))) as pool:
            return list(bar(pool.map(each, sources)))
    except BrokenExecutor:
        why = "a process that read it was ended, perhaps for want of memory"
        raise ChildProcessError(None, why, ", ".join(path for one in sources for path in one.paths)) from None


def _pool(count: int) -> Executor:
    if may_fork():
        return ProcessPoolExecutor(count, mp_context=get_context("fork"))
    import loky  # of no use on the command line

    return loky.ProcessPoolExecutor(count)


def _capture(shares_: Sequence[tuple[Source, Reading]]) -> Reading:
    """Put the shares of one capture together, and the connections that reach from one to the next."""
    sources, readings = zip(*shares_, strict=True)
    if len(readings) == 1:
        return readings[0]
    shared = [one for reading in readings for one in reading.shared]
    return capture(readings, joined(shared, sources[0].captures), sources[0].captures, sources[0].skipped)


def capture(
    readings: Sequence[Reading], reaching_over: Traffic, captures: pd.DataFrame, skipped: pd.DataFrame
) -> Reading:
    """Return the reading of a capture: those of its shares, and connections that reach over several."""
    paths = tuple(path for reading in readings for path in reading.paths)
    traffic = whole([*(reading.traffic for reading in readings), reaching_over], paths)
    left_out = sum((reading.left_out for reading in readings), Counter[str]())
    return Reading(paths, traffic, [], captures, skipped, left_out)


def joined(shared: Sequence[Shared], captures: pd.DataFrame) -> Traffic:
    """Return the tables of connections whose packets come from several files, in the order of reading."""
    streams = smtp.Streams()
    for packets, payload in shared:
        streams.feed(packets, payload)
    return analyse(tables.concat([packets for packets, _ in shared], "packets"), streams.close, captures)


def read_source(
    source: Source,
    *,
    most: Room,
    of_interest: OfInterest | None = None,
    spool: Spool | None = None,
    silent: bool | None = True,
    others: int = 0,
) -> Reading:
    """Read files one after the other, batch by batch of whole connections (see `Kept`).

    So many `others`, processes, help to listen (see `Listeners`).
    """
    reader = Reader(*source.paths, capture=source.capture, knowledge=source.knowledge)
    streams = Listeners(source.paths, source.capture, others) if others else smtp.Streams()
    kept, batches, error = Kept(most, of_interest, spool), Batches(reader, source, streams, silent), None
    try:
        for packets, hear, captures in batches:
            kept.add(analyse(packets, hear, captures))
    except CaptureError as found:
        error = str(found)
    except ChildProcessError as found:
        error = f"{found.filename}: {found.strerror}; nothing of it was analysed further"
    except OSError as found:
        error = f"{found.filename}: cannot be read any more ({found.strerror}); is it still there?"
    return Reading(
        source.paths,
        whole(kept.pieces or [nothing()], source.paths),
        batches.shared,
        reader.captures,
        reader.skipped,
        kept.left_out,
        error,
    )


class Batches:
    """Iterates over batches of whole connections: packets, what gives what was said in them, `captures`.

    Connections that reach into other files are not among them, but in `shared` afterwards.
    """

    def __init__(
        self, reader: Reader, source: Source, streams: smtp.Streams | Listeners, silent: bool | None = True
    ) -> None:
        self.shared: list[Shared] = []
        self._reader, self._source, self._silent = reader, source, silent
        self._streams = streams
        self._open: list[pd.DataFrame] = []
        self._connections: set[int] = set()

    def __iter__(self) -> Iterator[tuple[pd.DataFrame, Callable[[], smtp.Heard], pd.DataFrame]]:
        seen, captures, rows, before, held = self._source.seen, self._source.captures, 0, 0, 0
        batches = tqdm(self._reader, desc="capture", unit=" batches", disable=self._silent, leave=False)
        for packets, payload in batches:
            rows += len(packets)
            self._take(packets, payload_of(packets, payload))
            if self._weight() - held >= BATCH:
                if seen is None or captures is None:  # a file that turned out to be large
                    seen, knowledge = look(self._source.paths[0])
                    captures = knowledge.account.captures(self._source.capture)
                yield *self._ended(seen.streams[(before <= seen.last_row) & (seen.last_row < rows)]), captures
                before, held = rows, self._weight()
        captures = self._reader.captures if captures is None else captures
        yield tables.concat(self._open, "packets"), self._streams.close, captures

    def _weight(self) -> int:
        return sum(map(len, self._open)) + PER_CONNECTION * len(self._connections)

    def _take(self, packets: pd.DataFrame, payload: list[bytes]) -> None:
        if len(self._source.shared):
            shared = packets["stream"].isin(self._source.shared).to_numpy(bool)
            self.shared.append(Shared(packets[shared], list(compress(payload, shared))))
            packets, payload = packets[~shared], list(compress(payload, ~shared))
        self._streams.feed(packets, payload)
        self._open.append(packets)
        self._connections.update(packets["stream"].dropna().unique().tolist())

    def _ended(self, streams: np.ndarray) -> tuple[pd.DataFrame, Callable[[], smtp.Heard]]:
        """Let go of connections that have ended, and of packets that belong to none."""
        packets = tables.concat(self._open, "packets")
        ended = packets["stream"].isna() | packets["stream"].isin(streams)
        self._open = [packets[~ended]]
        self._connections.difference_update(streams.tolist())
        return packets[ended].reset_index(drop=True), partial(self._streams.close, streams)
