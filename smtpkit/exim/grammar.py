"""The grammar of a line of an Exim log: a line becomes a dict of `log_lines` columns.

Source: the Exim specification, chapter "Log files", and the functions that write these lines (``deliver.c``,
``receive.c``, ``transports/smtp.c``). A line is read from left to right, so that a field counts only in its
own place: what a peer wrote into a quoted value, an address, a HELO name or an error text is none.
Repetitions are possessive: they never go back over what they took, and every line is read in linear time.
"""

from __future__ import annotations

import re
from typing import Any

from smtpkit.tables import MESSAGE_ID

# The start of a line: perhaps a syslog prefix (RFC 3164), then time stamp, process, message, flag.
_STAMP = r"(?:19|20)\d\d-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?(?: [+-]\d{4})?"
_SYSLOG = (
    r"(?:<\d{1,3}>)?[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [^ ]+ exim[^ \[:]*(?:\[(?P<syslog_pid>\d+)\])?: "
)
FLAGS = {
    "<=": "arrival",
    "(=": "fakereject",
    "=>": "delivery",
    "->": "additional_delivery",
    ">>": "cutthrough_delivery",
    "*>": "suppressed_delivery",
    "==": "deferral",
    "**": "failure",
}
HEAD = re.compile(
    rf"(?:{_SYSLOG})?(?P<stamp>{_STAMP})(?= |$)(?: \[(?P<pid>\d+)\](?= |$))?"
    rf"(?: (?P<message_id>{MESSAGE_ID})(?= |$)(?: (?P<flag>{'|'.join(map(re.escape, FLAGS))})(?= |$))?)?",
    re.ASCII,
)
STARTS_LINE = re.compile(rf"^\0*(?:{_SYSLOG})?{_STAMP} ".encode(), re.MULTILINE)

# Values. A quote that is never closed runs to the end of the line.
_QUOTED = r'"(?:[^"\\]|\\.)*+(?:"|\\?$)'
_IN_ANGLES = rf'(?:[^<>"]|{_QUOTED})*+'
_PARENTS = rf' \((?:[^()"]|{_QUOTED})*+\)(?= <| [A-Z]+=|$)'
_PLAIN = rf'(?![|/:>])(?:[^ "@]|{_QUOTED})*+@[^ ]*?(?=:? |:?$)'
# A file, a pipe, a local user, `:fail:` and its like may hold blanks; what comes next ends them.
_NEXT = rf"[A-Za-z]{{1,2}}=|: |<{_IN_ANGLES}>(?:[: ]|$)|routing |defer \("
_LOOSE = rf'(?::\w+:)?(?:[^ ":]|{_QUOTED}|:(?! )| (?!{_NEXT})(?!{_PARENTS[1:]}))*+'
_ADDRESS = re.compile(
    rf"(?P<address>{_PLAIN}|{_LOOSE})(?:{_PARENTS})?(?: <(?P<original_address>{_IN_ANGLES})>(?=[: ]|$))?"
)
# name (HELO) [address]:port, of which only the last bracket can be relied on
_HOST = (
    r"(?:(?P<name>[^ \[(]+) ?)?(?:(?P<helo>\([^\"]{0,300}?\)) )?(?:DS )?"
    r"\[(?P<host_address>[^\] ]*)\](?::(?P<host_port>\w+))?\*?(?=[ :]|$)(?! [\[(])"
)
_WORD = r"(?:[^ :]|:(?! |$))*+"
_FIELD = re.compile(
    rf" (?:H=(?:{_HOST}|(?P<only_name>{_WORD}))"
    r"|I=\[(?P<interface_address>[^\] ]*)\](?::(?P<interface_port>\w+))?"
    r"|(?P<key>[A-Za-z][A-Za-z0-9]{0,5}\*?)="
    rf"(?:(?P<quoted>{_QUOTED})[^ ]*+|<(?P<angle>{_IN_ANGLES})>|(?P<word>{_WORD}))"
    r"|defer \((?P<errno>-\d+|0|(?P<positive>\w+))\)(?(positive)(?:: (?P<strerror>[^:]*?)(?= (?:H|DT)=|$))?)"
    r"|(?:DS|L[*.-]*|K|PRDR|TFO\*{0,2}|SPF|DMARC|ARC|routing)(?=:? |$))"
)
_UNKNOWN = re.compile(rf' (?:[^ "]|{_QUOTED})*+')
_RECIPIENTS = re.compile(rf' for (?P<recipients>(?:(?:(?:[^ "@]|{_QUOTED})*+@[^ ]*+|[^ "@=]++)(?: |$))++)$')
_TEXT = re.compile(r" ?:? ?(?P<text>.*)", re.DOTALL)
_TEXT_AND_TIME = re.compile(r"(?P<text>.*) DT=(?P<delivery_time>[\dwdhms.]+)", re.DOTALL)

