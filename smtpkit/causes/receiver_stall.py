"""The server stops reading: its window closes and stays closed (facts C5; RFC 9293 3.8.6.1)."""

from __future__ import annotations

from typing import Any

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    return (
        f"{case.peer} stops reading: its TCP window goes to zero and stays there, "
        "while it acknowledges all that was sent. Its mail program hangs, not the network."
    )


def _parameters(case: Case) -> dict[str, Any]:
    return {"seconds": case.figures.get("seconds")}


def _next_test(case: Case) -> str:
    return f"ss -tino dst {case.peer}   # here; on {case.peer}: ss -tmi, exiwhat, df, dmesg"


def _remedies(case: Case) -> list[str]:
    return [
        f"On {case.peer}: find what the mail server waits for (full disk, scanner, dead process) "
        f"and cure it.",
        "Nothing helps on this side: longer timeouts only hold the connection longer.",
    ]


CAUSE = Cause(
    code="receiver_stall",
    requires=("window_closed",),
    excludes=("unacknowledged", "lossy"),
    decisive=(("window_closed",), ("probes_answered",)),
    supports=("probes_answered", "several_messages"),
    look_alikes=("pmtu_black_hole", "remote_timeout", "window_scaling"),
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
