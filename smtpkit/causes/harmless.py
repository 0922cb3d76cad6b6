"""What did no harm: slow answers and repaired loss, where all mail got through. Said without alarm."""

from __future__ import annotations

from typing import Any

import pandas as pd

from smtpkit.causes import packet_loss, remote_timeout
from smtpkit.causes.cause import Case, Cause

MOST_SHOWN = 3


def slow(case: Case, waits: pd.DataFrame) -> dict[str, Any]:
    """Return the finding for a server that answered late, and in time.

    Parameters
    ----------
    case : Case
        The path.
    waits : DataFrame
        Rows of `wait` [s], `after` (what was answered), `file` and `frame`.
    """
    longest = float(waits["wait"].max())
    worst = waits.sort_values("wait", ascending=False).head(MOST_SHOWN)
    said = [
        {
            "sentence": f"Answered {row.wait:.1f} s after {row.after}.",
            "source": f"{row.file} frame {row.frame}",
        }
        for row in worst.itertuples()
    ]
    sentence = (
        f"{case.peer} takes its time, up to {longest:.0f} s for an answer; all of this mail got through."
    )
    return _finding(remote_timeout.CAUSE, case, sentence, said, {"seconds": round(longest, 1)})


def repaired(case: Case, connections: pd.DataFrame, lost: pd.DataFrame) -> dict[str, Any]:
    """Return the finding for a path that loses packets, which were sent again in time.

    Where SACK edges lie outside of what was sent, the sender cannot use them and repeats what had arrived:
    then nobody knows the rate (facts D6).

    Parameters
    ----------
    case : Case
        The path.
    connections : DataFrame
        Table `connections`, those that repeated something.
    lost : DataFrame
        Rows of `direction`, `sent` and `lost` (packets with data whose fate is known), `low` and `high` (of
        the share that is lost).
    """
    first = connections.iloc[0]
    source = f"{first['file']} frame {first['frame']}"
    sentence = (
        f"Some packets between {case.client} and {case.peer} are lost and sent again, as TCP is meant to do; "
        "all of this mail got through."
    )
    outside = connections[(connections["sack_outside"] > 0).fillna(False)]
    if len(outside):
        at = f"{outside['file'].iloc[0]} frame {outside['sack_outside_frame'].iloc[0]}"
        said = [{"sentence": packet_loss.SACK_OUTSIDE, "source": at}]
        found = _finding(packet_loss.CAUSE, case, sentence, said, {"loss_rate": None})
        return found | {"confidence": "possible", "not_observable": ["Which repeats were needed."]}
    worst = lost.sort_values("lost").iloc[-1]
    rate = round(float(worst["lost"] / worst["sent"]), 3)
    said = [{"sentence": _loss(case, one), "source": source} for one in lost.itertuples()]
    return _finding(packet_loss.CAUSE, case, sentence, said, {"loss_rate": rate})


def _loss(case: Case, one: Any) -> str:
    ends = (case.client, case.peer) if one.direction == "forward" else (case.peer, case.client)
    return (
        f"Of {one.sent} packets with data from {ends[0]} to {ends[1]} {one.lost} were lost: between "
        f"{one.low:.1%} and {one.high:.1%} (95% interval)."
    )


def _finding(
    cause: Cause, case: Case, sentence: str, said: list[dict[str, str]], parameters: dict[str, Any]
) -> dict[str, Any]:
    return {
        "peer": case.peer,
        "clients": [case.client],
        "cause": cause.code,
        "direction": None,
        "severity": "chat",
        "confidence": "certain",
        "sentence": sentence,
        "parameters": cause.parameters(case) | parameters,
        "messages": [],
        "evidence": said,
        "against": [],
        "not_observable": [],
        "ruled_out": [],
        "next_test": cause.next_test(case),
        "remedies": [],
    }
