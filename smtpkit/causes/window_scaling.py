"""The window scale of one side is removed or ignored on the way (facts D5; RFC 7323 2)."""

from __future__ import annotations

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    if case.figures.get("scale_changed"):
        return (
            f"The window scale that one side announces does not reach the other: {case.client} "
            f"takes the window "
            f"of {case.peer} for far smaller than it is, and crawls."
        )
    return (
        f"A box between {case.client} and {case.peer} ignores the window scale: what lies beyond "
        f"the window as "
        "it stands in the header is dropped, what lies within passes."
    )


def _next_test(case: Case) -> str:
    return "sysctl -w net.ipv4.tcp_window_scaling=0   # here, for one try: then no window is scaled"


def _remedies(case: Case) -> list[str]:
    return [
        "Repair or replace the box: it must track the window scale of both SYNs (RFC 7323 2).",
        f"On {case.peer}: ip route replace {case.client} via GATEWAY window 65535, so that it "
        f"offers no more.",
        "Here, in a network namespace of its own if other traffic needs scaling: "
        "sysctl -w net.ipv4.tcp_window_scaling=0",
    ]


CAUSE = Cause(
    code="window_scaling",
    requires=("window_misread",),
    excludes=("split_explains", "hung_up"),
    decisive=(("lost_beyond", "scale_changed"), ("other_messages_pass", "scale_changed")),
    supports=("unscaled_window", "lost_beyond", "scale_changed", "other_peers_pass"),
    look_alikes=("pmtu_black_hole", "size_limit_close", "packet_loss", "state_loss", "receiver_stall"),
    directed=True,
    sentence=_sentence,
    next_test=_next_test,
    remedies=_remedies,
)
