"""STARTTLS fails though its packets arrive (facts E3, E4): policy, version, or a box that reads TLS."""

from __future__ import annotations

from smtpkit.causes.cause import Case, Cause
from smtpkit.printable import endpoint


def _sentence(case: Case) -> str:
    if case.figures.get("tls_not_offered"):
        hidden = ": a box on the way that inspects SMTP hides it" if case.figures.get("masked") else ""
        return f"{case.peer} does not offer STARTTLS{hidden}, and mail is not to go without."
    alert = case.figures.get("tls_alert")
    how = f"with alert {alert}" if alert is not None else "without an alert"
    return (
        f"The TLS handshake with {case.peer} ends early, {how}; "
        "its packets arrive: not their size is the trouble, but what is in them."
    )


def _next_test(case: Case) -> str:
    connect = endpoint(case.peer, case.figures.get("port") or 25)
    test = f"openssl s_client -starttls smtp -connect {connect}"
    return f"{test} </dev/null; {test} -groups X25519 </dev/null; {test} -tls1_2 </dev/null"


def _remedies(case: Case) -> list[str]:
    if case.figures.get("masked"):
        return [
            "Switch SMTP inspection off on the firewalls of the way (no inspect esmtp; formerly no fixup "
            "protocol smtp 25), or let TLS through it (allow-tls).",
            f"Until then, and at the price of encryption: take {case.peer} out of hosts_require_tls.",
        ]
    return [
        "Compare TLS versions and cipher suites of both sides; the log's error and the alert's number say "
        "which side refused (RFC 8446 6.2).",
        "If it passes with -groups X25519: a box on the way, or the server, does not take a ClientHello in "
        "two packets; have it updated.",
        f"Until then, and at the price of encryption: hosts_avoid_tls = {case.peer}",
    ]


CAUSE = Cause(
    code="tls_handshake_failure",
    requires=("tls_broken",),
    excludes=("oversize_lost",),
    decisive=(("tls_alert", "tls_closed", "tls_not_offered"),),
    supports=("tls_alert", "tls_closed", "tls_not_offered", "masked", "clear_text_passes"),
    look_alikes=("pmtu_black_hole", "remote_timeout"),
    sentence=_sentence,
    next_test=_next_test,
    remedies=_remedies,
)
