"""A binary zero makes a box drop or reset, or the server hang up or miss the end (facts B1)."""

from __future__ import annotations

from typing import Any

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    manner = {
        "stall": "the segment that holds it never gets through",
        "close": "the connection is closed",
        "silence": "the server misses the end of the message and never answers",
    }.get(str(case.figures.get("manner")), "they fail")
    return f"Messages to {case.peer} with a binary zero (NUL) in them fail, all others pass: {manner}."


def _parameters(case: Case) -> dict[str, Any]:
    return {"pattern_hex": "00"}


def _next_test(case: Case) -> str:
    name = case.figures.get("message") or "MESSAGE-ID"
    message = f"exim -Mvc {name}"
    return f"{message} | od -An -c | tail; {message} | tr -d '\\000' > clean.eml   # send clean.eml"


def _remedies(case: Case) -> list[str]:
    return [
        "Cure the program that writes binary zeros: they are not allowed in mail (RFC 2045 2.7); "
        "base64 carries anything.",
        "Refuse them at the door: a DATA ACL with condition = ${if >{$body_zerocount}{0}}.",
        "If a box on the way drops them: STARTTLS hides the content from it; have it repaired.",
    ]


CAUSE = Cause(
    code="nul_byte_drop",
    requires=("nul_explains",),
    excludes=("lossy", "window_misread"),
    decisive=(("nul_explains",), ("sizes_overlap", "oversize_delivered")),
    supports=("sizes_overlap", "oversize_delivered", "other_peers_pass"),
    look_alikes=("pmtu_black_hole", "size_limit_close", "remote_timeout", "content_pattern_drop"),
    directed=True,
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
