"""TCP acknowledges everything, the SMTP answer comes never or too late (facts C3, C6, E1, E2)."""

from __future__ import annotations

from typing import Any

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    phase = case.figures.get("phase") or "what was sent"
    large = case.figures.get("size_high")
    which = f" of messages of {large} bytes and more" if large else ""
    waited = case.figures.get("seconds")
    time = f" in {waited:.0f} s" if waited else ""
    return (
        f"{case.peer} acknowledges all that it is sent and then does not answer after {phase}{which}{time}: "
        "the network delivers, the mail server does not speak."
    )


def _parameters(case: Case) -> dict[str, Any]:
    return {name: case.figures.get(name) for name in ("seconds", "size_low", "size_high", "size_measure")}


def _next_test(case: Case) -> str:
    return (
        f"swaks --server {case.peer} --from POSTMASTER --to RECIPIENT --timeout 900 "
        "--body @MESSAGE   # and again without attachment, and with --quit-after DATA"
    )


def _remedies(case: Case) -> list[str]:
    chunking = [f"It may be CHUNKING that the server cannot do: try hosts_try_chunking = !{case.peer} : *"]
    return [
        f"On {case.peer}: find what it waits for before it answers (scanner, milter, callout, look-ups), "
        "and let that take less than ten minutes (RFC 5321 4.5.3.2.6).",
        *(chunking if case.figures.get("verb") == "BDAT" else []),
        "Leave final_timeout at ten minutes or more: a client that gives up sooner sends "
        "duplicates (RFC 1047).",
    ]


CAUSE = Cause(
    code="remote_timeout",
    requires=("unanswered", "content_innocent"),
    excludes=(
        *("nul_explains", "line_explains", "pattern_explains", "split_explains"),
        *("window_closed", "unacknowledged", "lossy", "window_misread", "forgotten"),
    ),
    decisive=(("unanswered",),),
    supports=("end_acknowledged", "late_answer", "size_explains", "every_message", "other_peers_pass"),
    look_alikes=("pmtu_black_hole", "receiver_stall", "close_after_data", "nul_byte_drop", "split_dot"),
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
