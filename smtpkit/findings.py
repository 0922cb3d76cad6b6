"""Observations and causes become findings, ranked, with what was ruled out and why.

One rule for all causes. Failures of one manner at one peer are a group; so is a path that has a defect. A
cause holds in a group if none of the observations that it requires is false and none that excludes it is
true. It is `certain` if all excluding ones are false and one of each decisive group is true; `likely` if one
of some group is; `possible` if of none, or if a required one could not be observed. Of several causes that
hold the surest wins, then one of which all that it requires was seen, then the one with more decisive groups;
if that decides nothing, or nothing was seen of what the winner requires, none is named: what failed is
unexplained, and could be any of those that hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pandas as pd

from smtpkit import tables
from smtpkit.addresses import is_address, is_ipv6
from smtpkit.causes import CAUSES, Case, Cause
from smtpkit.causes.harmless import repaired, slow
from smtpkit.causes.unexplained import (
    could_be,
    not_examined,
    rival,
    unexplained_attempts,
    unexplained_connections,
)
from smtpkit.incident import Incident
from smtpkit.observations import IN_DATA, MANNERS, failures, loss_by_direction, observations, took_mail
from smtpkit.printable import endpoint
from smtpkit.tables import ENDS, KEY, among

SEVERITIES = ("error", "warn", "note", "chat")
CONFIDENCES = ("certain", "likely", "possible")
SLOW = 5.0  # s: as long as a resolver waits for a name server before it asks again (resolv.conf(5))
TIMES = 3  # packets lost that are worth a word
MOST_PORTS = 30  # in a display filter; beyond, it names the peer alone
MOST_HARMLESS = 5  # paths of which something harmless is said: a busy host has more than anybody reads
MOST_PATHS = 100  # examined, of those on which something failed: each takes a tenth of a second
_PATH = ["server", "client"]
_GROUP = ["peer", "client", "manner", "direction"]


def diagnose(incident: Incident) -> pd.DataFrame:
    """Say which cause holds at which peer, why, and why not the others.

    Parameters
    ----------
    incident : Incident
        As `smtpkit.load` returns it.

    Returns
    -------
    DataFrame
        Table `findings`, worst first; empty if nothing failed and no path has a defect. Of more than
        `MOST_PATHS` on which something failed, those with most failures; how many others, a note says.
    """
    failed, others = _examined(failures(incident))
    seen = observations(incident, failed)
    groups = list(seen.groupby(_GROUP, sort=False, dropna=False))
    chosen = _alike(groups, [_best(rows) if _plain(group[0]) else None for group, rows in groups])
    delivered = _delivered(incident)
    found = [
        _finding(best[0], best[1], group, rows, incident, delivered)
        for (group, rows), best in zip(groups, chosen, strict=True)
        if best
    ]
    found = _merge(found)
    for finding in found:
        streams = pd.DataFrame(finding["connections"], columns=KEY)
        peer = _named(finding["peer"], incident)
        finding |= _where(incident.connections[among(incident.connections, streams)], peer)
    found += _unexplained(incident, failed, found, groups, delivered)
    found += _harmless(incident, {finding["peer"] for finding in found} | set(others["peer"].dropna()))
    found += [not_examined(others)] if len(others) else []
    found.sort(key=_rank)
    return tables.from_rows(found, "findings")


def healthy(incident: Incident, findings: pd.DataFrame) -> list[str]:
    """Return the servers that took mail and have no finding above note."""
    taken = incident.attempts.loc[incident.attempts["outcome"] == "delivered", "peer"]
    carried = incident.connections.loc[took_mail(incident), "server"]
    sick = set(findings.loc[findings["severity"].isin(("error", "warn")), "peer"].dropna())
    if (findings["peer"].isna() & (findings["severity"] == "note")).any():  # not all were examined
        sick |= set(_examined(failures(incident))[1]["peer"].dropna())
    return sorted((set(taken.dropna()) | set(carried.dropna())) - sick)


def document(incident: Incident, findings: pd.DataFrame) -> dict[str, Any]:
    """Return the findings as the JSON document of the command line (schema 1)."""
    found = _records(findings)
    return {
        "schema": 1,
        "inputs": inputs(incident),
        "findings": found,
        "healthy": healthy(incident, findings),
    }


def inputs(incident: Incident) -> list[dict[str, Any]]:
    """Return what the inputs were and what was skipped of each, as the JSON document has it."""
    skipped = _records(incident.skipped)
    return [
        {
            **{name: row[name] for name in ("path", "kind", "sha256", "rows")},
            "skipped": [
                *([{"reason": row["error"], "count": 1}] if row["error"] else []),
                *({"reason": s["reason"], "count": s["count"]} for s in skipped if s["file"] == row["path"]),
            ],
        }
        for row in _records(incident.inputs)
    ]


# --- what is looked at ----------------------------------------------------------------------------------


def _examined(failed: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part failures into those on paths that are examined, captured ones before frequent ones, and others."""
    by = failed.groupby(["peer", "client"], dropna=False, sort=False)["observed"]
    rank = pd.DataFrame({"observed": by.transform("sum"), "count": by.transform("size"), "path": by.ngroup()})
    order = rank.sort_values(["observed", "count"], ascending=False, kind="stable")["path"].drop_duplicates()
    chosen = rank["path"].isin(order.iloc[:MOST_PATHS])
    return failed[chosen], failed[~chosen]


