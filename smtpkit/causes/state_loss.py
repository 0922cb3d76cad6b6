"""A middlebox forgets the connection: packets of every size die, both ways (facts D3; RFC 5382)."""

from __future__ import annotations

from typing import Any

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    how = (
        "a box on the way answers with a RST of its own"
        if case.figures.get("reset_forged")
        else "nothing of any size passes any more, either way"
    )
    after = _after(case.figures)
    return f"Connections to {case.peer} are forgotten on the way{after}: from some moment on {how}."


def _after(figures: dict[str, Any]) -> str:
    """Say when it happens; what was sent in vain first came later."""
    pause, low, age = (figures.get(name) for name in ("pause", "pause_low", "age"))
    if pause:
        more = f"more than {low:.0f} s and " if low else ""
        older = f", or at an age of at most {age:.0f} s" if age else ""
        return f" after a pause of {more}at most {pause:.0f} s{older}"
    if age:
        return f" at an age of at most {age:.0f} s"
    if figures.get("octets"):
        return f" after some {figures['octets']} bytes"
    low, high = (figures.get(name) for name in ("octets_low", "octets_high"))
    return f" after {low} to {high} bytes" if high else ""


def _parameters(case: Case) -> dict[str, Any]:
    """Return the time by which they are forgotten, at the latest."""
    return {"seconds": case.figures.get("pause") or case.figures.get("age")}


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