# What a letter means depends on the flag ("Summary of Fields in Log Lines").
_ALWAYS = {"S": "size", "X": "cipher", "F": "sender", "QT": "queue_time", "DT": "delivery_time"}
_ARRIVAL = {"P": "protocol", "T": "subject", "id": "header_message_id", "id*": "header_message_id"}
_ARRIVAL |= _ALWAYS | {"RT": "reception_time"}
_DELIVERY = _ALWAYS | {"R": "router", "T": "transport", "C": "confirmation"}
_LETTERS = dict.fromkeys(FLAGS, _DELIVERY) | {"<=": _ARRIVAL, "(=": _ARRIVAL}
_LAST_COUNTS = {"confirmation", "subject"}  # they follow values that a peer can fill with anything

# Kinds of lines without a flag, by what follows H= and its like; the first that fits.
_KINDS = (
    ("completed", r"Completed"),
    ("connection_lost", r"SMTP (?:data|command) timeout |SMTP (?:protocol )?connection [^\"]*\blost\b"),
    ("connection_lost", r"unexpected disconnection while |incomplete transaction \(connection lost\)"),
    ("rejection", r"(?:temporarily )?rejected |refused |dropped |sender verify (?:fail|defer) "),
    ("rejection", r"SMTP call from [^\"]* dropped|SMTP (?:protocol|syntax) |[\w-]+ authenticator failed"),
    ("tls_error", r"TLS (?:error|session)|DANE |\[[^\]]*\] SSL |a TLS session is required"),
    ("queue_run", r"(?:Start|End) (?:'[^']*' )?queue run"),
    ("daemon", r"exim [^ ]+ daemon |pid \d+: SIG|Exim configuration error"),
    ("frozen", r"(?:\*\*\* )?(?:[Ff]rozen|Message is frozen|[Uu]nfrozen)"),
    ("retry", r"(?:[^ ]+: )?retry time"),
    ("warning", r"Warning: |WARNING"),
    ("connection", r"SMTPS? connection |no MAIL in |no host name found|VRFY "),
    ("other", r""),
)
_UNFLAGGED = [(kind, re.compile(pattern)) for kind, pattern in _KINDS]
_HOST_ERROR = re.compile(r": | (?!Warning:|RCPT |MAIL |TLS )[A-Z]")

# The error text of an SMTP client (`check_response` in transports/smtp.c).
_COMMAND = (
    rf"initial connection|sending data block|end of data|data\b|(?:MAIL FROM|RCPT TO):<{_IN_ANGLES}>[^:(]*+"
    r"|[A-Z]{4}[A-Z]*+(?: \[[^\] ]*\]|[^:(]*+)"
)
_NAMED = r"(?P<host_{0}>[^ ]+) \[(?P<address_{0}>[^\] ]*)\]"  # before Exim 4.85, in place of H=
ERROR = re.compile(
    r"(?:[^:]{1,80} : )?(?P<what>(?:SMTP|LMTP|PRDR) error(?: from remote mail(?:er| server))? after"
    rf"|[SL]MTP timeout (?:while connected to {_NAMED.format(1)} )?after"
    r"|Malformed SMTP reply (?:\([^)]*\) )?in response to"
    rf"|Remote (?:host|end)(?: {_NAMED.format(2)})? closed connection (?:in response to|after)) "
    rf"(?:pipelined )?(?P<command>{_COMMAND}) ?(?:\((?P<bytes_written>\d+) bytes written\))?"
    rf"(?:: (?:host {_NAMED.format(3)}: )?(?P<smtp_code>\d{{3}})(?!\d))?",
    re.ASCII,
)


