"""The server hangs up on messages above a limit, without a 5xx (facts C1)."""

from __future__ import annotations

from typing import Any

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    low, high = case.figures.get("size_low"), case.figures.get("size_high")
    where = "after the final dot" if case.figures.get("after_dot") else "in the middle of the data"
    limit = f"between {low} and {high} bytes" if low else f"below {high} bytes"
    return f"{case.peer} hangs up {where} on large messages, without a 552: its limit lies {limit}."


def _parameters(case: Case) -> dict[str, Any]:
    return {name: case.figures.get(name) for name in ("size_low", "size_high", "size_measure")}


def _next_test(case: Case) -> str:
    return (
        f"swaks --server {case.peer} --quit-after EHLO | grep SIZE; swaks --server {case.peer} --body @FILE"
    )


def _remedies(case: Case) -> list[str]:
    low = case.figures.get("size_low")
    limit = f" = {low}" if low else ""
    return [
        "Ask the far postmaster to answer 552 and to announce SIZE (RFC 1870): then Exim bounces at once.",
        f"Until then: message_size_limit{limit} on a transport for this host, with a clear bounce.",
        "Check that size_addition is not negative.",
    ]


CAUSE = Cause(
    code="size_limit_close",
    requires=("hung_up", "size_explains"),
    excludes=("reset_forged", "lossy", "nul_explains", "line_explains", "pattern_explains"),
    decisive=(("size_explains",), ("hung_up",)),
    supports=("same_place", "other_peers_pass"),
    look_alikes=("pmtu_black_hole", "close_after_data", "nul_byte_drop", "long_line_close", "window_scaling"),
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