# --- weighing -------------------------------------------------------------------------------------------


def _also(cause: Cause, own: tuple[Cause, list[Cause]] | None, values: dict[str, bool | None]) -> bool:
    """Say whether a cause holds in a group too; to replace a likely one all that it requires must be seen."""
    weak = own is None or _confidence(own[0], values) == CONFIDENCES[-1]
    return _holds(cause, values) and (weak or None not in [values[name] for name in cause.requires])


def _values(rows: pd.DataFrame) -> dict[str, bool | None]:
    """Return the value of each observation of a path: true if it was seen at any capture point."""
    values: dict[str, bool | None] = {}
    for name, seen in rows.groupby("observation")["value"]:
        values[str(name)] = True if seen.any() else None if seen.isna().all() else False
    return values


def _best(rows: pd.DataFrame) -> tuple[Cause, list[Cause]] | None:
    """Return the cause that wins in a group, and the others that hold as well; None where none stands out."""
    values = _values(rows)
    holding = sorted(
        (cause for cause in CAUSES if _holds(cause, values)), key=lambda cause: _merit(cause, values)
    )
    if not holding or (len(holding) > 1 and _merit(holding[0], values) == _merit(holding[1], values)):
        return None
    return (holding[0], holding[1:]) if _grounded(holding[0], values) else None


def _alike(groups: list[Any], chosen: list[Any]) -> list[Any]:
    """Let the cause of a peer's larger group hold for a smaller one too, where nothing speaks against it."""
    weight = [int((rows["observation"] == "failed_so").sum()) for _, rows in groups]
    found = list(chosen)
    path = [(group[0], _plain(group[1])) for group, _ in groups]
    for at, (_, rows) in enumerate(groups):
        others = [n for n, other in enumerate(path) if other == path[at] and weight[n] > weight[at] > 0]
        for n in sorted(others, key=lambda n: -weight[n]):
            # A path's defect has its own way to claim what failed outside the capture.
            own = chosen[n] and chosen[n][0].code in _PATH_CAUSES
            if chosen[n] and not own and _also(chosen[n][0], chosen[at], _values(rows)):
                found[at] = (chosen[n][0], [])
                break
    return found


def _merit(cause: Cause, values: dict[str, bool | None]) -> tuple[int, bool, int]:
    """Order causes: the surer, then those whose requirements were all seen, then the better decided."""
    decided = sum(any(values.get(name) for name in group) for group in cause.decisive)
    guessed = None in [values[name] for name in cause.requires]
    return CONFIDENCES.index(_confidence(cause, values)), guessed, 0 if guessed else -decided


def _holds(cause: Cause, values: dict[str, bool | None]) -> bool:
    required = [values.get(name, False) for name in cause.requires]
    return False not in required and True not in [values.get(name) for name in cause.excludes]


def _grounded(cause: Cause, values: dict[str, bool | None]) -> bool:
    """Say whether anything that the cause requires was seen."""
    return any(values.get(name) for name in cause.requires)


def _confidence(cause: Cause, values: dict[str, bool | None]) -> str:
    groups = [any(values.get(name) for name in group) for group in cause.decisive]
    if not any(groups) or None in [values[name] for name in cause.requires]:
        return "possible"
    sure = all(values.get(name, False) is False for name in cause.excludes)
    return "certain" if sure and all(groups) else "likely"


