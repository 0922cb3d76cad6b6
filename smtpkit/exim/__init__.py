"""Exim logs: files become `log_lines`, `messages` and `attempts`."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from io import BufferedIOBase
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pandas as pd

from smtpkit import tables
from smtpkit.exim import grammar
from smtpkit.exim.deliveries import attempts, messages
from smtpkit.files import open_input

__all__ = ["Log", "LogError", "attempts", "messages", "read_log", "sniff", "zone"]

Row = dict[str, Any]
LONGEST = 1 << 20  # bytes of a line, characters of what continues it; Exim itself writes at most 8 KiB


class LogError(ValueError):
    """A log cannot be read; the message says which, why and what to do."""


class Log(NamedTuple):
    """What `read_log` returns: tables as in `smtpkit.tables`."""

    log_lines: pd.DataFrame
    messages: pd.DataFrame
    attempts: pd.DataFrame
    skipped: pd.DataFrame


def read_log(*paths: str | os.PathLike[str], timezone: str | None = None) -> Log:
    """Read Exim main, reject or panic logs, plain or compressed.

    Every line that starts with a time stamp becomes a row. A line without one continues the line above, in
    column `text` after a line feed; before the first time stamp it is a row of kind ``other`` without a time.

    Parameters
    ----------
    paths
        The files, best in time order.
    timezone
        Zone of the time stamps that have none: a name such as ``Europe/Berlin``, or an offset such as
        ``+0100``; without it the zone of this machine. In the hour that summer time repeats the first
        occurrence is meant; an hour that it leaves out counts on from the time before.

    Raises
    ------
    LogError
        If a file cannot be opened or has no line that starts with an Exim time stamp (an empty file is an
        empty log), or if `timezone` is unknown.

    Notes
    -----
    Source: Exim specification, chapter "Log files".
    """
    local = zone(timezone)
    files = [_read_file(os.fspath(path), local) for path in paths]
    log_lines = tables.concat([lines for lines, _ in files], "log_lines")
    skipped = tables.from_rows([row for _, counts in files for row in counts.rows()], "skipped")
    return Log(log_lines, messages(log_lines), attempts(log_lines), skipped)


def sniff(head: bytes) -> bool:
    """Tell whether `head`, the first bytes of a file, has a line that starts with an Exim time stamp."""
    return grammar.STARTS_LINE.search(head) is not None


class _Skipped(dict[str, list[int]]):
    """What was left out of a file or is odd in it: count and first line, by reason."""

    def __init__(self, file: str) -> None:
        self.file = file

    def add(self, reason: str, line: int) -> None:
        self.setdefault(reason, [0, line])[0] += 1

    def rows(self) -> Iterator[dict[str, Any]]:
        for reason, (count, line) in self.items():
            yield {"file": self.file, "reason": reason, "count": count, "where": f"line {line}"}


def zone(name: str | None) -> tzinfo | None:
    """Return the zone of this name or offset; None is the machine's own.

    Raises
    ------
    LogError
        If there is no such zone.
    """
    if name is None:
        return None
    if found := re.fullmatch(r"([+-])([01]\d|2[0-3]):?([0-5]\d)", name, re.ASCII):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(-offset if found[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        advice = "give a name such as Europe/Berlin or an offset such as +0100"
        raise LogError(f"there is no time zone {name!r}; {advice}") from error


def _read_file(path: str, zone: tzinfo | None) -> tuple[pd.DataFrame, _Skipped]:
    skipped = _Skipped(path)
    try:
        with open_input(path) as file:
            lines = _table(_rows(file, skipped), zone, skipped)
            if file.damage:
                skipped.add(file.damage, int(lines["line"].max()) if len(lines) else 0)
    except OSError as error:
        advice = "check the name and the permissions"
        raise LogError(f"{path}: cannot be read ({error.strerror}); {advice}") from error
    if len(lines) and lines["time"].isna().all():
        advice = "give an Exim main, reject or panic log"
        raise LogError(f"{path}: no line starts with an Exim time stamp; {advice}")
    return lines.assign(file=path), skipped


def _rows(file: BufferedIOBase, skipped: _Skipped) -> Iterator[Row]:
    """Yield a row for each line that starts with a time stamp, what continues it in ``more``."""
    row: Row | None = None
    for number, line in _lines(file, skipped):
        head = grammar.HEAD.match(line)
        if head is None and (row is None or _JUNK.search(line)):
            skipped.add("line without a time stamp, kept as text", number)
        if head is None and row is not None:
            _continue(row, line, number, skipped)
            continue
        if row is not None:
            yield row
        row = grammar.parse(line, head) if head else {"kind": "other", "text": line}
        row |= {"line": number, "more": [], "room": LONGEST}
    if row is not None:
        yield row


# Exim escapes what is not printable, so these bytes are not of its making.
_JUNK = re.compile(r"[\0-\x08\x0e-\x1f\x7f]|\\x[89a-f]")


def _continue(row: Row, line: str, number: int, skipped: _Skipped) -> None:
    row["room"] -= len(line) + 1
    if row["room"] > 0:
        row["more"].append(line)
    else:
        skipped.add(f"line that continues another beyond {LONGEST} characters", number)


def _lines(file: BufferedIOBase, skipped: _Skipped) -> Iterator[tuple[int, str]]:
    r"""Yield number and text of each line that is not blank; bytes that are no UTF-8 become ``\xNN``."""
    number = 0
    while raw := file.readline(LONGEST):
        number += 1
        if len(raw) == LONGEST and not raw.endswith(b"\n"):
            skipped.add(f"rest of a line longer than {LONGEST} bytes", number)
            while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
        line = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
        if line.startswith("\0"):  # a crash leaves a block of them where its last lines should be
            skipped.add("binary zeros before a line", number)
            line = line.lstrip("\0")
        if line.strip(" \t\r"):
            yield number, line


def _table(rows: Iterator[Row], zone: tzinfo | None, skipped: _Skipped) -> pd.DataFrame:
    cells: dict[str, tuple[list[int], list[Any]]] = defaultdict(lambda: ([], []))
    length, times = 0, _Times(zone)
    for row in rows:
        row["text"] = "\n".join([row.get("text") or "", *row["more"]]) or None
        row["time"] = times[row["stamp"]] if "stamp" in row else None
        if "stamp" in row and row["time"] is None:
            skipped.add("time stamp that is no date", row["line"])
        for name, value in row.items():
            if value is not None:
                cells[name][0].append(length)
                cells[name][1].append(value)
        length += 1
    columns = {c.name: _column(c, *cells[c.name], length) for c in tables.TABLES["log_lines"]}
    return pd.DataFrame(columns)


def _column(column: tables.Column, places: list[int], values: list[Any], length: int) -> pd.Series:
    """Return the column with `values` at `places` and nothing elsewhere."""
    if column.name in _LARGEST:
        values = [_integer(text, _LARGEST[column.name]) for text in values]
    elif column.dtype == "Float64":
        values = [grammar.seconds(text) for text in values]
    return pd.Series(values, index=places, dtype=column.dtype).reindex(range(length))


_LARGEST = {"size": 1 << 62, "bytes_written": 1 << 62, "pid": 1 << 62, "errno": 1 << 30, "smtp_code": 999}
_LARGEST |= {"host_port": 65535, "interface_port": 65535}


def _integer(text: str, largest: int) -> int | None:
    """Return the number that `text` is; None for a masked one and for one that no column can hold."""
    if len(text) > 20 or not text.removeprefix("-").isdecimal():
        return None
    number = int(text)
    return number if abs(number) <= largest else None


class _Times(dict[str, datetime | None]):
    """Times by time stamp, each converted once; None where there is no such date."""

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone  # None: local time

    def __missing__(self, stamp: str) -> datetime | None:
        try:
            local = datetime.fromisoformat(stamp[:10] + "T" + stamp[11:].replace(" ", ""))
        except ValueError:
            return self.setdefault(stamp, None)
        return self.setdefault(
            stamp, (local if local.tzinfo else local.replace(tzinfo=self._zone)).astimezone(UTC)
        )
