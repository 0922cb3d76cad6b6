"""A middlebox forgets the connection: packets of every size die, both ways (facts D3; RFC 5382)."""

from __future__ import annotations

from typing import Any

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    seconds, octets = case.figures.get("pause"), case.figures.get("octets")
    after = (
        f" after a pause of {seconds:.0f} s" if seconds else f" after some {octets} bytes" if octets else ""
    )
    how = (
        "a box on the way answers with a RST of its own"
        if case.figures.get("reset_forged")
        else "nothing of any size passes any more, either way"
    )
    return f"Connections to {case.peer} are forgotten on the way{after}: from some moment on {how}."


def _parameters(case: Case) -> dict[str, Any]:
    return {"seconds": case.figures.get("pause")}


def _next_test(case: Case) -> str:
    return (
        f"conntrack -L -p tcp --dport {case.figures.get('port') or 25} -d {case.peer}; conntrack -S; "
        "sysctl net.netfilter.nf_conntrack_tcp_timeout_established   # on every firewall of the way"
    )


def _remedies(case: Case) -> list[str]:
    return [
        "On the firewalls of the way: longer idle timers (RFC 5382 asks for 2 h 4 min), larger "
        "tables, the same "
        "route both ways.",
        "Do not drop packets as INVALID that belong to forwarded mail, "
        "or set net.netfilter.nf_conntrack_tcp_be_liberal=1.",
        "Here: connection_max_messages = 1, so that connections live shorter.",
    ]


CAUSE = Cause(
    code="state_loss",
    requires=("forgotten", "same_moment"),
    excludes=(
        *("nul_explains", "pattern_explains", "oversize_only", "window_misread", "lossy", "split_explains"),
    ),
    decisive=(("after_pause", "after_octets", "at_age"), ("passed_before",)),
    supports=("after_pause", "after_octets", "at_age", "reset_forged", "passed_before", "other_peers_pass"),
    look_alikes=("pmtu_black_hole", "packet_loss", "content_pattern_drop", "window_scaling"),
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
