"""The reading is done by the workers of a Dask cluster: what one machine does, file by file and key by key.

A connection or a message that reaches over several files comes together by a shuffle on its key.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, Self

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
from dask.distributed import CancelledError, Client, Future, KilledWorker
from distributed.comm import CommClosedError

from smtpkit import exim, logs, reading, tables
from smtpkit.capture import Knowledge, Seen, in_order, look, together
from smtpkit.files import is_url, size, walk
from smtpkit.reading import MOST, Reading, Shared, Source
from smtpkit.spool import Choice
from smtpkit.tables import KEY
from smtpkit.traffic import Kept, OfInterest, Room, whole

TOGETHER = 64 << 20  # bytes of small files, one after the other, that one task reads
PARTITION = 256 << 20  # bytes of files of which the rows come together in one partition
ANSWER = 10  # s that a scheduler has to answer in
_ALIKE = "scheduler and workers need the smtpkit, Dask and Python that are here"
_SHARED = "name a folder that all machines share, or a URL such as s3://bucket/tables"
_ALL = Room(sys.maxsize, sys.maxsize)
_PAYLOAD = pd.ArrowDtype(pa.large_binary())


class _Looked(NamedTuple):
    """Shares of a rotation: what a first look told, what each needs to be read, what is known at last."""

    shares: Sequence[tuple[str, ...]]
    seen: Sequence[Future] = ()
    before: Sequence[Future] = ()
    knowledge: Future | None = None


class _Piece(NamedTuple):
    """What one task read: all rows of the large tables, and what goes to the incident."""

    packets: pd.DataFrame
    dialogue: pd.DataFrame
    shared: list[Shared]
    kept: Reading


class _Lines(NamedTuple):
    """The lines of some logs; of each file its first time and their number."""

    lines: pd.DataFrame
    firsts: dict[str, int]
    rows: pd.Series
    skipped: pd.DataFrame


class Cluster:
    """The workers of a cluster, as `incident.load` asks them.

    Parameters
    ----------
    address
        Of the scheduler: ``tcp://host:8786``, or ``tls://`` with the certificates of Dask's configuration.

    Raises
    ------
    OSError
        If no scheduler answers, or it has no workers. All methods: if the cluster fails.

    Notes
    -----
    Paths must mean the same to all workers, and smtpkit must be installed there.
    """

    keeps_all = True

    def __init__(self, address: str) -> None:
        try:
            self._client = Client(address, timeout=ANSWER)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise OSError(None, f"no scheduler answers there ({error}); start one", address) from error
        self._address = address
        self._pieces: dict[str, list[Future]] = {}
        if reason := self._unfit():
            self.close()
            raise OSError(None, reason, address)

    def _unfit(self) -> str | None:
        """Return why the workers cannot do anything; one without smtpkit would try for ever."""
        try:
            self._client.wait_for_workers(1, timeout=ANSWER)
        except TimeoutError:
            return f"no worker is there; start some: dask worker {self._address}"
        found = self._client.run(find_spec, "smtpkit")
        lacking = ", ".join(worker for worker, spec in found.items() if spec is None)
        return f"smtpkit-notebooks is not installed at {lacking}" if lacking else None

    def tables(self) -> dict[str, Any]:
        """Return all rows of the large tables that the last `load` read.

        Returns
        -------
        dict
            Dask DataFrames `packets`, `dialogue` and `log_lines`, of which an incident has the rows on which
            something went wrong.
        """
        return {name: _frame(pieces, _empty(name)) for name, pieces in self._pieces.items()}

    def write(self, name: str, path: str) -> None:
        """Write one of these tables as a folder of Parquet files, one for each partition.

        Raises
        ------
        OSError
            If the workers cannot write there, or it is no place that they share with this machine.
        """
        frame = self.tables()[name]
        texts = dict.fromkeys(frame.select_dtypes("category").columns, "string")  # categories would differ
        with self._told():
            try:
                frame.astype(texts).to_parquet(
                    path if is_url(path) else os.path.abspath(path), write_index=False
                )
            except (FileNotFoundError, PermissionError) as error:
                raise OSError(None, f"a worker cannot write there ({error}); {_SHARED}", path) from error
        if len(walk(path)) != frame.npartitions:
            raise OSError(None, f"what the workers wrote is not here; {_SHARED}", path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the workers forget all that they hold."""
        self._client.close()

    def narrow(self, chosen: Mapping[str, Choice]) -> None:
        """Of these tables, keep the rows chosen."""
        for name, choice in chosen.items():
            marks = self._submit(_itself, choice)  # once for all pieces
            pieces = self._pieces.get(name, [])
            self._pieces[name] = [self._submit(_chosen, piece, marks) for piece in pieces]

    def map(self, function: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
        """Call a function for each of several files."""
        return self._gather(self._client.map(function, *map(list, arguments), pure=False))

    def _gather(self, futures: Sequence[Any]) -> list[Any]:
        with self._told():
            return self._client.gather(futures)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Let what a cluster fails of be an OSError that says what to do."""
        try:
            yield
        except KilledWorker as error:
            reason = "workers ended one after the other at the same work, for want of memory perhaps"
            raise OSError(None, f"{reason}; give them more", self._address) from error
        except (CancelledError, CommClosedError) as error:
            raise OSError(None, "the scheduler is gone; start it again", self._address) from error
        except ImportError as error:
            raise OSError(None, f"{_ALIKE} ({error})", self._address) from error
        except RuntimeError as error:
            if "deserialization" not in str(error):
                raise
            raise OSError(None, f"{_ALIKE} ({error.__cause__ or error})", self._address) from error

    def _submit(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Future:
        return self._client.submit(function, *arguments, **named, pure=False)

    # --- captures ---------------------------------------------------------------------------------------

    def captures(self, rotations: Sequence[Sequence[str]], of_interest: OfInterest | None) -> list[Reading]:
        """Read captures, a file or several small ones at a time, as `reading.read` does."""
        self._pieces |= {"packets": [], "dialogue": []}
        planned = self.map(partial(_planned, most=TOGETHER), rotations)
        looked = [_Looked(shares) if apart else self._look(shares) for shares, apart in planned]
        overlap = self._gather([not one.seen or self._submit(_overlap, one.seen) for one in looked])
        most = MOST.packets // max(sum(len(one.shares) for one in looked), 1)
        readings: list[Future] = []
        for one, apart in zip(looked, overlap, strict=True):
            if apart:
                alone = reading.apart([*chain.from_iterable(one.shares)], len(readings))
                pieces = [self._submit(_read, source, most, of_interest) for source in alone]
                readings += map(self._kept, pieces)
            else:
                readings.append(self._rotation(one, len(readings), most, of_interest))
        return self._gather(readings)

    def _look(self, shares: Sequence[tuple[str, ...]]) -> _Looked:
        """Look at the files of a rotation, each after the one before it."""
        seen, before, knowledge = [], [], self._submit(Knowledge)
        for share in shares:
            looked = self._submit(_look, share, knowledge)
            seen.append(self._submit(itemgetter(0), looked))
            before.append(self._submit(_needed, knowledge, seen[-1]))
            knowledge = self._submit(itemgetter(1), looked)
        return _Looked(shares, seen, before, knowledge)

    def _rotation(self, looked: _Looked, number: int, most: int, of_interest: OfInterest | None) -> Future:
        shares, seen, before, knowledge = looked
        capture = self._submit(_of_capture, seen, knowledge, number)
        pieces = [
            self._submit(_read_share, share, number, *known, capture, most, of_interest)
            for share, *known in zip(shares, seen, before, strict=True)
        ]
        joined = self._reaching_over(pieces, capture, most, self._partitions(shares))
        return self._submit(_together, [*map(self._kept, pieces)], [*map(self._kept, joined)], capture)

    def _kept(self, piece: Future) -> Future:
        """Leave the large tables with the workers; return what an incident keeps."""
        for name in ("packets", "dialogue"):
            self._pieces[name].append(self._submit(attrgetter(name), piece))
        return self._submit(attrgetter("kept"), piece)

    def _partitions(self, shares: Sequence[Sequence[str]]) -> int:
        """Return how many partitions come out of a shuffle of what is in these files."""
        return min(len(shares), sum(self.map(_bytes, shares)) // PARTITION + 1)

    def _reaching_over(
        self, pieces: Sequence[Future], capture: Future, most: int, partitions: int
    ) -> list[Future]:
        """Bring the packets of each connection together that reaches over several shares."""
        shared = [self._submit(_shared, piece, rank) for rank, piece in enumerate(pieces)]
        parts = _shuffled(_frame(shared, _shared_packets([], 0)), KEY, partitions)
        return self._client.compute([dask.delayed(_joined)(part, capture, most) for part in parts])

    # --- logs -------------------------------------------------------------------------------------------

    def logs(
        self,
        paths: Sequence[str],
        timezone: str | None,
        of_interest: Choice | None = None,
        *,
        first: Choice | None = None,
        final: bool = True,
    ) -> logs.Reading:
        """Read logs, a file or several small ones at a time, as `logs.read` does."""
        self._pieces["log_lines"] = []
        if not paths:
            return logs.read(paths, timezone)
        (shares,) = self._gather([self._submit(_shares, paths, TOGETHER)])
        reads = [self._submit(_read_logs, share, timezone) for share in shares]
        lines = [self._submit(attrgetter("lines"), read) for read in reads]
        firsts, rows, skipped = zip(*self._gather([self._submit(_about, one) for one in reads]), strict=True)
        earliest = {path: time for share in firsts for path, time in share.items()}
        ranks = {path: rank for rank, path in enumerate(sorted(earliest, key=earliest.__getitem__))}
        named = [self._submit(_named, one, ranks) for one in lines]
        lines_of_all = _frame(named, _named(_empty("log_lines"), {}))
        parts = _shuffled(lines_of_all, "message_id", self._partitions(shares))
        found = self._client.compute([dask.delayed(_messages)(part, of_interest) for part in parts])
        found += [self._submit(_unnamed, one, of_interest) for one in lines]
        self._pieces["log_lines"] = lines
        log = logs.together(self._gather(found), tables.concat(skipped, "skipped"))
        counts = pd.concat(rows)
        return logs.Reading(log, counts, Counter(lines=int(counts.sum()) - len(log.log_lines)))


# --- what the workers do --------------------------------------------------------------------------------


def _itself(choice: Choice) -> Choice:
    return choice


def _chosen(rows: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    return rows[choice(rows)]


def _shares(paths: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Put files together that are small: about so many bytes."""
    number = np.cumsum([size(path) for path in paths]) // most
    numbered = groupby(zip(number, paths, strict=True), itemgetter(0))
    return [tuple(path for _, path in share) for _, share in numbered]


def _bytes(paths: Sequence[str]) -> int:
    return sum(map(size, paths))


def _planned(rotation: Sequence[str], most: int) -> tuple[list[tuple[str, ...]], bool]:
    """Return the shares of a rotation, and whether its first files tell already that it is none."""
    paths = in_order(rotation)
    apart = len(paths) == 1 or reading.overlap([look(path)[0] for path in paths[:2]])
    return _shares(paths, most), apart


def _look(share: Sequence[str], knowledge: Knowledge) -> tuple[list[Seen], Knowledge]:
    found = list[Seen]()
    for path in share:
        seen, knowledge = look(path, knowledge)
        found.append(seen)
    return found, knowledge


def _overlap(shares: Sequence[Sequence[Seen]]) -> bool:
    return reading.overlap([*chain.from_iterable(shares)])


def _of_capture(shares: Sequence[Sequence[Seen]], knowledge: Knowledge, number: int) -> Any:
    return reading.of_capture([*map(together, shares)], knowledge, number)


def _needed(knowledge: Knowledge, seen: Sequence[Seen]) -> Knowledge:
    return knowledge.only(together(seen).streams)


def _read_share(
    share: tuple[str, ...],
    number: int,
    seen: Sequence[Seen],
    before: Knowledge,
    capture: Any,
    most: int,
    of_interest: OfInterest | None,
) -> _Piece:
    return _read(Source(share, number, together(seen), before, *capture), most, of_interest)


def _read(source: Source, most: int, of_interest: OfInterest | None) -> _Piece:
    return _piece(reading.read_source(source, most=_ALL, of_interest=of_interest), most)


def _piece(read: Reading, most: int) -> _Piece:
    kept = Kept(_ALL._replace(packets=most))
    kept.add(read.traffic)
    small = read._replace(traffic=kept.pieces[0], left_out=kept.left_out, shared=[])
    return _Piece(read.traffic.packets, read.traffic.dialogue, read.shared, small)


def _together(reads: list[Reading], reaching_over: list[Reading], capture: Any) -> Reading:
    paths = [path for read in reads for path in read.paths]
    traffic = whole([read.traffic for read in reaching_over], paths)
    found = reading.capture(reads, traffic, *capture[:2])
    return found._replace(left_out=sum((read.left_out for read in reaching_over), found.left_out))


def _shared(piece: _Piece, rank: int) -> pd.DataFrame:
    return _shared_packets(piece.shared, rank)


def _shared_packets(shared: list[Shared], rank: int) -> pd.DataFrame:
    """Return packets with their payload, and the place of their share in the order of reading."""
    octets = [own for one in shared for own in one.payload]
    packets = tables.concat([one.packets for one in shared], "packets")
    payload = pd.Series(octets, packets.index, dtype=_PAYLOAD)
    return packets.assign(payload=payload, rank=rank, place=np.arange(len(packets)))


def _joined(packets: pd.DataFrame, capture: Any, most: int) -> _Piece:
    packets = packets.sort_values(["rank", "place"], ignore_index=True)
    shared = Shared(tables.conform(packets, "packets"), packets["payload"].tolist())
    captures, skipped, _ = capture
    return _piece(Reading((), reading.joined([shared], captures), [], captures, skipped, Counter()), most)


def _read_logs(share: Sequence[str], timezone: str | None) -> _Lines:
    reader = exim.Reader(*share, timezone=timezone)
    lines = reader.log_lines()
    return _Lines(lines, reader.first_times(), logs.rows(lines), reader.skipped)


def _about(read: _Lines) -> tuple[dict[str, int], pd.Series, pd.DataFrame]:
    return read[1:]


def _named(lines: pd.DataFrame, ranks: dict[str, int]) -> pd.DataFrame:
    """Return the lines of messages, with what tells their order among those of all files."""
    rank = lines["file"].astype(object).map(ranks).astype("int64")
    return lines.assign(moment=exim.moments(lines), rank=rank)[lines["message_id"].notna()]


def _messages(lines: pd.DataFrame, of_interest: Choice | None) -> exim.Log:
    lines = lines.sort_values(["moment", "rank", "line"], ignore_index=True)
    return logs.analyse(tables.conform(lines, "log_lines"), of_interest)


def _unnamed(lines: pd.DataFrame, of_interest: Choice | None) -> exim.Log:
    return logs.analyse(lines[lines["message_id"].isna()], of_interest)


# --- Dask DataFrames ------------------------------------------------------------------------------------


def _frame(pieces: Sequence[Future], empty: pd.DataFrame) -> Any:
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_delayed(pieces or [dask.delayed(empty)], meta=empty, verify_meta=False)


def _shuffled(frame: Any, key: str | list[str], partitions: int) -> Any:
    """Return partitions of which each has all rows of its keys.

    By tasks: these are done again where a worker is lost.
    """
    with dask.config.set({"dataframe.convert-string": False}):
        few = frame.repartition(npartitions=partitions)  # a thousand small ones would be a million tasks
        return few.shuffle(on=key, npartitions=partitions, shuffle_method="tasks").to_delayed()


def _empty(name: str) -> pd.DataFrame:
    frame = tables.empty(name)
    return pd.concat([frame, tables.empty("analysis")], axis="columns") if name == "packets" else frame
