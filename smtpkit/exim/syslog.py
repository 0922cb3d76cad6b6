r"""Lines of syslog become lines as Exim writes them into a file of its own.

Sources: RFC 3164, RFC 5424, the file formats of rsyslog and journalctl, and the Exim specification, section
"Logging to syslog": long lines come in parts ``[1/5]``, multi-line entries in parts ``[5\18]``.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import NamedTuple

_STAMP = rb"(?:19|20)\d\d-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?(?: [+-]\d{4})?(?= |$)"
_DATE = rb"(?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) (?P<clock>\d\d:\d\d:\d\d)"
_ZONE = rb"(?P<zone>Z|[+-]\d\d:?\d\d)?"
_ISO = rb"(?P<iso>\d{4}-\d\d-\d\d)T(?P<time>\d\d:\d\d:\d\d)(?P<fraction>\.\d{1,6})?\d*" + _ZONE
_PROGRAM = rb"(?P<program>[^ \[\]:]+)(?:\[(?P<pid>\d+)\])?: ?"
_STRUCTURED = rb'(?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*+")*+\])++)'
_FORMS = (
    rb"(?:<\d{1,3}>)?(?:" + _DATE + rb"|" + _ISO + rb") (?:<[\w.]+> )?(?P<host>[^ ]+) " + _PROGRAM,
    rb"<\d{1,3}>1 "
    + _ISO
    + rb" (?P<host>[^ ]+) (?P<program>[^ ]+) (?P<pid>[^ ]+) [^ ]+ "
    + _STRUCTURED
    + rb" ?(?:\xef\xbb\xbf)?",
)
_PREFIXES = [re.compile(form, re.ASCII) for form in _FORMS]
_PART = re.compile(rb"\[(\d{1,6})([/\\])(\d{1,6})\] ?", re.ASCII)
_OWN = re.compile(rb"(" + _STAMP + rb")( \[\d+\])?", re.ASCII)
_MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"
_ANY_TIME = rb"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[^ ]+)"
_ANY_PREFIX = rb"(?:<\d{1,3}>)?(?:1 )?" + _ANY_TIME + rb" (?:<[\w.]+> )?[^ ]+ "
_EXIM = (
    rb"(?:exim[^ \[:]*(?:\[\d+\])?: |exim[^ ]* [^ ]+ [^ ]+ |[^ ]+ (?=(?:\[\d+[/\\]\d+\] )?" + _STAMP + rb"))"
)
# A line of a main, reject or panic log, or one of Exim's in syslog.
STARTS_LINE = re.compile(rb"^\0*(?:" + _STAMP + rb"|" + _ANY_PREFIX + _EXIM + rb")", re.MULTILINE | re.ASCII)


class Line(NamedTuple):
    """A line of syslog: when and who wrote it, and what."""

    stamp: bytes
    writer: tuple[bytes, bytes, bytes]  # host, program, process
    is_exim: bool
    part: int  # 1 of 1 unless it is split
    parts: int
    joint: bytes  # what stands between this part and the next one
    text: bytes


def parse(line: bytes, written: datetime) -> Line | None:
    """Return a line of syslog; None if it is none. RFC 3164 has no year: `written` is when the file was."""
    found = next((m for prefix in _PREFIXES if (m := prefix.match(line))), None)
    if found is None:
        return None
    stamp = _stamp(found, written)
    if stamp is None:
        return None
    text = line[found.end() :]
    part = _PART.match(text)
    start = part.end() if part else 0
    writer = (found["host"], found["program"], found["pid"] or b"")
    is_exim = found["program"].startswith(b"exim") or _OWN.match(text, start) is not None
    if not part or not is_exim:
        return Line(stamp, writer, is_exim, 1, 1, b"", text)
    joint = b"\n" if part[2] == b"\\" else b""
    return Line(stamp, writer, is_exim, int(part[1]), int(part[3]), joint, text[start:])


def exim_form(line: Line, text: bytes) -> bytes:
    """Return `text`, the whole entry that starts with `line`, as in a log file: time, [pid], rest."""
    if not line.is_exim:
        return b"%b %b: %b" % (line.stamp, line.writer[1], text)
    own = _OWN.match(text)
    stamp, rest = (own[1], text[own.end(1) :]) if own else (line.stamp, b" " + text)
    known = line.writer[2].isdigit() and not re.match(rb" \[\d+\](?: |$)", rest)
    return b"%b [%b]%b" % (stamp, line.writer[2], rest) if known else stamp + rest


def _stamp(found: re.Match[bytes], written: datetime) -> bytes | None:
    if found.groupdict().get("month") is None:
        zone = (found["zone"] or b"").replace(b":", b"").replace(b"Z", b"+0000")
        return (
            found["iso"] + b" " + found["time"] + (found["fraction"] or b"") + (b" " + zone if zone else b"")
        )
    month = _MONTHS.find(found["month"]) // 3 + 1
    if _MONTHS.find(found["month"]) % 3 or not month:
        return None
    day = int(found["day"])
    late = written + timedelta(days=1)
    year = late.year - ((month, day) > (late.month, late.day))
    return b"%d-%02d-%02d %b" % (year, month, day, found["clock"])