def _finding(
    cause: Cause,
    rivals: list[Cause],
    group: tuple[Any, ...],
    rows: pd.DataFrame,
    incident: Incident,
    delivered: set[str],
) -> dict[str, Any]:
    values, peer, client = _values(rows), str(group[0]), _plain(group[1])
    rows = rows[~rows["observation"].isin(_OTHER_MEMBERS[cause.code in _PATH_CAUSES])]
    about = rows[rows["stream"].isna() & rows["message_id"].isna()]
    connections = incident.connections[among(incident.connections, rows.dropna(subset=KEY))]
    messages = rows["message_id"].dropna().drop_duplicates().tolist()
    if cause.code == "smtp_rejection":
        overcome = _overcome(peer, incident)
        messages = [name for name in messages if name not in overcome]
    case = _case(group, about, incident)
    about = about.drop_duplicates(["observation", "value"])
    for_it = (*cause.requires, *cause.supports)
    against_it = [(name, False) for name in for_it if name in _EXPECTED]
    weighed = {*for_it, *cause.excludes, *(name for each in cause.decisive for name in each)}
    unseen = about["value"].isna() & about["observation"].isin(weighed)
    return {
        **{
            "peer": peer,
            "clients": [client] if client else [],
            "direction": _direction(cause, group, values, case.figures),
        },
        "cause": cause.code,
        "severity": _severity(
            cause, messages, connections, values, incident, delivered, case.figures.get("reply_code")
        ),
        "confidence": _confidence(cause, values),
        "sentence": cause.sentence(case),
        "parameters": cause.parameters(case),
        "messages": messages,
        **_where(connections, _named(peer, incident)),
        "evidence": list(_statements(about, [(name, True) for name in dict.fromkeys(for_it)])),
        "against": list(_statements(about, dict.fromkeys(against_it))),
        "not_observable": [*about.loc[unseen, "sentence"], *(rival(each, values) for each in rivals)],
        "ruled_out": list(_ruled_out(cause, about, values)),
        "next_test": cause.next_test(case),
        "remedies": cause.remedies(case),
    }


def _direction(
    cause: Cause, group: tuple[Any, ...], values: dict[str, bool | None], figures: dict[str, Any]
) -> str | None:
    """Return the direction in which packets vanish, where they do so in one only."""
    if cause.code in _PATH_CAUSES:
        return _plain(group[3])
    if "direction" in figures and cause.directed:
        return str(figures["direction"])
    both = values.get("forgotten") or not cause.directed
    return None if both else _plain(group[3])


# Of these the absence speaks against a cause that they support; the absence of others says nothing.
_EXPECTED = ("same_size_repeats", "size_decides", "probes_answered", "end_acknowledged")
# A path's defect claims what stands still at it; other causes all failures of their group.
_PATH_CAUSES = ("pmtu_black_hole", "fragment_loss")
_OTHER_MEMBERS = {True: ["failed_so"], False: ["stalled_oversize", "failed_oversize", "failed_alike"]}


def _case(group: tuple[Any, ...], about: pd.DataFrame, incident: Incident) -> Case:
    peer, client, manner, direction = group
    figures: dict[str, Any] = {"manner": manner, **_path_figures(group, incident)}
    for found in about["figures"].dropna():
        figures |= found
    client = _plain(client) or "this host"
    return Case(_named(peer, incident), _named(client, incident), _plain(direction), figures)


def _named(end: str, incident: Incident) -> str:
    """Return an address; where a log has anything else in its place, a word: commands are pasted."""
    return end if incident.redacted or end == "this host" or is_address(end) else "ADDRESS"


def _path_figures(group: tuple[Any, ...], incident: Incident) -> dict[str, Any]:
    """Return the bracket of the path MTU."""
    peer, client, _, direction = group
    every = incident.path_mtu
    same = (every["server"] == peer) & (every["client"] == client) & (every["direction"] == direction)
    mtu = every[same.fillna(False)].dropna(subset="lost")
    captured = mtu[~mtu["inferred"].fillna(False).astype(bool)]
    high = (captured if len(captured) else mtu)["lost"].min()
    low = every.loc[same & (every["delivered"] < high).fillna(False), "delivered"].max()
    return {"pmtu_low": _plain(low), "pmtu_high": _plain(high)}


