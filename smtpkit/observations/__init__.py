"""The decision table: what was seen of each path and of each kind of failure, with its sources.

An observation is true, false or <NA>: not observable. Causes are judged by these rows alone, so that an
analyst can print them and check the verdict by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from smtpkit import tables
from smtpkit.incident import Incident
from smtpkit.observations.compared import observe_messages
from smtpkit.observations.endings import observe_ending
from smtpkit.observations.failures import failures, took_mail
from smtpkit.observations.groups import Group, deliveries, groups
from smtpkit.observations.names import MANNERS, NAMES
from smtpkit.observations.network import loss_by_direction, observe_network
from smtpkit.observations.paths import LONGEST_LINE, observe_paths
from smtpkit.observations.statement import IN_DATA, seen

__all__ = [
    "IN_DATA",
    "LONGEST_LINE",
    "MANNERS",
    "NAMES",
    "deliveries",
    "failures",
    "loss_by_direction",
    "observations",
    "took_mail",
]


def observations(incident: Incident, failed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the table of observations of an incident.

    Parameters
    ----------
    incident : Incident
    failed : DataFrame, optional
        Its table `failures`, where it is at hand.

    Returns
    -------
    DataFrame
        Table `observations`: rows about a path or a kind of failure have neither stream nor message, rows
        about a connection have no message.
    """
    failed = failures(incident) if failed is None else failed
    rows = list(observe_paths(incident, set(failed["peer"])))
    for group in groups(incident, failed):
        rows += _observe(group)
    return tables.from_rows(rows, "observations")


def _observe(group: Group) -> Iterator[dict[str, Any]]:
    """Yield what was seen of a group, and which deliveries are of it."""
    first = group.failures.iloc[0]
    place = {name: first[name] for name in ("peer", "client", "manner", "direction")}
    for row in (*observe_ending(group), *observe_messages(group), *observe_network(group)):
        yield place | {"source": "all files"} | row
    one: Any
    for one in group.failures.itertuples(index=False):
        at = "" if pd.isna(one.time) else f" at {one.time:%F %T} UTC"
        sentence = f"Failed{at}, phase {'unknown' if pd.isna(one.phase) else one.phase}."
        where = {"capture": one.capture, "stream": one.stream, "message_id": one.message_id}
        yield place | where | seen("failed_so", True, sentence, str(one.source))
