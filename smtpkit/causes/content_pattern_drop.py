"""The network drops or resets on bytes in the data (facts B3, B4)."""

from __future__ import annotations

from typing import Any

from smtpkit.addresses import is_ipv6
from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    forged = case.figures.get("reset_forged")
    how = (
        "somebody on the way resets the connection" if forged else "packets that hold them never get through"
    )
    pattern = case.figures.get("pattern_hex")
    which = f"the bytes {pattern}" if pattern else "bytes that these messages share"
    return (
        f"Messages to {case.peer} fail on {which} (hexadecimal): {how}."
        if pattern
        else (f"Messages to {case.peer} fail on {which}: {how}.")
    )


def _parameters(case: Case) -> dict[str, Any]:
    return {"pattern_hex": case.figures.get("pattern_hex")}


def _next_test(case: Case) -> str:
    pattern = case.figures.get("pattern_hex")
    if not pattern:
        return f"swaks --server {case.peer} --data @MESSAGE   # then each half of it, down to the bytes"
    family = "-6" if is_ipv6(case.peer) else "-4"
    return f"ping {family} -c3 -s 1000 -p {pattern[:32]} {case.peer}   # and send the message over STARTTLS"


def _remedies(case: Case) -> list[str]:
    return [
        "Ask the networks on the way for a filter (intrusion prevention, virus or data-loss scanner) "
        "with a rule for these bytes, and have the mail hosts exempted.",
        "A faulty line or card loses packets with certain bit patterns: look at its error counters.",
        "STARTTLS hides the content from both.",
    ]


CAUSE = Cause(
    code="content_pattern_drop",
    requires=("pattern_explains",),
    excludes=("nul_explains", "lossy", "unscaled_window", "window_misread"),
    decisive=(("pattern_sure",), ("reset_forged", "sizes_overlap", "oversize_delivered")),
    supports=("pattern_sure", "reset_forged", "oversize_delivered", "sizes_overlap", "other_peers_pass"),
    look_alikes=("pmtu_black_hole", "state_loss", "size_limit_close", "nul_byte_drop", "packet_loss"),
    directed=True,
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