def _severity(
    cause: Cause,
    messages: list[str],
    connections: pd.DataFrame,
    values: dict[str, bool | None],
    incident: Incident,
    delivered: set[str],
    reply: int | None,
) -> str:
    """Mail stopped: error; mail that came later all the same: warn; no attempt failed: note.

    A proper reply is one step less: it is the other side's right. After a 4xx the client tries again; without
    a log nothing tells that it did so in vain.
    """
    if cause.code == "smtp_rejection":
        later = set(messages) <= delivered if messages else (reply or 500) < 500
        return "note" if later else "warn"
    failed = incident.attempts[incident.attempts["outcome"] != "delivered"]
    if among(failed[failed["message_id"].isna()].dropna(subset=KEY), connections).any():
        return "error"  # a receiver names no message that it did not get in full, nor knows of another try
    if not messages and cause.code not in _PATH_CAUSES:
        return "error"  # it failed, and no log tells of another try
    if messages:
        return "warn" if set(messages) <= delivered else "error"
    unlogged = ~among(connections, incident.attempts.dropna(subset=KEY))
    return "error" if unlogged.any() and values.get("acknowledged") is False else "note"


def _overcome(peer: str, incident: Incident) -> set[str]:
    """Return the messages that a server put off and later took data of: what they met then is the fault."""
    attempts = incident.attempts
    tried = attempts[(attempts["peer"] == peer) & (attempts["outcome"] != "delivered")].sort_values("end")
    in_data, put_off = tried["phase"].isin(IN_DATA), tried["error"] == "4xx"
    last = tried[in_data & ~put_off].merge(tried[put_off & ~in_data], on="message_id", suffixes=("", "_4xx"))
    return set(last.loc[last["end"] > last["end_4xx"], "message_id"].dropna())


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


def _ruled_out(cause: Cause, rows: pd.DataFrame, values: dict[str, bool | None]) -> Iterator[dict[str, Any]]:
    """Yield the look-alikes with the first observation that speaks against each."""
    for other in (each for each in CAUSES if each.code in cause.look_alikes):
        against = [(name, False) for name in other.requires] + [(name, True) for name in other.excludes]
        reason = next(_statements(rows, [(n, v) for n, v in against if values.get(n) is v]), None)
        if reason:
            yield {"cause": other.code, "sentence": reason["sentence"]}


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
        for one in _records(connections[[*KEY, *ENDS]])
    ]
    field = "ipv6.addr" if is_ipv6(peer or "") else "ip.addr"
    ports = sorted(set(connections["client_port"].dropna().astype(int)))
    listed = f" && tcp.port in {{{', '.join(map(str, ports))}}}" if 0 < len(ports) <= MOST_PORTS else ""
    where = f"{field} == {peer}" if peer else "tcp.port == 25"
    return {"connections": rows, "display_filter": f"{where}{listed}"}


