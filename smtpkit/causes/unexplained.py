"""What failed and has no cause that smtpkit knows: said as it is, with what is missing to know more."""

from __future__ import annotations

from typing import Any

import pandas as pd

MOST_SHOWN = 5


def unexplained(
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
    messages = attempts["message_id"].dropna().drop_duplicates().tolist()
    named = f"to {peer}" if peer else "to this host"
    return {
        "peer": peer,
        "clients": [client] if client else [],
        "cause": "unexplained",
        "direction": None,
        "confidence": "possible",
        "sentence": f"{len(attempts)} attempts {named} failed, and no cause that is known here holds.",
        "parameters": {},
        "messages": messages,
        "evidence": [_kind(kind) for kind in kinds.head(MOST_SHOWN).reset_index().itertuples()],
        "against": [],
        "not_observable": _unseen(attempts, captures),
        "ruled_out": [],
        "next_test": _next_test(peer),
        "remedies": ["Take a capture during the next attempt, with the command above, and run this again."],
    }


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


def _next_test(peer: str | None) -> str:
    host = f"host {peer} and (tcp port 25 or tcp port 587) or " if peer else "tcp port 25 or tcp port 587 or "
    return (
        f"tcpdump -i any -s 200 -w smtp.pcap '{host}icmp or icmp6 or (ip[6:2] & 0x1fff != 0) or ip6 proto 44'"
    )
