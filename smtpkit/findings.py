"""Observations and causes become findings, ranked, with what was ruled out and why.

One rule for all causes. A cause holds on a path if none of the observations that it requires is false and
none that excludes it is true. It is `certain` if all excluding ones are false and one of each decisive group
is true; `likely` if one of some group is; `possible` if of none, or if a required one could not be observed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from smtpkit import tables
from smtpkit.causes import CAUSES, Case, Cause
from smtpkit.causes.unexplained import unexplained_attempts, unexplained_connections
from smtpkit.incident import Incident, among
from smtpkit.observations import LONGEST_LINE, observations
from smtpkit.printable import endpoint

SEVERITIES = ("error", "warn", "note", "chat")
CONFIDENCES = ("certain", "likely", "possible")
MOST_PORTS = 30  # in a display filter; beyond, it names the peer alone
_PATH = ["peer", "client", "direction"]
_KEY = ["capture", "stream"]


def diagnose(incident: Incident) -> pd.DataFrame:
    """Say which cause holds at which peer, why, and why not the others.

    Parameters
    ----------
    incident : Incident
        As `smtpkit.load` returns it.

    Returns
    -------
    DataFrame
        Table `findings`, worst first; empty if nothing failed and no path has a defect.
    """
    seen = observations(incident)
    found = [
        _finding(cause, path, rows, incident)
        for path, rows in seen.groupby(_PATH, sort=False)
        for cause in CAUSES
        if _holds(cause, _values(rows))
    ]
    found = _merge(found)
    for finding in found:
        streams = pd.DataFrame(finding["connections"], columns=_KEY)
        finding |= _where(incident.connections[among(incident.connections, streams)], finding["peer"])
    found += _unexplained(incident, found)
    found += _unlogged(incident, found)
    found.sort(key=_rank)
    return tables.from_rows(found, "findings")


def healthy(incident: Incident, findings: pd.DataFrame) -> list[str]:
    """Return the servers that took mail and have no finding above note."""
    taken = incident.attempts.loc[incident.attempts["outcome"] == "delivered", "peer"]
    ends = incident.connections[incident.connections["client"] != incident.connections["server"]]
    ends = ends[ends["server_port"].isin(tables.SMTP_PORTS)]
    whole = (ends["bytes_sent_forward"] > 0) & (
        ends["bytes_acknowledged_forward"] >= ends["bytes_sent_forward"]
    )
    carried = ends.loc[(whole & (ends["handshake"] == "complete")).fillna(False), "server"]
    sick = findings.loc[findings["severity"].isin(("error", "warn")), "peer"]
    return sorted((set(taken.dropna()) | set(carried.dropna())) - set(sick.dropna()))


def document(incident: Incident, findings: pd.DataFrame) -> dict[str, Any]:
    """Return the findings as the JSON document of the command line (schema 1)."""
    skipped = _records(incident.skipped)
    inputs = [
        {
            **{name: row[name] for name in ("path", "kind", "sha256", "rows")},
            "skipped": [
                *([{"reason": row["error"], "count": 1}] if row["error"] else []),
                *({"reason": s["reason"], "count": s["count"]} for s in skipped if s["file"] == row["path"]),
            ],
        }
        for row in _records(incident.inputs)
    ]
    found = _records(findings)
    return {"schema": 1, "inputs": inputs, "findings": found, "healthy": healthy(incident, findings)}


# --- weighing -------------------------------------------------------------------------------------------


def _values(rows: pd.DataFrame) -> dict[str, bool | None]:
    """Return the value of each observation of a path: true if it was seen at any capture point."""
    values: dict[str, bool | None] = {}
    for name, seen in rows.groupby("observation")["value"]:
        values[str(name)] = True if seen.any() else None if seen.isna().all() else False
    return values


def _holds(cause: Cause, values: dict[str, bool | None]) -> bool:
    required = [values.get(name, False) for name in cause.requires]
    return False not in required and True not in [values.get(name) for name in cause.excludes]


def _confidence(cause: Cause, values: dict[str, bool | None]) -> str:
    groups = [any(values.get(name) for name in group) for group in cause.decisive]
    if not any(groups) or None in [values[name] for name in cause.requires]:
        return "possible"
    sure = all(values.get(name) is False for name in cause.excludes)
    return "certain" if sure and all(groups) else "likely"


def _finding(cause: Cause, path: tuple[Any, ...], rows: pd.DataFrame, incident: Incident) -> dict[str, Any]:
    values = _values(rows)
    about_path = rows[rows["stream"].isna()].drop_duplicates(["observation", "value"])
    connections = incident.connections[among(incident.connections, rows.dropna(subset=_KEY))]
    messages = rows["message_id"].dropna().drop_duplicates().tolist()
    case = _case(path, incident)
    for_it = (*cause.requires, *cause.supports)
    against_it = [(name, False) for name in for_it if name not in _NEUTRAL]
    against_it += [(name, True) for name in cause.excludes]
    return {
        **{"peer": path[0], "clients": [path[1]], "direction": path[2], "cause": cause.code},
        "severity": _severity(messages, connections, values, incident),
        "confidence": _confidence(cause, values),
        "sentence": cause.sentence(case),
        "parameters": cause.parameters(case),
        "messages": messages,
        **_where(connections, path[0]),
        "evidence": list(_statements(about_path, [(name, True) for name in for_it])),
        "against": list(_statements(about_path, against_it)),
        "not_observable": about_path.loc[about_path["value"].isna(), "sentence"].tolist(),
        "ruled_out": list(_ruled_out(cause, about_path, values)),
        "next_test": cause.next_test(case),
        "remedies": cause.remedies(case),
    }


def _case(path: tuple[Any, ...], incident: Incident) -> Case:
    peer, client, direction = path
    every = incident.path_mtu
    same = (every["server"] == peer) & (every["client"] == client) & (every["direction"] == direction)
    mtu = every[same].dropna(subset="lost")
    captured = mtu[~mtu["inferred"].fillna(False).astype(bool)]
    high = (captured if len(captured) else mtu)["lost"].min()
    low = every.loc[same & (every["delivered"] < high).fillna(False), "delivered"].max()
    figures = {"pmtu_low": _plain(low), "pmtu_high": _plain(high)}
    return Case(peer, client, direction, figures)


def _severity(
    messages: list[str], connections: pd.DataFrame, values: dict[str, bool | None], incident: Incident
) -> str:
    """Mail stopped: error; mail that came later all the same: warn; no attempt failed: note."""
    failed = incident.attempts[incident.attempts["outcome"] != "delivered"]
    if among(failed[failed["message_id"].isna()].dropna(subset=_KEY), connections).any():
        return "error"  # a receiver names no message that it did not get in full, nor knows of another try
    if messages:
        return "warn" if set(messages) <= _delivered(incident) else "error"
    unlogged = ~among(connections, incident.attempts.dropna(subset=_KEY))
    return "error" if unlogged.any() and values.get("acknowledged") is False else "note"


def _delivered(incident: Incident) -> set[str]:
    """Return the messages that reached all of their recipients in the end."""
    messages = incident.messages
    done = (messages["delivered"] > 0) & (messages["failed"] == 0) & (messages["deferred"] == 0)
    return set(messages.loc[done.fillna(False), "message_id"])


def _statements(rows: pd.DataFrame, named: Iterable[tuple[str, bool]]) -> Iterator[dict[str, Any]]:
    """Yield what was seen with these values, in this order."""
    for name, value in named:
        for row in rows[(rows["observation"] == name) & (rows["value"] == value)].itertuples():
            yield {"sentence": row.sentence, "source": _plain(row.source)}


# Supporting where they are seen; their absence says nothing.
_NEUTRAL = {
    *("tail_passed", "smaller_repeat_passed", "too_big_ignored", "too_big_missing", "reply_repeated"),
    *("other_peer_takes_size", "several_messages"),
}


def _ruled_out(cause: Cause, rows: pd.DataFrame, values: dict[str, bool | None]) -> Iterator[dict[str, Any]]:
    for code, (name, value) in cause.rules_out.items():
        if values.get(name) is value:
            sentence = rows.loc[(rows["observation"] == name) & (rows["value"] == value), "sentence"].iloc[0]
            yield {"cause": code, "sentence": sentence}


# --- what the findings share ----------------------------------------------------------------------------


def _where(connections: pd.DataFrame, peer: str | None) -> dict[str, Any]:
    """Return the connections of a finding, and a Wireshark display filter for them."""
    rows = [
        {
            "capture": one["capture"],
            "stream": one["stream"],
            "client": endpoint(one["client"], one["client_port"]),
            "server": endpoint(one["server"], one["server_port"]),
        }
        for one in _records(connections)
    ]
    field = "ipv6.addr" if ":" in (peer or "") else "ip.addr"
    ports = sorted(set(connections["client_port"].dropna().astype(int)))
    listed = f" && tcp.port in {{{', '.join(map(str, ports))}}}" if 0 < len(ports) <= MOST_PORTS else ""
    where = f"{field} == {peer}" if peer else "tcp.port == 25"
    return {"connections": rows, "display_filter": f"{where}{listed}"}


def _merge(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put findings of one fault seen from several clients together."""
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for finding in found:
        key = (finding["peer"], finding["cause"], finding["direction"], str(finding["parameters"]))
        first = merged.setdefault(key, finding)
        if first is not finding:
            for name in ("clients", "messages", "connections"):
                first[name] = first[name] + [item for item in finding[name] if item not in first[name]]
            first["severity"] = min(first["severity"], finding["severity"], key=SEVERITIES.index)
    return list(merged.values())


