"""Log files become batches of `log_lines`: blocks of a file, their entries, and the columns of these."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, tzinfo

import numpy as np
import pandas as pd

from smtpkit import forms, tables
from smtpkit.exim import columns, lines, syslog
from smtpkit.exim.clock import NAT, SECOND, Clock, LogError, zone
from smtpkit.exim.entries import LONGEST, Block, Entries, Skipped
from smtpkit.files import Input, open_input, written

BLOCK = 4 << 20  # bytes of a file that are read at once
INTERPRETED = 2 << 20  # bytes that are read before numba is worth its loading, or even its compiling
WORKERS = min(4, os.cpu_count() or 1)
HEAD = 1 << 16  # bytes in which a file's first time stamp is looked for


class Reader:
    """Reads logs in batches.

    Iterating yields the next rows of the table `log_lines`. Memory is bounded by some batches. After the
    iteration `skipped` is complete.

    Parameters
    ----------
    *paths
        Log files, plain or compressed, of a rotation for example; ``-`` is standard input.
    timezone
        As in `read_log`.

    Attributes
    ----------
    skipped : DataFrame
        Table `skipped`: what was left out of the files, or is odd in them.
    """

    def __init__(self, *paths: str | os.PathLike[str], timezone: str | None = None) -> None:
        self.paths = [os.fspath(path) for path in paths]
        self.skipped = tables.empty("skipped")
        self._zone = zone(timezone)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Read from the beginning.

        Raises
        ------
        LogError
            If a file cannot be opened, or has no line that starts with a time stamp.
        """
        for piece in self._pieces():
            yield columns.frame([piece])

    def log_lines(self) -> pd.DataFrame:
        """Return all rows as one table, in order of time where files overlap."""
        log_lines = columns.frame(self._pieces())
        return _in_order(log_lines) if len(self.paths) > 1 else log_lines

    def first_times(self) -> dict[str, int]:
        """Return of each file the earliest time near its start, in nanoseconds since 1970: their order."""
        return {path: LogFile(path, self._zone).first_time() for path in self.paths}

    def _pieces(self) -> Iterator[columns.Piece]:
        files = [LogFile(path, self._zone) for path in self.paths]
        read = 0
        for file in sorted(files, key=LogFile.first_time) if len(files) > 1 else files:
            yield from file.pieces(read)
            read += file.size
        rows = [row for file in files for row in file.skipped.rows()]
        self.skipped = tables.from_rows(rows, "skipped")


