"""Deliveries to one peer that failed in one manner, and the messages to hold against those that passed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from smtpkit import correlation
from smtpkit.incident import Incident
from smtpkit.observations.failures import failures
from smtpkit.observations.statement import IN_DATA
from smtpkit.tables import ENDS, KEY, among

_GROUP = ["peer", "client", "manner", "direction"]
_IDENTITY = ["message_id", *KEY]
FEATURES = ("data_size", "longest_line", "nul_count", "first_nul", "nul_last")


class Features(NamedTuple):
    """What is known of messages: by id and by connection, of each source the columns that it has."""

    sources: tuple[tuple[pd.DataFrame, pd.DataFrame], ...]
    sizes: pd.Series  # the log's S=, by id


@dataclass(frozen=True)
class Group:
    """Failures of one manner at one peer, from one client."""

    incident: Incident
    every: pd.DataFrame  # table `failures`
    failures: pd.DataFrame  # rows of it
    features: Features  # of all messages of the incident

    @cached_property
    def manner(self) -> str:
        """How they failed."""
        return str(self.failures["manner"].iloc[0])

    @property
    def peer(self) -> str:
        """Address of the server."""
        return str(self.failures["peer"].iloc[0])

    @property
    def client(self) -> Any:
        """Address of the client; <NA>: this host."""
        return self.failures["client"].iloc[0]

    @cached_property
    def connections(self) -> pd.DataFrame:
        """The failed connections, at every capture point that holds them."""
        every = self.incident.connections
        mine = every[among(every, self.failures.dropna(subset=KEY))]
        return every[among(every, every.merge(mine[ENDS].drop_duplicates(), on=ENDS)[KEY])]

    def of(self, table: str) -> pd.DataFrame:
        """Return the rows of a per-connection table that belong to the failed connections."""
        frame = getattr(self.incident, table)
        return frame[among(frame, self.connections)]

    @cached_property
    def transactions(self) -> pd.DataFrame:
        """The last mail transaction of each failed connection."""
        return self.of("transactions").drop_duplicates(KEY, keep="last")

    @cached_property
    def attempts(self) -> pd.DataFrame:
        """The log's attempts among these failures."""
        attempts = self.incident.attempts
        same = attempts["message_id"].isin(self.failures["message_id"].dropna())
        return attempts[same & (attempts["peer"] == self.peer) & (attempts["outcome"] != "delivered")]

    @cached_property
    def delivered(self) -> pd.DataFrame:
        """Attempts of the same client at the same peer that were delivered."""
        attempts = self.incident.attempts
        here = (attempts["peer"] == self.peer) & (attempts["outcome"] == "delivered")
        return attempts[here & ((attempts["client"] == self.client) | attempts["client"].isna()).fillna(True)]

    @property
    def source(self) -> str:
        """Where the first of them is told of."""
        return str(self.failures["source"].iloc[0])

    @cached_property
    def messages(self) -> pd.DataFrame:
        """One row for each message of which the peer was sent data, failed or passed, with its features.

        Those that failed in another manner are left out: they may have another cause.
        """
        troubled = set(self.every.loc[self.every["peer"] == self.peer, "message_id"].dropna())
        failed = self.failures[self.failures["phase"].isin(IN_DATA) | self.failures["phase"].isna()]
        passed = self.delivered[~self.delivered["message_id"].isin(troubled)]
        ends = self.incident.connections
        here = ends[(ends["server"] == self.peer) & (ends["client"] == self.client).fillna(False)]
        return _tried(self.features, failed, passed, _unlogged(self.incident, here))

    @cached_property
    def limits(self) -> dict[str, Any]:
        """The features that tell failing from passing messages without exception, by name."""
        features = [*_sizes(self.messages), "longest_line", "nul_count", "nul_last", "split"]
        found = correlation.explain(self.messages, features)
        rows: Iterator[Any] = found.itertuples(index=False)
        return {row.feature: row for row in rows if row.separates}


def groups(incident: Incident, failures: pd.DataFrame) -> Iterator[Group]:
    """Yield the groups of an incident."""
    known = _features(incident)
    for _, rows in failures.groupby(_GROUP, sort=False, dropna=False):
        yield Group(incident, failures, rows, known)


