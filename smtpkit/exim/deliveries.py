"""What became of messages: `log_lines` become `messages` and `attempts`.

Both are pure and work message by message: if two sets of lines share no message, the rows of their union are
the union of their rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, islice, pairwise, takewhile
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from smtpkit import tables
from smtpkit.exim import errors

Row = dict[str, Any]

CHUNK = 20_000  # lines; whole messages, so sometimes more
NEAR = pd.Timedelta(60, "s")  # lines of one attempt that Exim writes in one go; retries take minutes at least
HOSTS = 50  # of one delivery, at most: Exim's `hosts_max_try` is 5, `hosts_max_try_hardlimit` 50
_DELIVERED = ("delivery", "additional_delivery", "cutthrough_delivery")
_OUTCOMES = dict.fromkeys(_DELIVERED, "delivered") | {"deferral": "deferred", "failure": "failed"}
_ARRIVALS = ("arrival", "fakereject")
_SESSIONS = ("connection_lost", "tls_error")
_NOWHERE = (":blackhole:", "discarded", "blackhole")  # logged as deliveries, and delivered to nobody

# How far an attempt came, by the start of the command that Exim names ...
_COMMAND_PHASES = (
    *(("initial", "banner"), ("EHLO", "EHLO"), ("HELO", "EHLO"), ("LHLO", "EHLO"), ("STARTTLS", "STARTTLS")),
    *(("AUTH", "AUTH"), ("MAIL", "MAIL"), ("RCPT", "RCPT"), ("DATA", "DATA")),
    *(
        ("sending", "sending data block"),
        ("end", "end of data"),
        ("data", "end of data"),
        ("BDAT", "end of data"),
    ),
)
# ... else by words of the error text, else by errno.
_TEXT_PHASES = (
    (r"TLS|SSL|DANE|gnutls", "STARTTLS"),
    (r"authenticat", "AUTH"),
    (r"smtp send to |failed to write a data block|Broken pipe", "sending data block"),
    (r"Connection |No route |Network |Netwk |Host is |Cannot assign|\]: Permission denied$", "connect"),
)
_ERRNO_PHASES = {32: "sending data block"} | dict.fromkeys((101, 110, 111, 113), "connect")
_TEXT_ERRORS = (
    (r"(?i)timed out|timeout", "timeout"),
    (r"TLS|SSL|DANE|gnutls|certificate", "TLS"),
    (r"reset by peer", "reset"),
    (r"closed connection|lost", "lost connection"),
    (r"Broken pipe", "broken pipe"),
    (r"refused", "refused"),
    # EACCES is what Linux makes of ICMPv6 "administratively prohibited".
    (r"No route|unreachable|Network Error|Netwk|Host is down|\]: Permission denied$", "unreachable"),
    (r"too long for transport|too big|size limit", "local limit"),
)
_ERRNO_ERRORS = {32: "broken pipe", 104: "reset", 110: "timeout", 111: "refused", 101: "unreachable"}
_ERRNO_ERRORS |= {113: "unreachable", -18: "lost connection", -26: "broken pipe", -37: "TLS", -38: "TLS"}
_NOT_TRIED = -51  # retry time not reached, domain held, too many deliveries at once: this and below
_FOR_ONE = ("RCPT", "DATA")  # replies that can refuse one recipient while others pass (DATA: LMTP and PRDR)


# The columns of `log_lines` that are read here.
_USED = [
    *("file", "line", "time", "message_id", "kind", "address", "original_address", "host", "host_address"),
    *(
        "host_port",
        "interface_address",
        "interface_port",
        "size",
        "protocol",
        "header_message_id",
        "reference",
    ),
    *("delivery_time", "duration", "errno", "smtp_code", "enhanced_status", "bytes_written", "confirmation"),
    "text",
]


def messages(log_lines: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each message of `log_lines`: arrival, and which recipients ended how.

    A recipient's last line decides. Addresses that were replaced by others (aliases) are not counted once the
    message is completed, nor are deliveries to nobody (``:blackhole:``).
    """
    kinds = {*_OUTCOMES, *_ARRIVALS, "suppressed_delivery", "completed", "host_error"}
    rows = (_message(message_id, rows) for message_id, rows in _by_message(log_lines, kinds))
    return tables.from_rows(rows, "messages")


