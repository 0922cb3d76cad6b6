"""The server hangs up on a line above its limit (facts B2; RFC 5321 4.5.3.1.6)."""

from __future__ import annotations

from typing import Any

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    low, high = case.figures.get("line_limit_low"), case.figures.get("line_limit_high")
    limit = f"between {low} and {high} octets" if low else f"below {high} octets"
    return f"{case.peer} hangs up on messages with long lines: its limit lies {limit}."


def _parameters(case: Case) -> dict[str, Any]:
    return {name: case.figures.get(name) for name in ("line_limit_low", "line_limit_high")}


def _next_test(case: Case) -> str:
    name = case.figures.get("message") or "MESSAGE-ID"
    return (
        f"exim -Mvc {name} | awk '{{n=length($0)}} n>m{{m=n}} END{{print m}}'   # fold the lines, send again"
    )


def _remedies(case: Case) -> list[str]:
    return [
        "Let the program that writes these messages fold lines or encode them (quoted-printable, base64).",
        "message_linelength_limit = 998 on the smtp transport (Exim 4.95 and later) bounces them "
        "here, clearly.",
        "Refuse them at the door: a DATA ACL on $max_received_linelength.",
    ]


CAUSE = Cause(
    code="long_line_close",
    requires=("hung_up", "line_explains"),
    excludes=("reset_forged", "lossy", "nul_explains", "pattern_explains"),
    decisive=(("line_explains",), ("sizes_overlap",)),
    supports=("sizes_overlap", "other_peers_pass"),
    look_alikes=("size_limit_close", "nul_byte_drop", "close_after_data", "pmtu_black_hole"),
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
