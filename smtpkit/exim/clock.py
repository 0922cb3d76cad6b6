"""Local time becomes UTC, the hour that summer time repeats or leaves out included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

SECOND, MINUTE = 10**9, 60 * 10**9  # ns
QUARTER = 15 * MINUTE  # offsets are multiples of it, and change at one
STEP_BACK = 30 * MINUTE  # lines of one log are never so far out of order
NAT = np.iinfo(np.int64).min
REPEATED = "time stamp in the hour that summer time repeats: told apart by the order of the lines"
LEFT_OUT = "time stamp in the hour that summer time leaves out: counted on from the time before"

_EPOCH = datetime(1970, 1, 1)


class LogError(ValueError):
    """A log cannot be read; the message says which, why and what to do."""


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


class Clock:
    """Turns the time stamps of one log into UTC, its lines in order."""

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self._day, self._latest, self._second = NAT, NAT, False  # of the repeated hour read last

    def utc(self, local: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return local times [ns] as UTC [ns], and for each oddity the rows that have it."""
        quarters, which = np.unique(local // QUARTER, return_inverse=True)
        first = self._offsets(quarters, 0)[which]
        second = self._offsets(quarters, 1)[which]
        utc = local - first
        repeated = np.flatnonzero(first > second)
        later = repeated[self._second_pass(local[repeated])]
        utc[later] = local[later] - second[later]
        return utc, {REPEATED: repeated, LEFT_OUT: np.flatnonzero(first < second)}

    def _offsets(self, quarters: np.ndarray, fold: int) -> np.ndarray:
        return np.array([self._offset(quarter, fold) for quarter in quarters.tolist()], np.int64)

    def _offset(self, quarter: int, fold: int) -> int:
        local = (_EPOCH + timedelta(minutes=15 * quarter)).replace(tzinfo=self._zone, fold=fold)
        offset = (local if self._zone else local.astimezone()).utcoffset() or timedelta()
        return round(offset.total_seconds()) * SECOND

    def _second_pass(self, local: np.ndarray) -> np.ndarray:
        """Mark the times of repeated hours that are after the clock went back: a step back shows where."""
        marks = np.zeros(len(local), bool)
        for start, end in _runs(local // (24 * 60 * MINUTE)):
            day = int(local[start]) // (24 * 60 * MINUTE)
            if day != self._day:
                self._day, self._latest, self._second = day, NAT, False
            latest = np.maximum.accumulate(np.maximum(local[start:end], self._latest))
            stepped = np.logical_or.accumulate(local[start:end] < latest - STEP_BACK)
            marks[start:end] = stepped | self._second
            self._latest, self._second = int(latest[-1]), bool(marks[end - 1])
        return marks


def _runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of equal values."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return ((a, b) for a, b in pairwise(edges) if a < b)