def attempts(log_lines: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each message and host tried, as often as it was tried.

    A host line (``H=host [address]: error``) starts an attempt; the ``==``, ``**``, ``=>`` and ``->`` lines
    that follow for this host within a minute belong to it. Local deliveries are none, nor are hosts that Exim
    skipped (retry time not reached). ``outcome`` is that of this host: deferred, though another host may have
    taken the message.

    A connection on which TLS could not be started, so that Exim made another one without, is one of its own.

    On a receiving host a client that went away or fell silent is a failed attempt of that client; an arrival
    is none, it is in `messages`. Where Exim does not say how far a client came (command timeout) `phase` is
    ``<NA>``, unless there is a message id: then the data had begun.
    """
    kinds = {*_OUTCOMES, *_ARRIVALS, *_SESSIONS, "host_error"}
    found = [_finish(a) for _, rows in _by_message(log_lines, kinds) for a in _attempts(rows)]
    lost = log_lines[log_lines["message_id"].isna() & log_lines["kind"].isin(_SESSIONS)]
    found += [_finish(a) for row in _rows(lost) for a in _lost(row)]
    return tables.from_rows(found, "attempts").sort_values("end", kind="stable", ignore_index=True)


def _by_message(log_lines: pd.DataFrame, kinds: set[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield the lines of each message in order of time, some thousand lines at a time as Python objects."""
    chosen = log_lines.loc[log_lines["kind"].isin(kinds) & log_lines["message_id"].notna(), _USED]
    message = pd.factorize(chosen["message_id"])[0]
    time = chosen["time"].fillna(pd.Timestamp.max.tz_localize("UTC"))
    order = np.lexsort((time, message))
    starts = np.flatnonzero(np.diff(message[order], prepend=-1))
    edges = [*starts[np.searchsorted(starts, range(0, len(order), CHUNK))].tolist(), len(order)]
    for start, end in pairwise(edges):
        rows = _rows(chosen.iloc[order[start:end]])
        yield from ((name, list(group)) for name, group in groupby(rows, itemgetter("message_id")))


def _rows(log_lines: pd.DataFrame) -> Iterator[Row]:
    """Yield rows as dicts without the absent values."""
    columns = {n: log_lines[n].to_numpy(object, na_value=None) for n in _USED}  # type: ignore[call-overload]
    used = {name: values for name, values in columns.items() if any(v is not None for v in values)}
    for values in zip(*used.values(), strict=True):
        yield {name: value for name, value in zip(used, values, strict=True) if value is not None}


def _message(message_id: str, rows: list[Row]) -> Row:
    message = {"message_id": message_id, "file": rows[0]["file"], "line": rows[0]["line"]}
    ends: dict[str, str] = {}
    for row in rows:
        if row["kind"] in _ARRIVALS:
            message |= {column: row.get(name) for column, name in _ARRIVAL.items()}
        elif row["kind"] == "completed":
            message["completed"] = row.get("time")
        elif row["kind"] in _OUTCOMES and row.get("address", _NOWHERE[0]) not in _NOWHERE:
            ends[_recipient(row)] = _OUTCOMES[row["kind"]]
    if message.get("completed") is not None:
        ends = {recipient: end for recipient, end in ends.items() if end != "deferred"}
    counts = {end: sum(e == end for e in ends.values()) for end in ("delivered", "failed", "deferred")}
    outcomes = "\n".join(f"{end} {recipient}" for recipient, end in ends.items()) or None
    return message | counts | {"recipients": len(ends), "outcomes": outcomes}


_ARRIVAL = {name: name for name in ("size", "protocol", "header_message_id")}
_ARRIVAL |= {"arrival": "time", "sender": "address", "peer": "host_address", "bounce_of": "reference"}


def _recipient(row: Row) -> str:
    """Return the recipient's address; of a local delivery its local part, with the original's domain."""
    address, original = row["address"], row.get("original_address", "")
    if address.startswith(("|", "/", ">", ":")):
        return f"{address} {original}"
    return address if "@" in address else f"{address}@{original.rpartition('@')[2]}"


def _attempts(rows: list[Row]) -> list[Row]:
    """Return the attempts of one message, its lines in order."""
    out: list[Row] = []
    clients: list[Row] = []
    for row in rows:
        if row["kind"] == "host_error":
            _host_line(out, row)
        elif row["kind"] in _OUTCOMES:
            _address_line(out, row)
        elif row["kind"] in _SESSIONS:
            clients += _lost(row)
            out += _fallen_back(row)
    size = next((row.get("size") for row in rows if row["kind"] in _ARRIVALS), None)
    return clients + [{"size": size} | attempt for attempt in out]


def _fallen_back(row: Row) -> list[Row]:
    error = errors.fallback(row["text"].partition("\n")[0])
    return [_open(row, "deferred", error)] if error else []


def _host_line(attempts: list[Row], row: Row) -> None:
    text = errors.of_host(row["text"].partition("\n")[0], row.get("host_address"))
    attempt = _open(row, "deferred", text)
    last = attempts[-1] if attempts else attempt
    # Exim writes one such line for each recipient that was refused, where it has another host to try.
    same = attempt["phase"] == last["phase"] == "RCPT" and _same_host(last, row) and _near(last, row)
    if not same or last is attempt:
        attempts.append(attempt)
    if attempt["phase"] == "RCPT":
        attempts[-1]["refused"].add(text)


def _address_line(attempts: list[Row], row: Row) -> None:
    if row.get("errno", 0) <= _NOT_TRIED or row.get("text", "").startswith("retry time not reached"):
        return
    outcome, text = _OUTCOMES[row["kind"]], row.get("text", "").partition("\n")[0]
    near = takewhile(lambda attempt: _near(attempt, row), islice(reversed(attempts), HOSTS))
    attempt = next((a for a in near if _belongs(a, row, outcome, text)), None)
    if attempt is None:
        if "host_address" not in row:
            return
        attempt = _open(row, outcome, text)
        attempts.append(attempt)
    _add(attempt, row, outcome, text)


def _near(attempt: Row, row: Row) -> bool:
    return None not in (row.get("time"), attempt["seen"]) and row["time"] - attempt["seen"] <= NEAR


def _same_host(attempt: Row, row: Row) -> bool:
    ports = {attempt.get("peer_port"), row.get("host_port")} - {None}
    return attempt["peer"] == row.get("host_address") and len(ports) < 2


def _belongs(attempt: Row, row: Row, outcome: str, text: str) -> bool:
    """Tell whether an address line is of this attempt, which it follows within a minute."""
    before = attempt["addresses"].get(_recipient(row)) if "address" in row else None
    if outcome == "delivered":
        joins = attempt["outcome"] == "delivered" and row["kind"] == "additional_delivery"
        return _same_host(attempt, row) and before is None and (joins or attempt["phase"] in _FOR_ONE)
    if text.startswith("retry timeout exceeded"):
        return before == "deferred"
    if before is not None and (before, outcome) != ("deferred", "failed"):
        return False
    phase, error = _classify(text, row.get("errno"))
    if "host_address" in row:
        return _same_host(attempt, row) and (attempt["outcome"] != "delivered" or phase in _FOR_ONE)
    return attempt.get("error") == error and (error != "other" or attempt.get("text") == text)


def _open(row: Row, outcome: str, text: str) -> Row:
    phase, error = _classify(text, row.get("errno"))
    attempt = {"message_id": row.get("message_id"), "file": row["file"], "line": row["line"]}
    attempt |= {"host": row.get("host"), "peer": row.get("host_address"), "peer_port": row.get("host_port")}
    attempt |= {"outcome": outcome, "phase": phase, "error": error, "text": text, "end": row.get("time")}
    return attempt | {"addresses": {}, "refused": set(), "seen": row.get("time")} | _figures(row)


def _figures(row: Row) -> Row:
    return {column: row[name] for column, name in _FIGURES.items() if name in row}


_FIGURES = {name: name for name in ("size", "bytes_written", "errno", "smtp_code")}
_FIGURES |= {name: name for name in ("enhanced_status", "confirmation")}
_FIGURES |= {"client": "interface_address", "client_port": "interface_port", "duration": "delivery_time"}
_ERROR_COLUMNS = ("error", "text", "errno", "smtp_code", "enhanced_status", "bytes_written")


def _add(attempt: Row, row: Row, outcome: str, text: str) -> None:
    """Add a recipient's line: what it says fills what the attempt lacks; one delivery makes it delivered."""
    attempt["seen"] = row.get("time")
    if "address" in row:
        attempt["addresses"][_recipient(row)] = outcome
    if outcome == "delivered":
        attempt |= {"outcome": outcome, "phase": "end of data"} | dict.fromkeys(_ERROR_COLUMNS)
    elif attempt["outcome"] == "delivered":
        return
    elif outcome == "failed":
        attempt["outcome"] = outcome
    known = {name: value for name, value in attempt.items() if value not in (None, "")}
    attempt |= {"text": text} | _figures(row) | known


def _finish(attempt: Row) -> Row:
    """Return the attempt's row for the table."""
    end, duration = attempt.get("end"), attempt.get("duration")
    start = None if end is None or duration is None else end - pd.Timedelta(duration, "s")
    recipients = len(attempt.get("addresses") or attempt.get("refused", ())) or None
    return attempt | {"start": start, "recipients": recipients, "text": attempt.get("text") or None}


def _classify(text: str, errno: int | None) -> tuple[str | None, str | None]:
    """Return phase and class of the error that `text` and `errno` tell of."""
    found = errors.ERROR.match(text)
    if errors.HOST_ONLY.fullmatch(text):
        return "sending data block", _ERRNO_ERRORS.get(errno or 0, "other")
    if found is None:
        phase = _first(_TEXT_PHASES, text) or _ERRNO_PHASES.get(errno or 0)
        return phase, _first(_TEXT_ERRORS, text) or _ERRNO_ERRORS.get(errno or 0, "other")
    phase = next((phase for word, phase in _COMMAND_PHASES if found["command"].startswith(word)), None)
    if "error" in found["what"] or "Malformed" in found["what"]:
        return phase, {"4": "4xx", "5": "5xx"}.get((found["smtp_code"] or "")[:1], "other")
    return phase, "timeout" if "timeout" in found["what"] else "lost connection"


def _first(table: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((value for pattern, value in table if re.search(pattern, text)), None)


def _lost(row: Row) -> list[Row]:
    """Return the failed attempt of a client that went away or fell silent, if it was on the network."""
    text = row.get("text", "").partition("\n")[0]
    phase, error = errors.incoming(text)
    if error is None or "host_address" not in row:
        return []
    phase = phase or ("sending data block" if "message_id" in row else None)
    attempt = {name: row[old] for name, old in _LOST.items() if old in row}
    return [attempt | {"outcome": "failed", "phase": phase, "error": error, "text": text}]


_LOST = {name: name for name in ("message_id", "file", "line", "host", "duration")} | {"end": "time"}
_LOST |= {"client": "host_address", "client_port": "host_port"}
_LOST |= {"peer": "interface_address", "peer_port": "interface_port"}
