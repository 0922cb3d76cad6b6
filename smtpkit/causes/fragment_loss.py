"""DF is clear, packets are cut up on the way, and fragments are dropped (facts A3; RFC 8900)."""

from __future__ import annotations

from typing import Any

from smtpkit.addresses import is_ipv6
from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    low, high = case.figures["pmtu_low"], case.figures["pmtu_high"]
    ends = (case.client, case.peer) if case.direction == "forward" else (case.peer, case.client)
    at_least = f"at least {low} and " if low else ""
    return (
        f"Packets of {high} bytes and more from {ends[0]} to {ends[1]} may be cut up (DF is "
        f"clear), and do not "
        f"arrive whole: fragments are dropped on the way. The path MTU is {at_least}less than {high} bytes."
    )


def _parameters(case: Case) -> dict[str, Any]:
    return {name: case.figures[name] for name in ("pmtu_low", "pmtu_high")}


def _next_test(case: Case) -> str:
    family = "-6" if is_ipv6(case.peer) else "-4"
    return (
        f"ping {family} -c3 -M dont -s 2000 {case.peer}; ping {family} -c3 -M dont -s 1000 {case.peer}; "
        "tcpdump -n 'ip[6:2] & 0x3fff != 0 or ip6 proto 44'   # at both ends"
    )


def _remedies(case: Case) -> list[str]:
    sender = case.client if case.direction == "forward" else case.peer
    return [
        f"On {sender}: let path MTU discovery work again, sysctl -w net.ipv4.ip_no_pmtu_disc=0, "
        "and see that ICMP type 3 code 4 gets through.",
        "Clamp the MSS at the router in front of the narrow link: "
        "nft add rule inet filter forward tcp flags syn tcp option maxseg size set rt mtu",
        "Let fragments through, or have the firewall put them together first.",
    ]


CAUSE = Cause(
    code="fragment_loss",
    requires=("oversize_lost", "smaller_pass", "fragmentable"),
    excludes=(
        *("oversize_delivered", "loss_explains", "smaller_lost", "silent", "unscaled_window"),
        "window_closed",
    ),
    supports=("reassembly_exceeded", "same_size_repeats", "tail_passed", "size_decides"),
    decisive=(("fragmentable",), ("reassembly_exceeded", "tail_passed", "size_decides")),
    look_alikes=("pmtu_black_hole", "packet_loss", "state_loss", "window_scaling"),
    directed=True,
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
