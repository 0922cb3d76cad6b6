"""What failed and has no cause that smtpkit knows: said as it is, with what is missing to know more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from smtpkit.causes.cause import Cause
from smtpkit.observations import MANNERS, NAMES

MOST_SHOWN = 5
HEADERS = 200  # bytes of a packet that hold all of its headers
_NO_CAUSE = "and no cause that is known here holds."
_IN_CONTENT = ("nul_explains", "line_explains", "pattern_explains", "split_explains")


def unexplained_attempts(
    peer: str | None, client: str | None, attempts: pd.DataFrame, captures: pd.DataFrame
) -> dict[str, Any]:
    """Return the finding for failed attempts at one peer that no cause explains.

    Parameters
    ----------
    peer, client
        Addresses, None where the log does not give them.
    attempts : DataFrame
        Table `attempts`, the failed ones.
    captures : DataFrame
        Table `captures`, to say what could not be seen.
    """
    kinds = attempts.groupby(["phase", "error"], dropna=False, sort=False).agg(
        count=("error", "size"), file=("file", "first"), line=("line", "first")
    )
    failed = "1 attempt" if len(attempts) == 1 else f"{len(attempts)} attempts"
    return {
        **_finding(peer, client),
        "sentence": f"{failed} {_place(peer)} failed, {_NO_CAUSE}",
        "messages": attempts["message_id"].dropna().drop_duplicates().tolist(),
        "evidence": [_kind(kind) for kind in kinds.head(MOST_SHOWN).reset_index().itertuples()],
        "not_observable": _unseen(attempts, captures),
    }


def unexplained_connections(
    peer: str, client: str, connections: pd.DataFrame, reasons: pd.Series
) -> dict[str, Any]:
    """Return the finding for connections of a capture that failed, where no log tells of the server.

    Parameters
    ----------
    peer, client
        Addresses.
    connections : DataFrame
        Table `connections`, the failed ones.
    reasons : Series
        What each of them shows, in a few words.
    """
    kinds = connections.assign(reason=reasons.to_numpy()[: len(connections)]).groupby("reason", sort=False)
    count = "1 connection" if len(connections) == 1 else f"{len(connections)} connections"
    return {
        **_finding(peer, client),
        "sentence": f"{count} {_place(peer)} failed, {_NO_CAUSE}",
        "messages": [],
        "evidence": [
            {
                "sentence": f"{len(rows)} of them: {reason}.",
                "source": f"{rows['file'].iloc[0]} frame {rows['frame'].iloc[0]}",
            }
            for reason, rows in kinds
        ],
        "not_observable": ["Which messages were on these connections: there is no log of them."],
    }


def not_examined(failures: pd.DataFrame) -> dict[str, Any]:
    """Return the finding for failures on so many paths that nobody looked at each.

    Parameters
    ----------
    failures : DataFrame
        Table `failures`, those that were not looked at.
    """
    kinds = failures.groupby("manner", sort=False)["source"].agg(["size", "first"])
    paths = failures.groupby(["peer", "client"], dropna=False).ngroups
    return {
        **_finding(None, None),
        "severity": "note",
        "sentence": f"{len(failures)} more deliveries failed, on {paths} other paths: those that were "
        "examined were captured, or had more failures.",
        "parameters": {"paths": paths, "failures": len(failures)},
        "messages": [],
        "connections": [],
        "display_filter": "tcp.port == 25",
        "evidence": [
            {"sentence": f"{count} of them: {MANNERS.get(manner, 'unknown')}.", "source": source}
            for manner, count, source in kinds.sort_values("size", ascending=False).itertuples()
        ],
        "not_observable": ["What their causes are: there are too many to look at each."],
        "next_test": "smtpkit diagnose --peer ADDRESS CAPTURE LOG",
        "remedies": ["Name one of these servers with --peer, or a shorter time with --since and --until."],
    }


def could_be(
    finding: dict[str, Any],
    candidates: Mapping[Cause, Mapping[str, bool | None]],
    said: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the cells of a finding that change where several causes hold: each, and what would tell.

    Parameters
    ----------
    finding : dict
        As made here.
    candidates : dict
        The causes that hold, each with the observations of the failures by name.
    said
        What was seen of that which they require: sentences with sources.
    """
    if not candidates:
        return {}
    codes = " or ".join(cause.code for cause in candidates).replace(" or ", ", ", len(candidates) - 2)
    told = [rival(cause, values) for cause, values in candidates.items()]
    content = any(set(cause.requires) & set(_IN_CONTENT) for cause in candidates)
    return {
        "sentence": finding["sentence"].replace(_NO_CAUSE, f"and it could be {codes}."),
        "evidence": [*finding["evidence"], *said],
        "not_observable": [*finding["not_observable"], *told],
        "next_test": _next_test(finding["peer"], 0 if content else HEADERS),
    }


def rival(cause: Cause, values: Mapping[str, bool | None]) -> str:
    """Say what would tell whether it is a cause that holds: the first that it requires and that is unseen."""
    wanted = [*cause.requires, *(name for group in cause.decisive for name in group)]
    unseen = next((name for name in wanted if values.get(name) is None), wanted[0])
    return f"Whether it is {cause.code}: it would show that {NAMES[unseen]}."


def _finding(peer: str | None, client: str | None) -> dict[str, Any]:
    return {
        "peer": peer,
        "clients": [client] if client else [],
        "cause": "unexplained",
        "direction": None,
        "confidence": "possible",
        "parameters": {},
        "against": [],
        "ruled_out": [],
        "next_test": _next_test(peer),
        "remedies": ["Take a capture during the next attempt, with the command above, and run this again."],
    }


def _place(peer: str | None) -> str:
    return f"to {peer}" if peer else "to this host"


def _kind(kind: Any) -> dict[str, str]:
    phase, error = (("unknown" if pd.isna(word) else word) for word in (kind.phase, kind.error))
    times = "once" if kind.count == 1 else f"{kind.count} times"
    return {"sentence": f"Failed {times}: {error}, phase {phase}.", "source": f"{kind.file} line {kind.line}"}


def _unseen(attempts: pd.DataFrame, captures: pd.DataFrame) -> list[str]:
    if captures.empty:
        return ["What happened on the wire: there is no capture."]
    missing = int(attempts["stream"].isna().sum())
    return (
        [f"What happened on the wire in {missing} of these attempts: no connection fits."] if missing else []
    )


def _next_test(peer: str | None, snap: int = HEADERS) -> str:
    mail = "(tcp port 25 or tcp port 587)"
    host = f"host {peer} and {mail}" if peer else mail
    around = "icmp or icmp6 or (ip[6:2] & 0x1fff != 0) or ip6 proto 44"
    return f"tcpdump -i any -n -s {snap} -w incident.pcap '{host} or {around}'"