def _merge(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put findings of one fault together: seen from several clients, or in part from the log alone."""
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    known = {(f["peer"], f["cause"]): f["direction"] for f in found if f["direction"]}
    for finding in sorted(found, key=_rank):
        finding["direction"] = finding["direction"] or known.get((finding["peer"], finding["cause"]))
        same = [finding[name] for name in ("peer", "cause", "direction")]
        own = next(
            (
                f["parameters"]
                for f in merged.values()
                if [f[n] for n in ("peer", "cause", "direction")] == same
                and f["clients"] == finding["clients"]
            ),
            finding["parameters"],
        )
        key = (*same, str(own))
        first = merged.setdefault(key, finding)
        if first is not finding:
            for name in ("clients", "messages", "connections"):
                first[name] = first[name] + [item for item in finding[name] if item not in first[name]]
            first["severity"] = min(first["severity"], finding["severity"], key=SEVERITIES.index)
    return list(merged.values())


def _unexplained(
    incident: Incident,
    failed: pd.DataFrame,
    found: Iterable[dict[str, Any]],
    groups: list[Any],
    delivered: set[str],
) -> Iterator[dict[str, Any]]:
    """Yield a finding for what failed at each peer for no one cause: attempts, else connections."""
    left = failed
    for finding in found:
        joined = among(left, pd.DataFrame(finding["connections"], columns=KEY))
        uncaptured = (left["peer"] == finding["peer"]) & left["stream"].isna()
        alike = (uncaptured & left["message_id"].isin(finding["messages"])).fillna(False)
        left = left[~joined & ~alike]
    attempts = incident.attempts[incident.attempts["outcome"] != "delivered"]
    told = attempts["file"].astype("string") + " line " + attempts["line"].astype("string")
    for (peer, client), rows in left.groupby(["peer", "client"], dropna=False, sort=False):
        same = told.isin(rows["source"]) & attempts["message_id"].isin(rows["message_id"])
        tried = attempts[same]
        connections = incident.connections[among(incident.connections, rows.dropna(subset=KEY))]
        named = _named(_plain(peer), incident) if _plain(peer) else None
        if len(tried):
            finding = unexplained_attempts(named, _plain(client), tried, incident.captures)
        else:
            finding = unexplained_connections(str(peer), str(client), connections, _reasons(rows))
        finding["not_observable"] += _one_sided(connections)
        finding |= _open(finding, rows, groups)
        ids = set(tried["message_id"].dropna())
        severity = "warn" if ids and ids <= delivered else "error"
        yield {**finding, "peer": _plain(peer), "severity": severity, **_where(connections, named)}


def _one_sided(connections: pd.DataFrame) -> list[str]:
    """Say what cannot be known where the packets of one side are not in the capture."""
    silent = {
        side: int((connections[column].isna() & (connections["handshake"] != "unanswered")).sum())
        for side, column in (("client", "last_forward"), ("server", "last_reverse"))
    }
    return [
        f"What the {side} sent on {count} of {len(connections)} connections: only one direction was captured."
        for side, count in silent.items()
        if count
    ]


def _harmless(incident: Incident, found: set[Any]) -> Iterator[dict[str, Any]]:
    """Yield what was slow or lost, and did no harm, at servers of which nothing else is to be said."""
    delivered = incident.attempts[incident.attempts["outcome"] == "delivered"]
    taken = took_mail(incident) | among(incident.connections, delivered.dropna(subset=KEY))
    mail = incident.connections[taken & ~incident.connections["server"].isin(found)]
    waits = _waits(incident).merge(mail[[*KEY, *_PATH]], on=KEY)
    sizes = incident.sizes.merge(mail[[*KEY, *_PATH]], on=KEY)
    lost = sizes.groupby(_PATH)["lost"].sum().sort_values(ascending=False)
    for path, rows in islice(waits.groupby(_PATH, sort=False), MOST_HARMLESS):
        case, ends = _path_case(incident, path), mail[among(mail, rows)]
        yield slow(case, rows) | {"peer": path[0], **_where(ends, case.peer)}
    for path in lost[lost >= TIMES].index[:MOST_HARMLESS]:
        case, ends = _path_case(incident, path), mail[(mail[_PATH] == list(path)).all(axis="columns")]
        again = ends[(ends["retransmissions_forward"] + ends["retransmissions_reverse"] > 0).fillna(False)]
        loss = loss_by_direction(incident, ends)
        if loss["lost"].sum() >= TIMES and len(again):
            yield repaired(case, again, loss) | {"peer": path[0], **_where(again, case.peer)}


def _path_case(incident: Incident, path: tuple[Any, ...]) -> Case:
    peer, client = path
    return Case(_named(str(peer), incident), _named(str(client), incident), None)


def _waits(incident: Incident) -> pd.DataFrame:
    """Return the late replies, greetings with them."""
    greetings = incident.sessions.rename(columns={"greeting_wait": "wait"}).assign(
        after="the connection was made"
    )
    said = incident.dialogue.sort_values([*KEY, "time"], kind="stable")
    waited = (said["time"] - said.groupby(KEY)["time"].shift()).dt.total_seconds()
    replies = said.assign(wait=waited, after=said["verb"])[said["direction"] == "reverse"]
    rows = pd.concat([one[[*KEY, "file", "frame", "wait", "after"]] for one in (greetings, replies)])
    return rows[(rows["wait"] > SLOW).fillna(False)].fillna({"after": "what was said"})


def _open(finding: dict[str, Any], left: pd.DataFrame, groups: list[Any]) -> dict[str, Any]:
    """Return the cells that say which causes hold for failures of which none stands out."""
    keys = {tuple(map(_plain, key)) for key in left[_GROUP].drop_duplicates().itertuples(index=False)}
    concerned = [rows for group, rows in groups if tuple(map(_plain, group)) in keys]
    values = [_values(rows) for rows in concerned]
    candidates = {cause: seen for cause in CAUSES for seen in values if _holds(cause, seen)}
    hints = dict.fromkeys((name, True) for cause in candidates for name in cause.requires)
    said = [one for rows in concerned for one in _statements(rows[rows["stream"].isna()], hints)]
    return could_be(finding, candidates, said)


def _reasons(rows: pd.DataFrame) -> pd.Series:
    """Say of each connection how it failed."""
    return rows["manner"].map(MANNERS).astype("string")


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
