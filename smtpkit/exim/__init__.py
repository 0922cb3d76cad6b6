"""Exim logs: files become `log_lines`, `messages` and `attempts`."""

from __future__ import annotations

import os
import re
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

__all__ = ["Log", "LogError", "attempts", "messages", "read_log", "sniff"]

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
    zone, skipped = _zone(timezone), _Skipped()
    log_lines = tables.concat([_read_file(os.fspath(path), zone, skipped) for path in paths], "log_lines")
    return Log(log_lines, messages(log_lines), attempts(log_lines), skipped.table())


def sniff(head: bytes) -> bool:
    """Tell whether `head`, the first bytes of a file, has a line that starts with an Exim time stamp."""
    return grammar.STARTS_LINE.search(head) is not None


class _Skipped(dict[tuple[str, str], list[Any]]):
    """What was left out or is odd: count and first place, by file and reason."""

    def add(self, file: str, reason: str, line: int) -> None:
        self.setdefault((file, reason), [0, f"line {line}"])[0] += 1

    def table(self) -> pd.DataFrame:
        rows = ({"file": f, "reason": r, "count": n, "where": w} for (f, r), (n, w) in self.items())
        return tables.from_rows(rows, "skipped")


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    if found := re.fullmatch(r"([+-])(\d\d):?([0-5]\d)", name, re.ASCII):
        minutes = int(found[2]) % 24 * 60 + int(found[3])
        return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (ValueError, OSError) as error:
        raise LogError(
            f"no time zone {name!r}; give a name such as Europe/Berlin or an offset such as +0100"
        ) from error


def _read_file(path: str, zone: tzinfo | None, skipped: _Skipped) -> pd.DataFrame:
    try:
        with open_input(path) as file:
            rows = list(_rows(file, path, skipped))
            if file.damage:
                skipped.add(path, file.damage, rows[-1]["line"] if rows else 0)
    except OSError as error:
        raise LogError(
            f"{path}: cannot be read ({error.strerror}); check the name and the permissions"
        ) from error
    if rows and not any("stamp" in row for row in rows):
        raise LogError(
            f"{path}: no line starts with an Exim time stamp; give an Exim main, reject or panic log"
        )
    return _table(rows, path, zone, skipped)


def _rows(file: BufferedIOBase, path: str, skipped: _Skipped) -> Iterator[dict[str, Any]]:
    """Yield a row for each line that starts with a time stamp, what continues it in ``more``."""
    row: dict[str, Any] | None = None
    for number, line in _lines(file, path, skipped):
        head = grammar.parse_head(line)
        if head is None and (row is None or _JUNK.search(line)):
            skipped.add(path, "line without a time stamp, kept as text", number)
        if head is None and row is not None:
            _continue(row, line, number, path, skipped)
            continue
        if row is not None:
            yield row
        row = grammar.parse(line, head) if head else {"kind": "other", "text": line}
        row |= {"line": number, "more": [], "room": LONGEST}
    if row is not None:
        yield row


_JUNK = re.compile(
    r"[\0-\x08\x0e-\x1f\x7f]|\\x[89a-f]"
)  # no text of Exim's, which escapes what is not printable


def _continue(row: dict[str, Any], line: str, number: int, path: str, skipped: _Skipped) -> None:
    row["room"] -= len(line) + 1
    if row["room"] > 0:
        row["more"].append(line)
    else:
        skipped.add(path, f"line that continues another beyond {LONGEST} characters", number)


def _lines(file: BufferedIOBase, path: str, skipped: _Skipped) -> Iterator[tuple[int, str]]:
    r"""Yield number and text of each line that is not blank; bytes that are no UTF-8 become ``\xNN``."""
    number = 0
    while raw := file.readline(LONGEST):
        number += 1
        if len(raw) == LONGEST and not raw.endswith(b"\n"):
            skipped.add(path, f"rest of a line longer than {LONGEST} bytes", number)
            while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
        line = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
        if line.startswith("\0"):  # a crash leaves a block of them where its last lines should be
            skipped.add(path, "binary zeros before a line", number)
            line = line.lstrip("\0")
        if line.strip():
            yield number, line


def _table(rows: list[dict[str, Any]], path: str, zone: tzinfo | None, skipped: _Skipped) -> pd.DataFrame:
    columns: dict[str, Any] = {c.name: [row.get(c.name) for row in rows] for c in tables.TABLES["log_lines"]}
    columns |= {name: [_integer(text, limit) for text in columns[name]] for name, limit in _INTEGERS.items()}
    columns |= {name: [grammar.seconds(text) for text in columns[name]] for name in _DURATIONS}
    columns["time"] = pd.to_datetime(pd.Series(_times(rows, path, zone, skipped), dtype=object), utc=True)
    columns["text"] = [
        "\n".join(([row["text"]] if row.get("text") else []) + row["more"]) or None for row in rows
    ]
    columns["file"] = [path] * len(rows)
    return tables.conform(pd.DataFrame(columns), "log_lines")


_INTEGERS = {"size": 1 << 62, "bytes_written": 1 << 62, "pid": 1 << 62, "errno": 1 << 30, "smtp_code": 999}
_INTEGERS |= {"host_port": 65535, "interface_port": 65535}
_DURATIONS = ("queue_time", "delivery_time", "reception_time")


def _integer(text: str | None, limit: int) -> int | None:
    """Return the number that `text` is; None for a masked one and for one that no column can hold."""
    if not text or len(text) > 20 or not text.removeprefix("-").isdecimal():
        return None
    number = int(text)
    return number if abs(number) <= limit else None


def _times(
    rows: list[dict[str, Any]], path: str, zone: tzinfo | None, skipped: _Skipped
) -> list[datetime | None]:
    times: dict[str, datetime | None] = {}
    for row in rows:
        stamp = row.setdefault("stamp", "")
        if stamp not in times:
            times[stamp] = _utc(stamp, zone)
        if stamp and times[stamp] is None:
            skipped.add(path, "time stamp that is no date", row["line"])
    return [times[row["stamp"]] for row in rows]


def _utc(stamp: str, zone: tzinfo | None) -> datetime | None:
    """Return the time that `stamp` means, local time if no zone is known; None if there is no such date."""
    try:
        local = datetime.fromisoformat(stamp[:10] + "T" + stamp[11:].replace(" ", ""))
    except ValueError:
        return None
    return (local if local.tzinfo else local.replace(tzinfo=zone)).astimezone(UTC)
