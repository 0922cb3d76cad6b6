"""What Exim says of a failure: by whom, after which command, with which reply.

Source: ``check_response`` and ``write_logs`` in Exim's ``transports/smtp.c``; ``smtp_in.c`` and ``receive.c``
for clients that went away. Repetitions are possessive: they never go back over what they took.
"""

from __future__ import annotations

import re

_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_IN_ANGLES = rf'(?:[^<>"]|{_QUOTED})*+'
_COMMAND = (
    rf"initial connection|sending data block|end of data|data\b|(?:MAIL FROM|RCPT TO):<{_IN_ANGLES}>[^:(]*+"
    r"|[A-Z]{4}[A-Z]*+(?: \[[^\] ]*\]|[^:(]*+)"
)
_NAMED = r"(?P<host_{0}>[^ ]+) \[(?P<address_{0}>[^\] ]*)\]"  # before Exim 4.85, in place of H=
_ERROR = (
    r"(?:[^:]{1,80} : )?(?P<what>(?:SMTP|LMTP|PRDR) error(?: from remote mail(?:er| server))? after"
    rf"|[SL]MTP timeout (?:while connected to {_NAMED.format(1)} )?after"
    r"|Malformed (?:SMTP|LMTP) reply (?:\([^)]*\) )?in response to"
    rf"|Remote (?:host|end)(?: {_NAMED.format(2)})? closed connection (?:in response to|after)) "
    rf"(?:pipelined )?(?P<command>{_COMMAND}) ?(?:\((?P<bytes_written>[0-9]+) bytes written\))?"
    rf"(?:: (?:host {_NAMED.format(3)}: )?(?P<smtp_code>[0-9]{{3}})"
    r"(?:[- ](?P<enhanced_status>[245]\.[0-9]{1,3}\.[0-9]{1,3}))?(?:[^0-9]|$))?"
)
ERROR = re.compile(_ERROR)
ERROR_RE2 = "^(?s:" + _ERROR.replace("*+", "*") + ")"  # never goes back either

HOST_ONLY = re.compile(r"[^ ]+ \[[^\] ]*\]")  # what Exim says where writing to an open connection failed
_AFTER_ADDRESS = re.compile(r"(?::\w+)?\*?(?: (?:PRX|I)=\[[^\] ]*\](?::\w+)?| TFO\*{0,2})* ?:? ?", re.ASCII)

# What a server says of a client that went away: how far it came, class of the error, how the text begins.
_HANDSHAKE = r"TLS error on connection from .* \((?:SSL_accept|gnutls_handshake)\): "
_LOST_CLIENT = (
    ("sending data block", "timeout", r"SMTP data timeout \(message abandoned\) on "),
    ("sending data block", "lost connection", r"SMTP connection .* lost while reading message data"),
    ("end of data", "lost connection", r"SMTP connection lost after final dot"),
    (None, "timeout", r"SMTP command timeout on "),
    (None, "lost connection", r"unexpected (?:disconnection|EOF) while reading SMTP command from "),
    ("STARTTLS", "timeout", rf"{_HANDSHAKE}timed out"),
    ("STARTTLS", "TLS", _HANDSHAKE),
)
_INCOMING = [(re.compile(pattern), phase, error) for phase, error, pattern in _LOST_CLIENT]


def of_host(text: str, address: str | None) -> str:
    """Return the error of a host line: what follows ``H=name [address]`` in its text."""
    rest = text.partition(f"[{address}]")[2] if address is not None and text.startswith("H=") else text
    found = _AFTER_ADDRESS.match(rest)
    return rest[found.end() :] if found and rest is not text else rest


def fallback(text: str) -> str:
    """Return the error where a client went on without TLS, whose start had failed; else nothing."""
    error, found, _ = text.rpartition(": delivering unencrypted to ")
    return error if found else ""


def incoming(text: str) -> tuple[str | None, str | None]:
    """Return phase and error class of a server's line about a lost client; nothing for another line."""
    return next(((phase, error) for pattern, phase, error in _INCOMING if pattern.match(text)), (None, None))
