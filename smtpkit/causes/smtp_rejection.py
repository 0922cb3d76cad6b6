"""The server answers with a proper 4xx or 5xx (facts F): policy, not the network."""

from __future__ import annotations

from smtpkit.causes.cause import Case, Cause


def _sentence(case: Case) -> str:
    code, phase = case.figures.get("reply_code"), case.figures.get("phase")
    after = f" after {phase}" if phase else ""
    reply = f" with {code}" if code else ""
    return f"{case.peer} refuses mail{reply}{after}: a proper answer to what it got, no fault of the network."


def _next_test(case: Case) -> str:
    return f"swaks --server {case.peer} --from POSTMASTER --to RECIPIENT --quit-after RCPT"


def _remedies(case: Case) -> list[str]:
    return [
        "Read the reply: it says what the far postmaster wants changed, or whom to ask.",
        "A 552 or 523 is a size limit: set message_size_limit on the transport for this host, "
        "so that senders get a clear bounce.",
        "A 421 or 450 asks for fewer connections or messages at a time: serialize_hosts, "
        "connection_max_messages, and patience.",
    ]


CAUSE = Cause(
    code="smtp_rejection",
    requires=("replied",),
    decisive=(("replied",),),
    supports=("other_messages_pass",),
    look_alikes=("size_limit_close", "close_after_data", "pmtu_black_hole"),
    sentence=_sentence,
    next_test=_next_test,
    remedies=_remedies,
)
