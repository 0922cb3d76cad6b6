"""How each delivery failed: a row for each failed attempt of the log, and each failed connection without one.

The manner is read from the packets where there are any, else from the log, which often cannot tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from smtpkit import tables
from smtpkit.incident import Incident, among

_KEY = ["capture", "stream"]
_ENDS = ["client", "client_port", "server", "server_port"]
SOON = pd.Timedelta(seconds=2)  # between the clocks of the log and of the capture
LONG = 1.0  # s at a window of 0; less is a matter of round trips
# What a log alone says of the manner, by the class of the error.
_LOGGED = {
    **dict.fromkeys(("refused", "unreachable"), "connect"),
    **dict.fromkeys(("4xx", "5xx"), "reply"),
    **dict.fromkeys(("lost connection", "broken pipe", "reset"), "close"),
    "TLS": "tls",
}


def failures(incident: Incident) -> pd.DataFrame:
    """Return one row for each failed delivery.

    Returns
    -------
    DataFrame
        Table `failures`; what was not sent because of Exim's own limits is no failure of this kind.
    """
    attempts = incident.attempts
    failed = attempts[(attempts["outcome"] != "delivered") & attempts["peer"].notna()]
    failed = failed[failed["error"] != "local limit"]
    endings = _endings(incident, failed)
    rows = [_of_attempt(one, endings.get((one.capture, one.stream))) for one in _rows(failed)]
    for one in _rows(_unlogged(incident)):
        ending = endings.get((one.capture, one.stream))
        if ending:
            rows.append({**_where(one), **ending, "time": one.end, "source": f"{one.file} frame {one.frame}"})
    return _without_second_names(tables.from_rows(rows, "failures"), incident)


def _unlogged(incident: Incident) -> pd.DataFrame:
    """Return the connections of which no log tells, at any capture point."""
    ends = incident.connections
    joined = ends[among(ends, incident.attempts.dropna(subset=_KEY))]
    told = pd.MultiIndex.from_frame(joined[_ENDS])
    return ends[~pd.MultiIndex.from_frame(ends[_ENDS]).isin(told)].drop_duplicates([*_ENDS, "start"])


def _without_second_names(failures: pd.DataFrame, incident: Incident) -> pd.DataFrame:
    """Leave out what the receiver's log tells of a delivery that the sender's log tells of as well."""
    ends = incident.connections.set_index(_KEY)[["client", "client_port", "server", "server_port"]]
    real = ends.reindex(pd.MultiIndex.from_frame(failures[_KEY].astype("Int64"))).reset_index(drop=True)
    real["arrived"] = failures["message_id"].isin(incident.messages.dropna(subset="arrival")["message_id"])
    twice = real.groupby(["client", "client_port", "server", "server_port"])["arrived"].transform("max")
    second = twice.fillna(False).astype(bool) & ~real["arrived"]
    return failures[~second.to_numpy()].reset_index(drop=True)


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    yield from frame.itertuples(index=False)


def _where(one: Any) -> dict[str, Any]:
    return {"capture": one.capture, "stream": one.stream, "peer": one.server, "client": one.client}


def _of_attempt(one: Any, ending: dict[str, Any] | None) -> dict[str, Any]:
    """Return the row of an attempt: how its connection ended, else what the log says."""
    names = ("peer", "client", "message_id", "capture", "stream", "phase")
    row = {
        **{name: getattr(one, name) for name in names},
        "time": one.end,
        "manner": _logged_manner(one),
        "source": f"{one.file} line {one.line}",
        "observed": False,
    }
    if ending is None:
        return row
    row |= ending | {"phase": one.phase if _known(one.phase) else ending["phase"]}
    return row | {"manner": _agreed(row["manner"], one.error)}


def _agreed(seen: str, error: Any) -> str:
    """Let the log decide between what look alike on the wire: who closed, and what answered."""
    if seen == "close" and _known(error) and error == "timeout":
        return "silence"
    return "reply" if seen in ("close", "silence") and _known(error) and error in ("4xx", "5xx") else seen


def _logged_manner(one: Any) -> str:
    error, phase = ("" if pd.isna(word) else word for word in (one.error, one.phase))
    if error == "timeout":
        return "connect" if phase == "connect" else "timeout"
    return _LOGGED.get(error, "unknown")


def _endings(incident: Incident, failed: pd.DataFrame) -> dict[tuple[int, int], dict[str, Any]]:
    """Return how connections ended, by their keys: those of failed attempts and those without a delivery."""
    ends = incident.connections
    delivered = incident.attempts[incident.attempts["outcome"] == "delivered"].dropna(subset=_KEY)
    wanted = among(ends, failed.dropna(subset=_KEY))
    unlogged = ends["server_port"].isin(tables.SMTP_PORTS) & ~among(ends, delivered)
    unlogged &= ~ends["server"].isin(incident.attempts["client"].dropna())  # mail handed in at this host
    ends = ends[wanted | unlogged].merge(incident.sessions, on=_KEY, how="left", suffixes=("", "_session"))
    ends = ends.merge(_last(incident.transactions), on=_KEY, how="left", suffixes=("", "_of"))
    for direction in ("forward", "reverse"):
        ends = ends.merge(_stuck(incident.stalls, direction), on=_KEY, how="left")
    tried = failed.dropna(subset=_KEY).groupby(_KEY)
    logged = pd.DataFrame({"gave_up": tried["end"].max(), "error": tried["error"].last()})
    ends = ends.merge(logged, left_on=_KEY, right_index=True, how="left")
    found = {(one.capture, one.stream): _ending(one) for one in _rows(ends)}
    return {key: ending for key, ending in found.items() if ending}


def _last(transactions: pd.DataFrame) -> pd.DataFrame:
    """Return the last transaction of each connection."""
    last = transactions.drop_duplicates(_KEY, keep="last")
    open_ = last["start"].notna() & last["end"].isna()
    return last[_KEY].assign(phase_of_data=last["phase"], data_open=open_, answered_at=last["end"])


def _stuck(stalls: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return what each connection had outstanding to the end in a direction, and the receiver's window."""
    open_ = stalls[(stalls["direction"] == direction) & (stalls["ended_by"] != "acknowledgment")]
    last = open_.drop_duplicates(_KEY, keep="last")[[*_KEY, "outstanding", "window", "start", "missing"]]
    return last.rename(columns=lambda name: name if name in _KEY else f"{name}_{direction}")