# What a server says of a client that went away: how far it came, class of the error, words before the host.
_HANDSHAKE = r"(?=.* \((?:SSL_accept|gnutls_handshake)\): "
_LOST_CLIENT = (
    ("sending data block", "timeout", r"SMTP data timeout \(message abandoned\) on (?:TLS )?connection from"),
    (
        "sending data block",
        "lost connection",
        r"SMTP connection (?:Ci=[^ ]+ )?from(?=.* lost while reading message data)",
    ),
    ("end of data", "lost connection", r"SMTP connection lost after final dot(?= H=)"),
    (None, "timeout", r"SMTP command timeout on (?:TLS )?connection from"),
    (None, "lost connection", r"unexpected disconnection while reading SMTP command from"),
    ("STARTTLS", "timeout", rf"TLS error on connection from{_HANDSHAKE}timed out)"),
    ("STARTTLS", "TLS", rf"TLS error on connection from{_HANDSHAKE})"),
)
_INCOMING = [(re.compile(pattern), phase, error) for phase, error, pattern in _LOST_CLIENT]


def parse(line: str, head: re.Match[str]) -> dict[str, Any]:
    """Return the columns of `log_lines` in `line`, which `HEAD` matched: all text, the time as ``stamp``."""
    flag = head["flag"]
    message_id, pid = head["message_id"], head["pid"] or head["syslog_pid"]
    row = _flagged(line, head.end(), flag) if flag else _unflagged(line, head.end(), message_id)
    return row | {"stamp": head["stamp"], "pid": pid, "message_id": message_id, "flag": flag}


def host_error(text: str) -> str:
    """Return the error of a host line: what follows ``H=name [address]`` in its text."""
    return _rest(f" {text}", _fields(f" {text}", 0, _ALWAYS)[1])


def fallback(text: str) -> tuple[dict[str, Any], str]:
    """Return host and error text where a client went on without TLS, whose start had failed; else nothing."""
    error, found, host = text.rpartition(": delivering unencrypted to ")
    return _fields(f" {host.partition(' (')[0]}", 0, {})[0] if found else {}, error if found else ""


def incoming(text: str) -> tuple[dict[str, Any], str | None, str | None]:
    """Return host, interface and duration, phase and error class of a server's line about a lost client."""
    for pattern, phase, error in _INCOMING:
        if found := pattern.match(text):
            host = text[found.end() :].removeprefix(" H=").lstrip(" ")
            return _fields(f" H={host}", 0, _ALWAYS | {"D": "duration"})[0], phase, error
    return {}, None, None


def _flagged(line: str, pos: int, flag: str) -> dict[str, Any]:
    failed, arrival = flag in ("==", "**"), flag in ("<=", "(=")
    address = _ADDRESS.match(line, pos + 1)
    if address is None or (failed and _is_text(address["address"])):
        return {"kind": FLAGS[flag], "text": line[pos + 1 :]}
    row, end = _fields(line, address.end(), _LETTERS[flag], skip=not failed, recipients=arrival)
    row |= {k: v for k, v in address.groupdict().items() if v is not None}
    row["kind"] = FLAGS[flag]
    if arrival and row["address"] == "<>":
        row["address"] = ""
    if text := _rest(line, end) or row.get("strerror"):
        row = _error_columns(text, flag) | row
    return row


def _is_text(address: str) -> bool:
    """Tell the message of a line without address: there an address always has its domain."""
    return "@" not in address and not address.startswith(("|", "/", ":", ">"))


