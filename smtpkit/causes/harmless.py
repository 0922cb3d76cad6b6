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


def repaired(case: Case, connections: pd.DataFrame, lost: int, sent: int) -> dict[str, Any]:
    """Return the finding for a path that loses packets, which were sent again in time.

    Parameters
    ----------
    case : Case
        The path.
    connections : DataFrame
        Table `connections`, those that repeated something.
    lost, sent
        Packets with data of the path whose fate is known.
    """
    first = connections.iloc[0]
    seen = f"Of {sent} packets with data {lost} were lost; {len(connections)} connections sent some again."
    said = [{"sentence": seen, "source": f"{first['file']} frame {first['frame']}"}]
    sentence = (
        f"Some packets between {case.client} and {case.peer} are lost and sent again, as TCP is meant to do; "
        "all of this mail got through."
    )
    return _finding(packet_loss.CAUSE, case, sentence, said, {"loss_rate": round(lost / sent, 3)})


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