def _unexplained(incident: Incident, found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a finding for the attempts at each peer that failed for no cause known here."""
    attempts = incident.attempts
    failed = attempts[attempts["outcome"] != "delivered"]
    for finding in found:
        joined = among(failed, pd.DataFrame(finding["connections"], columns=_KEY))
        uncaptured = (failed["peer"] == finding["peer"]) & failed["stream"].isna()
        alike = (uncaptured & failed["message_id"].isin(finding["messages"])).fillna(False)
        failed = failed[~joined & ~alike]
    for (peer, client), rows in failed.groupby(["peer", "client"], dropna=False, sort=False):
        connections = incident.connections[among(incident.connections, rows.dropna(subset=_KEY))]
        yield {
            **unexplained_attempts(_plain(peer), _plain(client), rows, incident.captures),
            "severity": "warn" if set(rows["message_id"].dropna()) <= _delivered(incident) else "error",
            **_where(connections, _plain(peer)),
        }


def _unlogged(incident: Incident, found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a finding for the failed connections to each server that no log tells of."""
    ends = incident.connections
    ends = ends[
        ends["server_port"].isin(tables.SMTP_PORTS) & ~ends["server"].isin(incident.attempts["peer"].dropna())
    ]
    explained = pd.DataFrame([one for finding in found for one in finding["connections"]], columns=_KEY)
    stalls, transactions = incident.stalls, incident.transactions
    stuck = stalls[(stalls["ended_by"] != "acknowledgment") & (stalls["outstanding"] > LONGEST_LINE)]
    reasons = ends["handshake"].map(_FAILED_HANDSHAKES).astype("string")
    unanswered = transactions[transactions["start"].notna() & transactions["end"].isna()]
    open_ = among(ends, unanswered) & (ends["ended_how"] != "silence")
    reasons[open_] = "the connection ended and the message data was not answered"
    reasons[among(ends, stuck)] = "data was sent and not acknowledged to the end"
    failed = ends[reasons.notna() & ~among(ends, explained)]
    for (peer, client), rows in failed.groupby(["server", "client"], sort=False):
        found_here = unexplained_connections(str(peer), str(client), rows, reasons[rows.index])
        yield {**found_here, "severity": "error", **_where(rows, str(peer))}


_FAILED_HANDSHAKES = {"refused": "the SYN was refused", "unanswered": "no answer to the SYN"}


def _rank(finding: dict[str, Any]) -> tuple[int, int, int]:
    return (
        SEVERITIES.index(finding["severity"]),
        CONFIDENCES.index(finding["confidence"]),
        -len(finding["messages"]),
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON has them."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    """Turn a cell into what JSON has: no NA, no numpy scalar."""
    if isinstance(value, list | dict):
        return value
    if value is None or pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
