"""Packets above the path MTU vanish, and no ICMP too-big takes effect (RFC 1191, 8201, 2923 2.1)."""

from __future__ import annotations

from typing import Any

from smtpkit.addresses import is_ipv6
from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    sender, receiver = _ends(case)
    low, high = case.figures["pmtu_low"], case.figures["pmtu_high"]
    at_least = f"at least {low} and " if low else ""
    return (
        f"Packets of {high} bytes and more from {sender} to {receiver} vanish while smaller ones arrive: "
        f"a path-MTU black hole. The path MTU is {at_least}less than {high} bytes."
    )


def _parameters(case: Case) -> dict[str, Any]:
    return {name: case.figures[name] for name in ("pmtu_low", "pmtu_high")}


def _next_test(case: Case) -> str:
    """From the sender of the large packets; for the reverse direction ask the server for small ones."""
    family, headers = ("-6", 48) if is_ipv6(case.peer) else ("-4", 28)
    high, low = case.figures["pmtu_high"], case.figures["pmtu_low"]
    if case.direction == "reverse":
        route = f"ip {family} -o route get {case.peer} | grep -oE '(via|dev) [^ ]+' | xargs"
        return f"ip {family} route replace {case.peer} $({route}) advmss {_small_mss(low, headers)}"
    sizes = f"{high - headers}" if low is None else f"{high - headers} {low - headers}"
    ping = f"for size in {sizes}; do ping {family} -c 3 -M do -s $size {case.peer}; done"
    return f"{ping}; tracepath -n {case.peer}"


def _small_mss(low: int | None, headers: int) -> int:
    """Return an MSS whose packets are known to pass, or that any path takes."""
    return max((low or 0) - headers - 12, 500)


def _remedies(case: Case) -> list[str]:
    sender, receiver = _ends(case)
    version = 6 if is_ipv6(case.peer) else 4
    icmp = "ICMPv6 type 2 (Packet Too Big)" if version == 6 else "ICMP type 3 code 4 (fragmentation needed)"
    low = case.figures["pmtu_low"] or (1280 if version == 6 else 576)
    return [
        f"Let {icmp} through to {sender}, on every router and firewall between it and {receiver} (RFC 4890).",
        "Clamp the MSS at the router in front of the narrow link: "
        "nft add rule inet filter forward tcp flags syn tcp option maxseg size set rt mtu",
        *_near_side(case, low),
        "Longer timeouts do not help: the same packet is sent again and again.",
    ]


def _near_side(case: Case, low: int) -> list[str]:
    """Return settings of the mail host itself, which need nobody's consent."""
    if case.direction == "reverse":
        return [f"Until then, on {case.client}: announce a smaller MSS to {case.peer}, as in the next test."]
    return [
        f"Until then, on {case.client}: ip route replace {case.peer} via GATEWAY mtu lock {low} "
        "(GATEWAY as in: ip route get).",
        f"Or on {case.client}, for all destinations, IPv6 too: sysctl -w net.ipv4.tcp_mtu_probing=1",
    ]


def _ends(case: Case) -> tuple[str, str]:
    return (case.client, case.peer) if case.direction == "forward" else (case.peer, case.client)


CAUSE = Cause(
    code="pmtu_black_hole",
    requires=("oversize_lost", "smaller_pass"),
    excludes=(
        *("oversize_delivered", "loss_explains", "too_big_effective", "smaller_lost", "silent"),
        *("unscaled_window", "fragmentable", "window_closed"),
    ),
    supports=(
        *("same_size_repeats", "tail_passed", "smaller_repeat_passed", "too_big_ignored", "too_big_missing"),
        *("size_decides", "other_peer_takes_size", "reply_repeated", "several_messages"),
    ),
    decisive=(
        ("tail_passed", "smaller_repeat_passed", "too_big_ignored", "reply_repeated"),
        ("several_messages", "smaller_repeat_passed", "too_big_ignored", "size_decides"),
    ),
    look_alikes=(
        "packet_loss",
        "state_loss",
        "window_scaling",
        "receiver_stall",
        "fragment_loss",
        "content_pattern_drop",
        "size_limit_close",
        "close_after_data",
        "remote_timeout",
    ),
    directed=True,
    sentence=_sentence,
    parameters=_parameters,
    next_test=_next_test,
    remedies=_remedies,
)
