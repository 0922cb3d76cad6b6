"""Logs are read: at once, or where they are too large for that, message by message in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd

from smtpkit import exim, tables
from smtpkit.files import open_input, size
from smtpkit.spool import Choice, Spool

LARGE = 100 << 20  # bytes of logs, decompressed, of which all lines are no longer kept
MOST = 100_000  # attempts that are kept of a large log
PARTITIONS = 64  # parts of a large log, each with all lines of its messages, of which one is held at a time
BATCH = 100_000  # lines that are put into the partitions at a time
_BLOCK = 1 << 20
_FAILED = ("deferral", "failure", "host_error")


class Reading(NamedTuple):
    """What was read; `rows` counts the lines of each file, `left_out` those that there was no room for."""

    log: exim.Log
    rows: pd.Series
    left_out: Counter[str]


def read(
    paths: Sequence[str],
    timezone: str | None = None,
    *,
    of_interest: Choice | None = None,
    first: Choice | None = None,
    spool: Spool | None = None,
) -> Reading:
    """Read logs; of large ones only the lines of messages stay that were not all delivered at once.

    Of more than `MOST` attempts those stay that are of interest or failed, then those that are to be `first`,
    then others to the hosts where some failed.

    Parameters
    ----------
    paths, timezone
        As in `exim.read_log`.
    of_interest
        Where lines are left out, those of messages with other attempts are as well.
    first
        Attempts that stay before others.
    spool
        Where to put the lines that there is no room for; with it all attempts stay.

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
        counts, troubled = _share_out(reader, partitions)
        parts, attempts = list[exim.Log](), 0
        for lines in _partitions(partitions):
            part = analyse(lines, of_interest, spool)
            attempts += len(part.attempts)
            parts.append(part if spool else _some(part, of_interest, first, troubled))
    log = together(parts, reader.skipped)
    left_out = Counter(lines=int(counts.sum()) - len(log.log_lines), attempts=attempts - len(log.attempts))
    return Reading(log, counts, +left_out)


def rows(log_lines: pd.DataFrame) -> pd.Series:
    """Return the number of lines of each file."""
    return log_lines["file"].astype("string").value_counts()


def _share_out(reader: exim.Reader, partitions: Spool) -> tuple[pd.Series, set[str]]:
    """Write the lines of each message into one partition.

    Return the number of lines of each file, and the addresses of the hosts at which something failed.
    """
    counts, troubled = pd.Series(dtype="int64"), set[str]()
    for lines in _batches(reader):
        troubled.update(lines.loc[lines["kind"].isin(_FAILED), "host_address"].dropna().unique())
        counts = counts.add(rows(lines), fill_value=0)
        hashed = pd.util.hash_array(lines["message_id"].fillna("").to_numpy(object)) % PARTITIONS
        in_turn = lines["line"].to_numpy(int) % PARTITIONS
        chosen = np.where(lines["message_id"].isna(), in_turn, hashed.astype(int))
        for number, part in lines.groupby(chosen):
            partitions.add(f"part{number}", part)
    return counts.astype("int64"), troubled


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


def analyse(lines: pd.DataFrame, of_interest: Choice | None = None, spool: Spool | None = None) -> exim.Log:
    """Return what whole messages say, and of their lines those of messages with a failed attempt."""
    attempts, messages = exim.attempts(lines), exim.messages(lines)
    failed = attempts[(attempts["outcome"] != "delivered").fillna(True)]
    failed = failed if of_interest is None else failed[of_interest(failed)]
    kept = lines["message_id"].isin(failed["message_id"].dropna())
    if spool:
        spool.add("log_lines", lines[~kept])
    return exim.Log(lines[kept], messages, attempts, tables.empty("skipped"))


def _some(log: exim.Log, of_interest: Choice | None, first: Choice | None, troubled: set[str]) -> exim.Log:
    """Keep so many messages of a part that all parts together have no more than `MOST` attempts."""
    attempts, most = log.attempts, MOST // PARTITIONS
    if len(attempts) <= most:
        return log
    failed = (attempts["outcome"] != "delivered").fillna(True)
    marks = [of_interest(attempts)] if of_interest else []
    marks += [failed, *([first(attempts)] if first else []), attempts["peer"].isin(troubled)]
    rank = np.argmax(np.column_stack([*marks, np.ones(len(attempts), bool)]), axis=1)
    message = attempts["message_id"].fillna(attempts.index.to_series().astype("string"))
    best = pd.Series(rank, attempts.index).groupby(message).transform("min")
    kept = attempts.loc[best.sort_values(kind="stable").index[:most]].sort_index()
    gone = set(attempts["message_id"].dropna()) - set(kept["message_id"].dropna())
    lines, messages = (frame[~frame["message_id"].isin(gone)] for frame in (log.log_lines, log.messages))
    return exim.Log(lines, messages.iloc[: 2 * most], kept, log.skipped)


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
