"""What a cause is: data that `findings` weighs by one stated rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One path at one peer, as its observations tell it.

    `figures` holds the path's numbers by name (bytes, seconds, counts), None where unknown.
    """

    peer: str
    client: str
    direction: str | None
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cause:
    """A cause of failing mail, by the observations that speak for and against it.

    `requires` must all be true and none of `excludes` may be. `supports` add to the confidence; each
    group of `decisive` ones tells this cause from one kind of look-alike. `rules_out` names for each
    look-alike the observation, and its value, that tell it from this cause.
    """

    code: str
    requires: tuple[str, ...]
    excludes: tuple[str, ...]
    supports: tuple[str, ...]
    decisive: tuple[tuple[str, ...], ...]
    rules_out: dict[str, tuple[str, bool]]
    sentence: Callable[[Case], str]
    parameters: Callable[[Case], dict[str, Any]]
    next_test: Callable[[Case], str]
    remedies: Callable[[Case], list[str]]
