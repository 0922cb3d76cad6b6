"""No TCP connection comes about: refused, swallowed on the way, or no route (facts F, D7)."""

from __future__ import annotations

from smtpkit.addresses import is_ipv6
from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    ways = {
        "refused": "refuses connections (RST)",
        "unreachable": "cannot be reached: a router says so by ICMP",
        "swallowed": "does not answer connection attempts at all",
    }
    way = ways.get(str(case.figures.get("way")), "takes no connection")
    return f"{case.peer} {way}, tried from {case.client}: the mail never got as far as SMTP."


def _next_test(case: Case) -> str:
    port = case.figures.get("port") or 25
    return f"nc -vz -w5 {case.peer} {port}; traceroute -n -T -p {port} {case.peer}"


def _remedies(case: Case) -> list[str]:
    way = case.figures.get("way")
    refused = "Ask the far postmaster whether the mail server runs and listens on this address and port."
    blocked = (
        "Ask the networks on the way to let TCP to this port through; hosters often block outbound port 25."
    )
    six = "If IPv6 is broken here or there: disable_ipv6, or dns_ipv4_lookup for this domain."
    ecn = "An old firewall may drop SYNs that ask for ECN: try sysctl -w net.ipv4.tcp_ecn=0."
    advice = [refused] if way == "refused" else [blocked]
    return advice + ([six] if is_ipv6(case.peer) else []) + ([ecn] if way == "swallowed" else [])


CAUSE = Cause(
    code="connect_failure",
    requires=("unreached",),
    excludes=("lossy",),
    decisive=(("refused", "unreachable", "syn_unanswered"),),
    supports=(
        "refused",
        "unreachable",
        "syn_unanswered",
    ),
    look_alikes=("remote_timeout", "packet_loss"),
    sentence=_sentence,
    next_test=_next_test,
    remedies=_remedies,
)