def deliveries(incident: Incident, peer: str) -> pd.DataFrame:
    """Return one row for each message that a server was to be sent, with its features.

    Parameters
    ----------
    incident : Incident
    peer
        Address of the server.

    Returns
    -------
    DataFrame
        `message_id`, `capture`, `stream`, `message` (what it is called), `failed` (at least once),
        `logged_size` and the columns of `content` that are FEATURES.
    """
    every, attempts = failures(incident), incident.attempts
    failed = every[every["peer"] == peer]
    passed = attempts[(attempts["peer"] == peer) & (attempts["outcome"] == "delivered")]
    here = incident.connections[incident.connections["server"] == peer]
    return _tried(_features(incident), failed, passed, _unlogged(incident, here))


def _unlogged(incident: Incident, connections: pd.DataFrame) -> pd.DataFrame:
    """Return transactions that were accepted, on those of the connections that no log tells of."""
    held = incident.transactions
    here = connections[~among(connections, incident.attempts.dropna(subset=KEY))]
    taken = (held["reply_code"] // 100 == 2).fillna(False).astype(bool)
    return held[among(held, here) & taken]


def _tried(features: Features, failed: pd.DataFrame, *passed: pd.DataFrame) -> pd.DataFrame:
    """Put messages together, each one once."""
    tried = pd.concat(
        [failed[_IDENTITY].assign(failed=True), *(one[_IDENTITY].assign(failed=False) for one in passed)],
        ignore_index=True,
    )
    tried["message"] = named(tried)
    return _with_features(tried.drop_duplicates("message", ignore_index=True), features)


def named(messages: pd.DataFrame) -> pd.Series:
    """Return what each message is called: its id, else its connection; the keys of `Incident.octets`."""
    place = messages["capture"].astype("string") + "/" + messages["stream"].astype("string")
    return messages["message_id"].fillna(place)


def _sizes(messages: pd.DataFrame) -> list[str]:
    """Name the size to go by: octets of data where they are known of all, else the log's S=."""
    return ["data_size" if messages["data_size"].notna().all() else "logged_size"]


def _nul_last(transactions: pd.DataFrame) -> pd.Series:
    """Say whether the last line ends in a binary zero, where the end of the data was seen."""
    end = transactions["ends_with"].where(transactions["ends_with"].str.endswith("0d0a"))
    return end.str.endswith("000d0a").astype("boolean")


def _features(incident: Incident) -> Features:
    """Return what is known of each message: from its file, from the capture, the size also from the log."""
    from_file = incident.content["capture"].isna()
    said = incident.transactions.assign(nul_last=_nul_last(incident.transactions))
    sources = (
        (incident.content[from_file], FEATURES),
        (incident.content[~from_file], FEATURES),
        (said, (*FEATURES, "end_split")),
    )
    sizes = incident.messages.drop_duplicates("message_id").set_index("message_id")["size"]
    return Features(tuple(_by_id_and_place(table, list(names)) for table, names in sources), sizes)


def _by_id_and_place(table: pd.DataFrame, names: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    named = table.dropna(subset="message_id").drop_duplicates("message_id", keep="last")
    placed = table.dropna(subset=KEY).drop_duplicates(KEY, keep="last")
    return named.set_index("message_id")[names], placed.set_index(KEY)[names]


def _with_features(tried: pd.DataFrame, features: Features) -> pd.DataFrame:
    """Add what is known of each message."""
    ids, keys = tried["message_id"], pd.MultiIndex.from_frame(tried[KEY].astype("Int64"))
    unknown: dict[str, Any] = dict.fromkeys((*FEATURES, "end_split"), pd.NA)
    found = tried.assign(**unknown)
    for named, placed in features.sources:
        for name in named if len(named) or len(placed) else ():
            by_place = pd.Series(placed[name].reindex(keys).to_numpy(), index=found.index)
            found[name] = found[name].fillna(ids.map(named[name])).fillna(by_place)
    numbers = {name: pd.to_numeric(found[name]).astype("Float64") for name in FEATURES}
    split = found["end_split"].astype("boolean").astype("Float64")
    return found.assign(**numbers, split=split, logged_size=ids.map(features.sizes).astype("Float64"))
