"""Where the reading is done: here, or on the machines of a cluster (`smtpkit.cluster`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from smtpkit import logs, reading
from smtpkit.spool import Choice, Spool
from smtpkit.traffic import OfInterest


class Workers(Protocol):
    """What `incident.load` asks of those who read for it.

    `keeps_all` says whether rows that an incident has no room for are kept elsewhere.
    """

    keeps_all: bool

    def map(self, function: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
        """Call a function for each of several files."""

    def captures(
        self, rotations: Sequence[Sequence[str]], of_interest: OfInterest | None
    ) -> list[reading.Reading]:
        """Read captures as `reading.read` does."""

    def logs(
        self,
        paths: Sequence[str],
        timezone: str | None,
        of_interest: Choice | None = None,
        *,
        first: Choice | None = None,
        final: bool = True,
    ) -> logs.Reading:
        """Read logs as `logs.read` does; what is not `final` is read again, and only looked at."""

    def narrow(self, chosen: Mapping[str, Choice]) -> None:
        """Of the rows of these tables that an incident has no room for, keep those chosen."""


class Here:
    """Work on this machine."""

    def __init__(self, spool: Spool | None = None) -> None:
        self.keeps_all, self._spool = spool is not None, spool

    def map(self, function: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
        """Call a function for each of several files."""
        return list(map(function, *arguments))

    def captures(
        self, rotations: Sequence[Sequence[str]], of_interest: OfInterest | None
    ) -> list[reading.Reading]:
        """Read captures."""
        return reading.read(rotations, of_interest=of_interest, spool=self._spool)

    def logs(
        self,
        paths: Sequence[str],
        timezone: str | None,
        of_interest: Choice | None = None,
        *,
        first: Choice | None = None,
        final: bool = True,
    ) -> logs.Reading:
        """Read logs."""
        spool = self._spool if final else None
        return logs.read(paths, timezone, of_interest=of_interest, first=first, spool=spool)

    def narrow(self, chosen: Mapping[str, Choice]) -> None:
        """Leave rows out of the spool."""
        if self._spool:
            for table, choice in chosen.items():
                self._spool.narrow(table, choice)
