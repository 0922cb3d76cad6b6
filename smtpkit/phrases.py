"""What may be said to strangers of free text: phrases of programs that tell of nobody, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

WITHHELD = "(withheld)"

_AFTER = (
    r"(?: (?:after|in response to) (?:pipelined )?(?:initial connection|end of data|sending data block"
    r"|EHLO|HELO|STARTTLS|AUTH|MAIL|RCPT|DATA|BDAT|QUIT|RSET))?"
)
_CODE = r"[2-5]\d\d\b(?:[ -][245]\.\d{1,3}\.\d{1,3}\b)?"
_PHRASES = (
    rf"SMTP (?:timeout|error from remote mail server|(?:command|data) timeout|connection lost){_AFTER}",
    rf"Remote host closed connection{_AFTER}",
    r"\b\d+ bytes written\b",
    r"\bConnection (?:timed out|refused|reset by peer)\b|\bBroken pipe\b",
    r"\bNo route to host\b|\bNetwork is unreachable\b",
    r"\bTLS (?:error|session)\b|\bgnutls_handshake\b|\bdelivering unencrypted\b|\btimed out\b",
    r"\bretry time(?:out exceeded| not reached for any host)\b",
    rf"(?:^|(?<=: )){_CODE}",
    r"\b(?:Accepted|OK|queued|Completed)\b",
    # P= of the log
    r"\b(?:local-)?e?smtps?a?\b",
    # EHLO keywords and verbs
    r"\b(?:SIZE|8BITMIME|PIPELINING|PIPECONNECT|PIPE_CONNECT|CHUNKING|BINARYMIME|STARTTLS|AUTH|DSN|SMTPUTF8)\b",
    r"\b(?:ENHANCEDSTATUSCODES|DELIVERBY|LIMITS|PRDR|VRFY|ETRN|HELP)\b",
    # parts of messages
    r"\b(?:text/(?:plain|html|calendar)|multipart/(?:mixed|alternative|related|signed|report))(?![\w.+-])",
    r"\b(?:message/rfc822|application/(?:pdf|octet-stream)|image/(?:png|jpeg|gif))(?![\w.+-])",
    r"\b(?:7bit|8bit|base64|quoted-printable)(?![\w.+-])",
)
_PHRASE = re.compile("|".join(_PHRASES))
# Words around mailboxes in the log and in arguments of SMTP commands, and a capture filter's own.
_MAIL_WORD = r"(?:delivered|deferred|failed|FROM|TO|SIZE=\d+|BODY=(?:7BIT|8BITMIME)|SMTPUTF8|LAST)(?=[\s:]|$)"
_IN_MAIL = re.compile(rf"(?<!\S){_MAIL_WORD}|(?P<name>[^\s<>,:=()|\"'\[\]]+)")
_FILTER_WORD = (
    r"(?:host|net|port|portrange|src|dst|tcp|udp|icmp6?|ip6?|proto|and|or|not|vlan|greater|less|len"
    r"|0x[0-9a-f]{1,4}|\d{1,5})(?![\w.:])"
)
_IN_FILTER = re.compile(rf"\[\d+(?::[124])?\]|(?<![\w.:]){_FILTER_WORD}|(?P<name>[\w.:-]+)")


def known(text: str) -> str:
    """Return the known phrases of `text`, with dots for what is left out."""
    pieces, end = [], 0
    for found in _PHRASE.finditer(text):
        pieces += [" … " if re.search(r"\w", text[end : found.start()]) else " ", found[0]]
        end = found.end()
    left = "…" if re.search(r"\w", text[end:]) else ""
    return " ".join(f"{''.join(pieces)} {left}".split()) if pieces else WITHHELD


def mail(text: str, name: Callable[[str], str]) -> str:
    """Return a text made of mail addresses with `name` of each in its place; words around them stay."""
    return _IN_MAIL.sub(lambda found: name(found["name"]) if found["name"] else found[0], text)


def capture_filter(text: str, name: Callable[[str], str]) -> str:
    """Return a capture filter with `name` of each address or host in its place (pcap-filter(7))."""
    return _IN_FILTER.sub(lambda found: name(found["name"]) if found["name"] else found[0], text)


def octets(text: str) -> str:
    """Return octets in hexadecimal with ``xx`` for all but zeros, line ends and dots."""
    pairs = (text[at : at + 2] for at in range(0, len(text), 2))
    return "".join(pair if pair in ("00", "0a", "0d", "2e") else "xx" for pair in pairs)


def known_octets(digits: str | None) -> bytes:
    """Return the bytes that hexadecimal digits stand for; none where they are not known or withheld."""
    return bytes.fromhex(digits) if digits and digits != WITHHELD else b""
