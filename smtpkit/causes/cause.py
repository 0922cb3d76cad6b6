"""What a cause is: data that `findings` weighs by one stated rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """Failures of one manner on one path, as their observations tell of them.

    `figures` holds their numbers by name (bytes, seconds, counts), None where unknown.
    """

    peer: str
    client: str
    direction: str | None
    figures: dict[str, Any] = field(default_factory=dict)


def _no_parameters(case: Case) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A cause of failing mail, by the observations that speak for and against it.

    `requires` must all be true and none of `excludes` may be. `supports` add to the evidence; each group of
    `decisive` ones tells this cause from one kind of look-alike. `look_alikes` are the causes that a report
    says why it is not.
    """

    code: str
    requires: tuple[str, ...]
    excludes: tuple[str, ...] = ()
    supports: tuple[str, ...] = ()
    decisive: tuple[tuple[str, ...], ...] = ()
    look_alikes: tuple[str, ...] = ()
    directed: bool = False  # what vanishes does so in one direction
    sentence: Callable[[Case], str]
    parameters: Callable[[Case], dict[str, Any]] = _no_parameters
    next_test: Callable[[Case], str]
    remedies: Callable[[Case], list[str]]