def _ending(one: Any) -> dict[str, Any] | None:
    """Tell the manner of one connection; None if it did not fail, or the capture does not hold its end."""
    manner, direction = _manner(one)
    if manner is None:
        return None
    phase = one.phase_of_data if _true(one.data_open) else one.phase
    return {"manner": manner, "direction": direction, "phase": phase, "observed": True}


def _manner(one: Any) -> tuple[str | None, str | None]:
    if one.handshake in ("unanswered", "refused"):
        return "connect", None
    replied = _true(one.last_reply_code >= 400) and _true(one.answered)
    replied &= not _true(one.last_reply_time > one.gave_up)
    if replied and _known(one.error) and one.error == "timeout":
        return "stall", "forward"  # the server's log says that it waited in vain: its 421 only ends that
    if _true(one.outstanding_forward > 0) and not (replied and one.last_reply_time < one.start_forward):
        return ("window" if _true(one.window_forward == 0) else "stall"), "forward"
    # What the server sends to a client that has gone is of no matter.
    if _true(one.outstanding_reverse > 0) and not _true(one.start_reverse > one.gave_up):
        return "stall", "reverse"
    late = _true(one.answered_at > one.gave_up) or _true(one.last_reply_time > one.gave_up)
    open_ = late or _true(one.data_open) or (_known(one.answered) and not one.answered)
    if _true(one.zero_window_time_forward > LONG) and open_:
        return "window", "forward"
    if replied:
        return "reply", None
    if _known(one.phase) and one.phase == "TLS":
        return "tls", None
    if not open_ or not (_known(one.gave_up) or _known(one.close_time)):
        return None, None
    return ("close" if _server_closed(one) else "silence"), None


def _server_closed(one: Any) -> bool:
    """Say whether a FIN or RST of the server came while its answer was due and the client still waited."""
    times = [time for time in (one.fin_reverse, one.rst_reverse) if not pd.isna(time)]
    return bool(times) and (pd.isna(one.gave_up) or min(times) <= one.gave_up + SOON)


def _known(value: Any) -> bool:
    return not pd.isna(value)


def _true(value: Any) -> bool:
    return _known(value) and bool(value)
