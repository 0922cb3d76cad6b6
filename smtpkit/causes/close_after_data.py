"""The server hangs up after the final dot, whatever the message (facts C2)."""

from __future__ import annotations

from typing import Any

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    waited = case.figures.get("seconds")
    time = f" some {waited:.0f} s after it" if waited and waited >= 1 else " at once"
    return (
        f"{case.peer} takes whole messages, acknowledges the final dot, and hangs up{time} "
        f"without an answer, "
        "whatever the message."
    )


def _parameters(case: Case) -> dict[str, Any]:
    return {"seconds": case.figures.get("seconds")}


def _next_test(case: Case) -> str:
    return f"swaks --server {case.peer} --from POSTMASTER --to RECIPIENT   # a harmless body, same envelope"


def _remedies(case: Case) -> list[str]:
    return [
        "Give the far postmaster times, ports and byte counts from here: what takes the message "
        "at their side "
        "(scanner, milter, proxy, load balancer) dies or is cut off before it answers.",
        "A constant time to the close is a timer, of a proxy most often.",
        "The message may have been delivered all the same: expect duplicates.",
    ]


CAUSE = Cause(
    code="close_after_data",
    requires=("hung_up", "after_dot", "content_innocent"),
    excludes=(
        *("reset_forged", "size_explains", "nul_explains", "line_explains", "pattern_explains"),
        *("split_explains", "unacknowledged", "lossy"),
    ),
    decisive=(("end_acknowledged",), ("every_message", "sizes_overlap")),
    supports=("end_acknowledged", "every_message", "sizes_overlap", "constant_wait", "other_peers_pass"),
    look_alikes=("size_limit_close", "remote_timeout", "pmtu_black_hole", "content_pattern_drop"),
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
