"""Loss so high that deliveries fail (facts D4, D6)."""

from __future__ import annotations

from typing import Any

from smtpkit.causes.cause import Case, Cause

SACK_OUTSIDE = (
    "SACK edges lie outside of all that was sent: a box on the way changes sequence numbers and not those in "
    "SACK, so the sender throws them away and repeats what has arrived."
)


def _sentence(case: Case) -> str:
    rate = case.figures.get("loss_rate")
    share = f"some {rate:.0%} of the packets" if rate else "packets of all sizes"
    return (
        f"The path between {case.client} and {case.peer} loses {share}: deliveries do not get done in time."
    )


def _parameters(case: Case) -> dict[str, Any]:
    return {"loss_rate": case.figures.get("loss_rate")}


def _next_test(case: Case) -> str:
    port = case.figures.get("port") or 25
    mtr = f"mtr -rwzc 200 --tcp --port {port}"
    return f"{mtr} {case.peer}; {mtr} -s 1400 {case.peer}"


def _remedies(case: Case) -> list[str]:
    sack = (
        "SACK edges that were never sent: a firewall changes sequence numbers and not those in "
        "SACK; have that "
        "switched off (ASA: set connection random-sequence-number disable), or try sysctl -w "
        "net.ipv4.tcp_sack=0."
    )
    return [
        "Find the lossy hop: error counters of interfaces (ethtool -S), duplex, overloaded or "
        "rate-limited links.",
        *([sack] if case.figures.get("sack_outside") else []),
        "Longer timeouts help a little, fewer parallel deliveries more.",
    ]


CAUSE = Cause(
    code="packet_loss",
    requires=("lossy", "window_obeyed"),
    excludes=("oversize_only", "nul_explains", "pattern_explains", "split_explains"),
    decisive=(("lossy",), ("repaired",)),
    supports=("repaired", "sack_outside"),
    look_alikes=("pmtu_black_hole", "state_loss", "content_pattern_drop", "window_scaling"),
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
