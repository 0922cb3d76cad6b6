"""Logs are read: at once, or where they are too large for that, message by message in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd

from smtpkit import exim, tables
from smtpkit.files import open_input, size
from smtpkit.spool import Spool

LARGE = 256 << 20  # bytes of logs, decompressed, of which all lines are no longer kept
PARTITIONS = 64  # parts of a large log, each with all lines of its messages, of which one is held at a time
BATCH = 250_000  # lines that are put into the partitions at a time
_BLOCK = 1 << 20

OfInterest = Callable[[pd.DataFrame], pd.Series]  # a filter: marks the attempts that are


class Reading(NamedTuple):
    """What was read; `rows` counts the lines of each file, `left_out` those that there was no room for."""

    log: exim.Log
    rows: pd.Series
    left_out: Counter[str]


def read(
    paths: Sequence[str],
    timezone: str | None = None,
    *,
    of_interest: OfInterest | None = None,
    spool: Spool | None = None,
) -> Reading:
    """Read logs; of large ones only the lines of messages stay that were not all delivered at once.

    Parameters
    ----------
    paths, timezone
        As in `exim.read_log`.
    of_interest
        Where lines are left out, those of messages with other attempts are as well.
    spool
        Where to put the lines that there is no room for.

    Raises
    ------
    LogError
        As in `exim.read_log`.
    """
    if not _large(paths):
        log = exim.read_log(*paths, timezone=timezone)
        return Reading(log, rows(log.log_lines), Counter())
    with TemporaryDirectory() as folder:
        reader, partitions = exim.Reader(*paths, timezone=timezone), Spool(Path(folder))
        counts = _share_out(reader, partitions)
        parts = [analyse(lines, of_interest, spool) for lines in _partitions(partitions)]
    left_out = int(counts.sum()) - sum(len(log.log_lines) for log in parts)
    return Reading(together(parts, reader.skipped), counts, Counter(lines=left_out))


def rows(log_lines: pd.DataFrame) -> pd.Series:
    """Return the number of lines of each file."""
    return log_lines["file"].astype("string").value_counts()


def _share_out(reader: exim.Reader, partitions: Spool) -> pd.Series:
    """Write the lines of each message into one partition; return the number of lines of each file."""
    counts = pd.Series(dtype="int64")
    for lines in _batches(reader):
        counts = counts.add(rows(lines), fill_value=0)
        hashed = pd.util.hash_array(lines["message_id"].fillna("").to_numpy(object)) % PARTITIONS
        in_turn = lines["line"].to_numpy(int) % PARTITIONS
        chosen = np.where(lines["message_id"].isna(), in_turn, hashed.astype(int))
        for number, part in lines.groupby(chosen):
            partitions.add(f"part{number}", part)
    return counts.astype("int64")


def _batches(reader: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    held: list[pd.DataFrame] = []
    for lines in reader:
        held.append(lines)
        if sum(map(len, held)) >= BATCH:
            yield tables.concat(held, "log_lines")
            held = []
    yield tables.concat(held, "log_lines")


def _partitions(partitions: Spool) -> Iterator[pd.DataFrame]:
    for number in range(PARTITIONS):
        yield tables.concat(partitions.pieces(f"part{number}"), "log_lines")


def analyse(
    lines: pd.DataFrame, of_interest: OfInterest | None = None, spool: Spool | None = None
) -> exim.Log:
    """Return what whole messages say, and of their lines those of messages with a failed attempt."""
    attempts, messages = exim.attempts(lines), exim.messages(lines)
    failed = attempts[(attempts["outcome"] != "delivered").fillna(True)]
    failed = failed if of_interest is None else failed[of_interest(failed)]
    kept = lines["message_id"].isin(failed["message_id"].dropna())
    if spool:
        spool.add("log_lines", lines[~kept])
    return exim.Log(lines[kept], messages, attempts, tables.empty("skipped"))


def together(parts: Sequence[exim.Log], skipped: pd.DataFrame) -> exim.Log:
    """Put logs together that have no message in common."""
    lines, messages, attempts = (
        tables.concat([getattr(part, name) for part in parts], name)
        for name in ("log_lines", "messages", "attempts")
    )
    return exim.Log(
        lines.sort_values(["file", "line"], ignore_index=True),
        messages.sort_values(["file", "line"], ignore_index=True),
        attempts.sort_values(["end", "file", "line"], ignore_index=True),
        skipped,
    )


def _large(paths: Iterable[str]) -> bool:
    """Say whether files, decompressed, have `LARGE` bytes."""
    count = 0
    for path in paths:
        try:
            if size(path) >= LARGE:
                return True
            with open_input(path) as file:
                while count < LARGE and (block := file.read(_BLOCK)):
                    count += len(block)
        except OSError:
            continue  # whoever reads it says why
    return count >= LARGE