class LogFile:
    """Reads one file."""

    def __init__(self, path: str, zone: tzinfo | None) -> None:
        self.path, self.skipped, self.size = path, Skipped(path), 0
        self._zone = zone

    def first_time(self) -> int:
        """Return the time of the first line that has one, in nanoseconds since 1970."""
        with self._open() as file:
            block = Block(forms.interpreted(lines), file.read(HEAD), 1, self._written())
        time = self._times(block.entries(True, Skipped(self.path))[0], Clock(self._zone), Skipped(self.path))
        return int(time[time != NAT].min(initial=np.iinfo(np.int64).max))

    def pieces(self, before: int) -> Iterator[columns.Piece]:
        """Yield the columns of `log_lines`, some thousand rows at a time; so many bytes were read before."""
        clock, stamped, last = Clock(self._zone), False, 0
        with self._open() as file, ThreadPoolExecutor(WORKERS) as pool, ThreadPoolExecutor(1) as ahead:
            waiting: deque[Future[columns.Piece]] = deque()
            for entries in self._entries(_blocks(file, ahead), before):
                time = self._times(entries, clock, self.skipped)
                stamped |= bool((entries.facts[lines.BODY] >= 0).any())
                last = int(entries.number[-1])
                waiting.append(pool.submit(columns.piece, entries, time, self.path))
                if len(waiting) > WORKERS:
                    yield waiting.popleft().result()
            yield from (future.result() for future in waiting)
            if file.damage:
                self.skipped.add(file.damage, last)
        if last and not stamped:
            advice = "give an Exim main, reject or panic log"
            raise LogError(f"{self.path}: no line starts with an Exim time stamp; {advice}")

    def _open(self) -> Input:
        try:
            return open_input(self.path)
        except OSError as error:
            advice = "check the name and the permissions"
            raise LogError(f"{self.path}: cannot be read ({error.strerror}); {advice}") from error

    def _written(self) -> datetime:
        """Return when the file was last written: the years of RFC 3164 follow from it."""
        return datetime.fromtimestamp(written(self.path), UTC).replace(tzinfo=None)

    def _entries(self, blocks: Iterator[bytes], before: int) -> Iterator[Entries]:
        data, number, written = b"", 1, self._written()
        for chunk in blocks:
            final = len(chunk) < BLOCK
            self.size += len(chunk)
            compiled = before + self.size > INTERPRETED
            whole, rest = _whole_lines(data + chunk, final)
            block = Block(
                forms.compiled(lines) if compiled else forms.interpreted(lines), whole, number, written
            )
            entries, used, count = block.entries(final, self.skipped)
            if len(entries.number):
                yield entries
            data, number = whole[used:] + rest, number + count

    @staticmethod
    def _times(entries: Entries, clock: Clock, skipped: Skipped) -> np.ndarray:
        """Return the time of each entry in nanoseconds since 1970, UTC."""
        local, zones = entries.facts[lines.TIME], entries.facts[lines.ZONE]
        stamped = entries.facts[lines.BODY] >= 0
        valid = stamped & (local != lines.NONE)
        zoned = valid & (zones != lines.NONE)
        utc = np.full(len(local), NAT)
        utc[zoned] = local[zoned] - zones[zoned] * 60 * SECOND
        unzoned = np.flatnonzero(valid & ~zoned)
        utc[unzoned], odd = clock.utc(local[unzoned])
        reasons = {reason: unzoned[rows] for reason, rows in odd.items()}
        reasons["time stamp that is no date"] = np.flatnonzero(stamped & ~valid)
        for reason, rows in reasons.items():
            if len(rows):
                skipped.add(reason, int(entries.number[rows[0]]), len(rows))
        return utc


def moments(log_lines: pd.DataFrame) -> pd.Series:
    """Return by what lines of several files are put in order: the latest time of their own file so far."""
    time = log_lines["time"].astype("int64").where(log_lines["time"].notna(), NAT)
    return time.groupby(log_lines["file"], observed=True).cummax()


def _in_order(log_lines: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of files that overlap in order of time, those of each file in its own order."""
    order = np.argsort(moments(log_lines).to_numpy(), kind="stable")
    ordered = bool((np.diff(order) == 1).all())
    return log_lines if ordered else log_lines.iloc[order].reset_index(drop=True)


def _blocks(file: Input, ahead: ThreadPoolExecutor) -> Iterator[bytes]:
    """Yield the blocks of a file, of which the last one is shorter; the next is read while one is in use."""
    block = _read(file)
    while len(block) == BLOCK:
        following = ahead.submit(_read, file)
        yield block
        block = following.result()
    yield block


def _read(file: Input) -> bytes:
    """Read a block, less only at the end of the file."""
    pieces, missing = [], BLOCK
    while missing and (piece := file.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _whole_lines(data: bytes, final: bool) -> tuple[bytes, bytes]:
    r"""Return the whole lines, bytes that are no UTF-8 as ``\xNN``, and the rest, cut if too long."""
    end = len(data) if final else data.rfind(b"\n") + 1
    whole, rest = data[:end], data[end : end + LONGEST + 1]
    try:
        whole.decode() if not whole.isascii() else None
    except UnicodeDecodeError:
        whole = whole.decode("utf-8", "backslashreplace").encode()
    return whole, rest


def sniff(head: bytes) -> bool:
    """Tell whether `head`, the first bytes of a file, has a line that starts as one of an Exim log does."""
    return syslog.STARTS_LINE.search(head) is not None
