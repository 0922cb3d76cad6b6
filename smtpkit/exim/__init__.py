"""Exim logs: files become `log_lines`, `messages` and `attempts`."""

from __future__ import annotations

import os
from typing import NamedTuple

import pandas as pd

from smtpkit.exim.clock import LogError, zone
from smtpkit.exim.deliveries import attempts, messages
from smtpkit.exim.reader import Reader, moments, sniff

__all__ = ["Log", "LogError", "Reader", "attempts", "messages", "moments", "read_log", "sniff", "zone"]


class Log(NamedTuple):
    """What `read_log` returns: tables as in `smtpkit.tables`."""

    log_lines: pd.DataFrame
    messages: pd.DataFrame
    attempts: pd.DataFrame
    skipped: pd.DataFrame


def read_log(*paths: str | os.PathLike[str], timezone: str | None = None) -> Log:
    """Read Exim main, reject or panic logs or syslog, plain or compressed.

    Every line that starts with a time stamp becomes a row. A line without one continues the line above, in
    column `text` after a line feed; before the first time stamp it is a row of kind ``other`` without a time.

    Parameters
    ----------
    *paths
        The files, in any order: a rotation is read in order of time. ``-`` is standard input.
    timezone
        Zone of the time stamps that have none: a name such as ``Europe/Berlin``, or an offset such as
        ``+0100``; without it the zone of this machine. In the hour that summer time repeats the order of the
        lines tells the first from the second; an hour that it leaves out counts on from the time before. Both
        are in `skipped`.

    Raises
    ------
    LogError
        If a file cannot be opened or has no line that starts with an Exim time stamp (an empty file is an
        empty log), or if `timezone` is unknown.

    Notes
    -----
    Source: Exim specification, chapter "Log files".
    """
    reader = Reader(*paths, timezone=timezone)
    log_lines = reader.log_lines()
    return Log(log_lines, messages(log_lines), attempts(log_lines), reader.skipped)
