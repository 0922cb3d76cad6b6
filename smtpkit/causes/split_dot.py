"""The packet with the rest of a CRLF.CRLF that is cut over two segments is dropped (facts D2)."""

from __future__ import annotations

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    return (
        f"Messages to {case.peer} fail where the end of data, CRLF.CRLF, is cut over two packets, and only "
        "there: an inspecting box on the way drops the rest of it. Their length decides, not their size."
    )


def _next_test(case: Case) -> str:
    name = case.figures.get("message") or "MESSAGE-ID"
    return f"exim -Mvc {name} | wc -c   # add one character to its subject, send it again: it passes"


def _remedies(case: Case) -> list[str]:
    return [
        "Switch SMTP inspection off on the firewalls of the way (no inspect esmtp; formerly no "
        "fixup protocol "
        "smtp 25), or update them (CSCds90792).",
        "STARTTLS hides the end of data from them.",
    ]


CAUSE = Cause(
    code="split_dot",
    requires=("split_explains",),
    excludes=("lossy", "unscaled_window"),
    decisive=(("split_explains",), ("sizes_overlap",)),
    supports=("sizes_overlap", "other_peers_pass"),
    look_alikes=("remote_timeout", "pmtu_black_hole", "size_limit_close"),
    directed=True,
    sentence=_sentence,
    next_test=_next_test,
    remedies=_remedies,
)
