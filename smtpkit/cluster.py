"""The reading is done by the workers of a Dask cluster: what one machine does, file by file and key by key.

A connection or a message that reaches over several files comes together by a shuffle on its key.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
from dask.distributed import Client, Future

from smtpkit import exim, logs, reading, tables
from smtpkit.capture import Knowledge, Seen, in_order, look
from smtpkit.files import size
from smtpkit.reading import MOST, Reading, Shared, Source
from smtpkit.tables import KEY
from smtpkit.traffic import Kept, OfInterest, Room, Traffic, whole

PARTITION = 256 << 20  # bytes of files of which the rows come together in one partition
ANSWER = 10  # s that a scheduler has to answer in
_ALL = Room(sys.maxsize, sys.maxsize)
_PAYLOAD = pd.ArrowDtype(pa.large_binary())


class _Looked(NamedTuple):
    """Files of a rotation: what a first look told, what each needs to be read, what is known at last."""

    paths: Sequence[str]
    seen: list[Future]
    before: list[Future]
    knowledge: Future


class Cluster:
    """The workers of a cluster, as `incident.load` asks them.

    Parameters
    ----------
    address
        Of the scheduler: ``tcp://host:8786``, or ``tls://`` with the certificates of Dask's configuration.

    Raises
    ------
    OSError
        If no scheduler answers.

    Notes
    -----
    Paths must mean the same to all workers, and smtpkit must be installed there.
    """

    keeps_all = True

    def __init__(self, address: str) -> None:
        self._client = Client(address, timeout=ANSWER)
        self._pieces: dict[str, list[Future]] = {}

    def tables(self) -> dict[str, Any]:
        """Return all rows of the large tables that were read.

        Returns
        -------
        dict
            Dask DataFrames `packets`, `dialogue` and `log_lines`, of which an incident has the rows on which
            something went wrong.
        """
        return {name: _frame(pieces, _empty(name)) for name, pieces in self._pieces.items()}

    def write(self, name: str, path: Path) -> None:
        """Write one of these tables as a folder of Parquet files, one for each partition."""
        frame = self.tables()[name]
        texts = dict.fromkeys(frame.select_dtypes("category").columns, "string")  # categories would differ
        frame.astype(texts).to_parquet(str(path.absolute()), write_index=False)

    def close(self) -> None:
        """Let the workers forget all that they hold."""
        self._client.close()

    def map(self, function: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
        """Call a function for each of several files."""
        return self._client.gather(self._client.map(function, *map(list, arguments), pure=False))

    def _submit(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Future:
        return self._client.submit(function, *arguments, **named, pure=False)

    # --- captures ---------------------------------------------------------------------------------------

    def captures(self, rotations: Sequence[Sequence[str]], of_interest: OfInterest | None) -> list[Reading]:
        """Read captures, a file at a time, as `reading.read` does."""
        self._pieces |= {"packets": [], "dialogue": []}
        looked = [self._look(paths) for paths in self.map(in_order, rotations)]
        overlap = self._client.gather([self._submit(reading.overlap, one.seen) for one in looked])
        readings: list[Future] = []
        for one, apart in zip(looked, overlap, strict=True):
            if apart or len(one.paths) == 1:
                alone = reading.apart(one.paths, len(readings))
                readings += [self._alone(source, of_interest) for source in alone]
            else:
                readings.append(self._rotation(one, len(readings), of_interest))
        return self._client.gather(readings)

    def _look(self, paths: Sequence[str]) -> _Looked:
        """Look at the files of a rotation, each after the one before it."""
        seen, before, knowledge = [], [], self._submit(Knowledge)
        for path in paths if len(paths) > 1 else ():
            looked = self._submit(look, path, knowledge)
            seen.append(self._submit(itemgetter(0), looked))
            before.append(self._submit(_needed, knowledge, seen[-1]))
            knowledge = self._submit(itemgetter(1), looked)
        return _Looked(paths, seen, before, knowledge)

    def _read(self, source: Source | Future, of_interest: OfInterest | None) -> Future:
        return self._submit(reading.read_source, source, most=_ALL, of_interest=of_interest)

    def _alone(self, source: Source, of_interest: OfInterest | None) -> Future:
        read = self._read(source, of_interest)
        return self._submit(_without_shared, read, self._kept(self._submit(_traffic, read), MOST.packets))

    def _rotation(self, looked: _Looked, number: int, of_interest: OfInterest | None) -> Future:
        paths, seen, before, knowledge = looked
        capture = self._submit(reading.of_capture, seen, knowledge, number)
        sources = [
            self._submit(_source, path, number, *known, capture)
            for path, *known in zip(paths, seen, before, strict=True)
        ]
        reads = [self._read(source, of_interest) for source in sources]
        most = MOST.packets // len(paths)
        kept = [self._kept(self._submit(_traffic, read), most) for read in reads]
        small = [self._submit(_without_shared, read, one) for read, one in zip(reads, kept, strict=True)]
        together = self._reaching_over(reads, capture, self._partitions(paths))
        return self._submit(_together, small, [self._kept(one, most) for one in together], capture)

    def _partitions(self, paths: Sequence[str]) -> int:
        """Return how many partitions come out of a shuffle of what is in these files."""
        return min(len(paths), sum(self.map(size, paths)) // PARTITION + 1)

    def _kept(self, traffic: Future, most: int) -> Future:
        """Leave the large tables with the workers; return what an incident keeps, and what it does not."""
        for name in ("packets", "dialogue"):
            self._pieces[name].append(self._submit(_table, traffic, name))
        return self._submit(_keep, traffic, most)

    def _reaching_over(self, reads: Sequence[Future], capture: Future, partitions: int) -> list[Future]:
        """Bring the packets of each connection together that reaches over several files."""
        shared = [self._submit(_shared, read, rank) for rank, read in enumerate(reads)]
        parts = _shuffled(_frame(shared, _shared_packets([], 0)), KEY, partitions)
        return self._client.compute([dask.delayed(_joined)(part, capture) for part in parts])

    # --- logs -------------------------------------------------------------------------------------------

    def logs(
        self,
        paths: Sequence[str],
        timezone: str | None,
        of_interest: logs.OfInterest | None = None,
        *,
        final: bool = True,
    ) -> logs.Reading:
        """Read logs, a file at a time, as `logs.read` does."""
        if not paths:
            return logs.read(paths, timezone)
        reads = [self._submit(_read_log, path, timezone) for path in paths]
        lines = [self._submit(itemgetter(0), read) for read in reads]
        firsts = self._client.gather([self._submit(_first_time, one) for one in lines])
        ranks = {n: rank for rank, n in enumerate(sorted(range(len(paths)), key=firsts.__getitem__))}
        named = [self._submit(_named, one, ranks[n]) for n, one in enumerate(lines)]
        lines_of_all = _frame(named, _empty("log_lines").assign(rank=0))
        parts = _shuffled(lines_of_all, "message_id", self._partitions(paths))
        found = self._client.compute([dask.delayed(_messages)(part, of_interest) for part in parts])
        found += [self._submit(_unnamed, one, of_interest) for one in lines]
        self._pieces["log_lines"] = lines
        skipped = self._client.gather([self._submit(itemgetter(1), read) for read in reads])
        rows = pd.concat(self._client.gather([self._submit(logs.rows, one) for one in lines]))
        log = logs.together(self._client.gather(found), tables.concat(skipped, "skipped"))
        return logs.Reading(log, rows, Counter(lines=int(rows.sum()) - len(log.log_lines)))


# --- what the workers do --------------------------------------------------------------------------------


def _traffic(read: Reading) -> Traffic:
    return read.traffic


def _table(traffic: Traffic, name: str) -> pd.DataFrame:
    return getattr(traffic, name)


def _keep(traffic: Traffic, most: int) -> tuple[Traffic, Counter[str]]:
    kept = Kept(_ALL._replace(packets=most))
    kept.add(traffic)
    return kept.pieces[0], kept.left_out


def _without_shared(read: Reading, kept: tuple[Traffic, Counter[str]]) -> Reading:
    return read._replace(traffic=kept[0], left_out=kept[1], shared=[])


def _needed(knowledge: Knowledge, seen: Seen) -> Knowledge:
    return knowledge.only(seen.streams)


def _source(path: str, number: int, seen: Seen, before: Knowledge, capture: Any) -> Source:
    return Source((path,), number, seen, before, *capture)


def _together(
    reads: list[Reading], reaching_over: list[tuple[Traffic, Counter[str]]], capture: Any
) -> Reading:
    captures, skipped, _ = capture
    paths = [path for read in reads for path in read.paths]
    found = reading.capture(reads, whole([traffic for traffic, _ in reaching_over], paths), captures, skipped)
    return found._replace(left_out=sum((left_out for _, left_out in reaching_over), found.left_out))


def _shared(read: Reading, rank: int) -> pd.DataFrame:
    return _shared_packets(read.shared, rank)


def _shared_packets(shared: list[Shared], rank: int) -> pd.DataFrame:
    """Return packets with their payload, and the place of their file in the order of reading."""
    payload = [octets for one in shared for octets in one.payload]
    packets = tables.concat([one.packets for one in shared], "packets")
    return packets.assign(payload=pd.Series(payload, packets.index, dtype=_PAYLOAD), rank=rank)


def _joined(packets: pd.DataFrame, capture: Any) -> Traffic:
    packets = packets.sort_values(["rank", "frame"], ignore_index=True)
    shared = Shared(tables.conform(packets, "packets"), packets["payload"].tolist())
    return reading.joined([shared], capture[0])


def _read_log(path: str, timezone: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    reader = exim.Reader(path, timezone=timezone)
    return reader.log_lines(), reader.skipped


def _first_time(lines: pd.DataFrame) -> pd.Timestamp:
    times = lines["time"].dropna()
    return times.iloc[0] if len(times) else pd.Timestamp.max.tz_localize("UTC")


def _named(lines: pd.DataFrame, rank: int) -> pd.DataFrame:
    return lines[lines["message_id"].notna()].assign(rank=rank)


def _messages(lines: pd.DataFrame, of_interest: logs.OfInterest | None) -> exim.Log:
    lines = lines.sort_values(["rank", "line"], ignore_index=True)
    return logs.analyse(tables.conform(lines, "log_lines"), of_interest)


def _unnamed(lines: pd.DataFrame, of_interest: logs.OfInterest | None) -> exim.Log:
    return logs.analyse(lines[lines["message_id"].isna()], of_interest)


# --- Dask DataFrames ------------------------------------------------------------------------------------


def _frame(pieces: Sequence[Future], empty: pd.DataFrame) -> Any:
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_delayed(pieces, meta=empty, verify_meta=False)


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