def _error_columns(text: str, flag: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if flag == "**" and (timed := _TEXT_AND_TIME.fullmatch(text)):
        row |= timed.groupdict()
        text = row["text"]
    row["text"] = text
    if error := ERROR.match(text):
        row |= {"smtp_code": error["smtp_code"], "bytes_written": error["bytes_written"]}
        named = (n for n in "123" if error[f"host_{n}"])
        row |= {k: error[f"{name}_{n}"] for n in named for name, k in _NAMED_COLUMNS}
    return row


_NAMED_COLUMNS = (("host", "host"), ("address", "host_address"))


def _unflagged(line: str, pos: int, message_id: str | None) -> dict[str, Any]:
    row, end = _fields(line, pos, _ALWAYS)
    text = line[pos + 1 :]
    if message_id and "host_address" in row and set(row) <= _HOST_LINE and _HOST_ERROR.match(line, end):
        return row | _error_columns(_rest(line, end), None) | {"kind": "host_error", "text": text}
    old = _error_columns(text, None) if message_id and text.startswith(_OLD_HOST_LINES) else {}
    if "host" in old:
        return old | {"kind": "host_error"}
    start = line[end:].lstrip(" ")
    kind = next(kind for kind, pattern in _UNFLAGGED if pattern.match(start))
    if kind in ("connection_lost", "tls_error"):
        row = incoming(text)[0] or fallback(text)[0] or row
    return row | {"kind": kind, "text": text or None}


_OLD_HOST_LINES = ("Remote host ", "SMTP timeout while connected to ")
_HOST_LINE = {"host", "host_address", "host_port", "interface_address", "interface_port"}


def _fields(
    line: str, pos: int, letters: dict[str, str], skip: bool = False, recipients: bool = False
) -> tuple[dict[str, Any], int]:
    """Read fields of `line` from `pos` on, return them and where they end; `skip` passes unknown words."""
    row: dict[str, Any] = {}
    while True:
        found = _FIELD.match(line, pos)
        if found:
            _add(row, found, letters)
        elif recipients and line.startswith(" for ", pos):
            recipients = False  # one try: a second would make the time quadratic
            found = _RECIPIENTS.match(line, pos)
            row["recipients"] = found and found["recipients"]
        if not found and skip:
            found = _UNKNOWN.match(line, pos)
        if not found:
            return row, pos
        pos = found.end()


def _add(row: dict[str, Any], found: re.Match[str], letters: dict[str, str]) -> None:
    if key := found["key"]:
        column = letters.get(key)
        if column and (column not in row or column in _LAST_COUNTS):
            row[column] = _value(found)
    elif found["errno"]:
        row |= {"errno": found["errno"], "strerror": found["strerror"]}
    elif found["interface_address"] is not None:
        row.setdefault("interface_address", found["interface_address"])
        row.setdefault("interface_port", found["interface_port"])
    elif "host" not in row and (host := found["name"] or found["helo"] or found["only_name"]):
        row["host"] = host
    if found["host_address"] is not None and "host_address" not in row:
        row |= {"host_address": found["host_address"], "host_port": found["host_port"]}


def _value(found: re.Match[str]) -> str:
    if found["quoted"] is None:
        return found["angle"] if found["angle"] is not None else found["word"]
    return re.sub(r"\\([\"\\])", r"\1", found["quoted"][1:].removesuffix('"'))


def _rest(line: str, end: int) -> str:
    found = _TEXT.match(line, end)
    return found["text"] if found else ""


_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)


def seconds(text: str | None) -> float | None:
    """Return the seconds of a duration such as ``1d4h``, ``5m0s`` or ``0.204s``; None if it is masked."""
    found = _DURATION.fullmatch(text[:40]) if text else None
    if not found:
        return None
    return sum(
        float(n or 0) * unit for n, unit in zip(found.groups(), (604800, 86400, 3600, 60, 1), strict=True)
    )
