"""How each delivery failed: a row for each failed attempt of the log, and each failed connection without one.

The manner is read from the packets where there are any, else from the log, which often cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pandas as pd

from smtpkit import tables
from smtpkit.incident import Incident
from smtpkit.tables import ENDS, KEY, among

SOON = pd.Timedelta(seconds=2)  # between the clocks of the log and of the capture
CLOSING = 421  # service not available, closing transmission channel (RFC 5321 4.2.3)
BYE = 221  # the reply to QUIT
_TIMED_OUT = re.compile(r"time(?:d |[ -])?out", re.IGNORECASE)
LONG = 1.0  # s at a window of 0; less is a matter of round trips
LONGEST_QUIT = 64  # octets of a QUIT in TLS at the most, or of what ends TLS
FIRST_RTO = 3.0  # s after which a SYN is sent again, at the latest (RFC 1122 4.2.3.1; RFC 6298: 1 s)
REPEATED = pd.Timedelta(seconds=7)  # three repeats of a segment, from an RTO of 1 s on (RFC 6298 5.5)
PATIENCE = pd.Timedelta(seconds=30)  # in which most servers answer that are slow, and answer
TIMES = 3  # copies of what had arrived that are no accident
# What a log alone says of the manner, by the class of the error.
_LOGGED = {
    **dict.fromkeys(("refused", "unreachable"), "connect"),
    **dict.fromkeys(("4xx", "5xx"), "reply"),
    **dict.fromkeys(("lost connection", "broken pipe", "reset"), "close"),
    "TLS": "tls",
}


_UNANSWERED = ("timeout", "lost connection", "broken pipe", "reset")  # errors while an answer was due


def failures(incident: Incident) -> pd.DataFrame:
    """Return one row for each failed delivery.

    Returns
    -------
    DataFrame
        Table `failures`; what was not sent because of Exim's own limits is no failure of this kind.
    """
    failed = _failed(incident.attempts)
    endings = _endings(incident, failed)
    rows = [_of_attempt(one, endings.get((one.capture, one.stream))) for one in _rows(failed)]
    for one in _rows(_unlogged(incident)):
        ending = endings.get((one.capture, one.stream))
        if ending:
            rows.append({**_where(one), **ending, "time": one.end, "source": f"{one.file} frame {one.frame}"})
    return _without_second_names(tables.from_rows(rows, "failures"), incident)


def took_mail(incident: Incident) -> pd.Series:
    """Mark the connections on which a server is seen to accept a message: without SMTP none is."""
    ends, held = incident.connections, incident.transactions
    mail = ends["server_port"].isin(tables.SMTP_PORTS) & (ends["client"] != ends["server"])
    taken = held[(held["end"].notna() & (held["reply_code"] // 100 == 2)).fillna(False)]
    return mail & among(ends, taken)


def _failed(attempts: pd.DataFrame) -> pd.DataFrame:
    """Return the failed attempts over the network; a receiver's log need not name its own address."""
    remote = attempts["peer"] if attempts["peer"].notna().any() else attempts["client"]
    failed = attempts[(attempts["outcome"] != "delivered") & remote.notna()]
    return failed[failed["error"] != "local limit"]


def _unlogged(incident: Incident) -> pd.DataFrame:
    """Return the connections of which no log tells, at any capture point."""
    ends = incident.connections
    joined = ends[among(ends, incident.attempts.dropna(subset=KEY))]
    told = pd.MultiIndex.from_frame(joined[ENDS])
    return ends[~pd.MultiIndex.from_frame(ends[ENDS]).isin(told)].drop_duplicates([*ENDS, "start"])


def _without_second_names(failures: pd.DataFrame, incident: Incident) -> pd.DataFrame:
    """Leave out what the receiver's log tells of a delivery that the sender's log tells of as well."""
    ends = incident.connections.set_index(KEY)[ENDS]
    real = ends.reindex(pd.MultiIndex.from_frame(failures[KEY].astype("Int64"))).reset_index(drop=True)
    real["arrived"] = failures["message_id"].isin(incident.messages.dropna(subset="arrival")["message_id"])
    twice = real.groupby(ENDS)["arrived"].transform("max")
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
    return row | {"manner": _agreed(row["manner"], _logged_manner(one))}


def _agreed(seen: str, logged: str) -> str:
    """Let the log decide between what look alike on the wire: who closed, and what answered."""
    if seen == "close" and logged == "timeout":
        return "silence"
    return "reply" if seen in ("close", "silence") and logged == "reply" else seen


def _ends_a_wait(code: Any, text: Any) -> bool:
    """Say whether a reply answers nothing: the server has waited in vain for what it was to be sent."""
    return _true(code == CLOSING) and _known(text) and _TIMED_OUT.search(text) is not None


def _logged_manner(one: Any) -> str:
    error, phase = ("" if pd.isna(word) else word for word in (one.error, one.phase))
    if error == "timeout" or _ends_a_wait(one.smtp_code, one.text):
        return "connect" if phase == "connect" else "timeout"
    return _LOGGED.get(error, "unknown")


def _endings(incident: Incident, failed: pd.DataFrame) -> dict[tuple[int, int], dict[str, Any]]:
    """Return how connections ended, by their keys: those of failed attempts and those without a delivery."""
    ends = incident.connections
    delivered = incident.attempts[incident.attempts["outcome"] == "delivered"].dropna(subset=KEY)
    wanted = among(ends, failed.dropna(subset=KEY))
    unlogged = ends["server_port"].isin(tables.SMTP_PORTS) & ~among(ends, delivered)
    unlogged &= ~ends["server"].isin(incident.attempts["client"].dropna())  # mail handed in at this host
    ends = ends[(wanted | unlogged) & _two_sided(ends)].merge(
        incident.sessions, on=KEY, how="left", suffixes=("", "_session")
    )
    ends = ends.merge(_last(incident.transactions), on=KEY, how="left", suffixes=("", "_of"))
    for direction in ("forward", "reverse"):
        ends = ends.merge(_stuck(incident.stalls, direction), on=KEY, how="left")
    ends = ends.merge(_unheard(incident.packets, ends), on=KEY, how="left")
    ends = ends.merge(incident.captures[["capture", "last"]], on="capture", how="left")
    tried = failed.dropna(subset=KEY).groupby(KEY)
    logged = pd.DataFrame({"gave_up": tried["end"].max(), "error": tried["error"].last()})
    ends = ends.merge(logged, left_on=KEY, right_index=True, how="left")
    ahead = ends["capture"].map(incident.captures.set_index("capture")["clock_offset"]).fillna(0)
    ends["gave_up"] = (ends["gave_up"] - pd.to_timedelta(ahead, unit="s")).fillna(_closed_early(ends))
    watched = (ends["last"] - ends["start"]).dt.total_seconds()
    ends = ends.assign(unread=_unread(ends), waits=_waits(ends), watched=watched)
    found = {(one.capture, one.stream): _ending(one) for one in _rows(ends)}
    return {key: ending for key, ending in found.items() if ending}


def _closed_early(ends: pd.DataFrame) -> pd.Series:
    """Return when a client that no log tells of gave up: it closed without a QUIT, or while it waited.

    As far as all it said was captured; a client that closes its side may still wait, unless it resets, and
    the capture's end may hide what it waits for.
    """
    left = [ends["closed_by"] == "client", ends["quit"].eq(False), ends["gaps_forward"].eq(False)]
    known = pd.concat(left, axis="columns").fillna(False).astype(bool).all(axis="columns")
    waited = (ends["fin_forward"] - ends["waiting_since"]).dt.total_seconds() > LONG
    gone = _unread(ends) & (waited | ends["rst_forward"].notna())
    ended = ends[["fin_reverse", "rst_forward", "rst_reverse"]].notna().any(axis="columns")
    patient = (ends["fin_forward"] - ends["waiting_since"]).dt.total_seconds() > FIRST_RTO
    watched = (ends["last"] - ends["fin_forward"]).dt.total_seconds() > FIRST_RTO
    return ends["fin_forward"].where((known | gone) & (ended | patient | watched))


def _unread(ends: pd.DataFrame) -> pd.Series:
    """Mark the connections of which no SMTP tells whether an answer was due: TLS, or payload cut short.

    Of a reply of several lines the snap length may leave the first.
    """
    open_ = ends["data_open"].fillna(False).astype(bool)
    return (ends["answered"].isna() & ~open_) | ends["gaps_reverse"].fillna(False).astype(bool)


def _waits(ends: pd.DataFrame) -> pd.Series:
    """Mark the connections that one side left while an answer was due, as far as TCP alone tells.

    The last thing that a client says is QUIT, whose answer need not be waited for. So something longer must
    be unanswered, or the first thing said, or the client must have waited, be it for the greeting.
    """
    since = ends["waiting_since"]
    left = ends["close_time"].fillna(ends["fin_forward"]).fillna(ends["fin_reverse"])
    waited = (left - since).dt.total_seconds() > LONG
    asked = ends["waiting_bytes"]
    first = (asked > 0) & (asked == ends["bytes_sent_forward"])
    open_ = (waited | (asked > LONGEST_QUIT) | first).fillna(False)
    over = left.notna() | (ends["zero_window_time_forward"] > LONG).fillna(False)
    return (ends["handshake"] == "complete") & over & open_


def _two_sided(connections: pd.DataFrame) -> pd.Series:
    """Mark the connections that tell how they ended: a capture of one side's packets alone does not."""
    both = connections["last_forward"].notna() & connections["last_reverse"].notna()
    paths = connections.fillna({"bytes_sent_forward": 0}).groupby(["capture", "client", "server"])
    heard = paths["last_reverse"].transform("count") > 0
    went_on = paths["bytes_sent_forward"].transform("max") > 0
    return both | ((connections["handshake"] == "unanswered") & (heard | ~went_on))


def _last(transactions: pd.DataFrame) -> pd.DataFrame:
    """Return the last transaction of each connection."""
    last = transactions.drop_duplicates(KEY, keep="last")
    open_ = last["start"].notna() & last["end"].isna()
    found = last[[*KEY, "end_sent"]].assign(begun=last["start"])
    refused = last["reply_code"] >= 400
    return found.assign(
        phase_of_data=last["phase"], data_open=open_, answered_at=last["end"], refused=refused
    )


_OF_STALL = ("outstanding", "window", "start", "missing", "repeats")


def _stuck(stalls: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return what each connection had outstanding to the end in a direction, and the receiver's window."""
    open_ = stalls[(stalls["direction"] == direction) & (stalls["ended_by"] != "acknowledgment")]
    last = open_.drop_duplicates(KEY, keep="last")[[*KEY, *_OF_STALL]]
    return last.rename(columns=lambda name: name if name in KEY else f"{name}_{direction}")


def _unheard(packets: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """Count what the client sent again after its acknowledgment to the end, and what was seen of the server.

    What is acknowledged and sent again has acknowledgments that do not arrive.
    """
    again = packets[packets["spurious_retransmission"] & (packets["direction"] == "forward")]
    again = again[["capture", "stream", "time", "tcp_len"]].merge(ends[[*KEY, "last_new_forward"]], on=KEY)
    last = again[(again["tcp_len"] > 1) & (again["time"] > again["last_new_forward"])]
    said = packets[
        (packets["direction"] == "reverse") & ~packets["retransmission"] & (packets["tcp_len"] > 0)
    ]
    seen = said[among(said, ends)].groupby(KEY)["tcp_len"].sum().rename("seen_reverse")
    found = ends[KEY].merge(last.groupby(KEY).size().rename("unheard").reset_index(), on=KEY, how="left")
    return found.merge(seen.reset_index(), on=KEY, how="left").fillna({"unheard": 0, "seen_reverse": 0})


def _ending(one: Any) -> dict[str, Any] | None:
    """Tell the manner of one connection; None if it did not fail, or the capture does not hold its end."""
    manner, direction = _manner(one)
    if manner is None:
        return None
    phase = one.phase_of_data if _true(one.data_open) or _true(one.refused) else one.phase
    if one.unread and _true(one.bytes_sent_reverse > 0) and _known(phase) and phase == "banner":
        phase = pd.NA  # something was said, and not captured
    return {"manner": manner, "direction": direction, "phase": phase, "observed": True}


def _manner(one: Any) -> tuple[str | None, str | None]:
    """Return how a connection failed, and which way packets were lost: the first manner that holds."""
    if one.handshake in ("unanswered", "refused"):
        return ("connect" if _in_vain(one) else None), None
    if (direction := _lost(one)) and not _undecided(one):
        shut = direction == "forward" and _true(one.window_forward == 0)
        return ("window" if shut else "stall"), direction
    due = _due(one) and not _undecided(one)
    if due and _true(one.zero_window_time_forward > LONG):
        return "window", "forward"
    if _replied(one) or (_true(one.refused) and not due):
        return "reply", None
    if _ends_a_wait(one.last_reply_code, one.last_reply) and pd.isna(one.end_sent):
        return "stall", "forward"
    if due and _true(one.begun < one.gave_up) and _went_on(one):
        return "slow", None
    if _broken_tls(one, due):
        return "tls", None
    if not due or not (_known(one.gave_up) or _known(one.close_time)):
        return None, None
    return ("close" if _server_closed(one) else "silence"), None


def _undecided(one: Any) -> bool:
    """Say whether the capture ends while both sides may still go on, and no log tells what became of it."""
    if any(map(_known, (one.error, one.gave_up, one.fin_reverse, one.rst_forward, one.rst_reverse))):
        return False
    if _true(one.repeats_forward >= TIMES) or _true(one.repeats_reverse >= TIMES):
        return False
    stalled = [time for time in (one.start_forward, one.start_reverse) if _known(time)]
    if stalled:
        return _true(one.last - min(stalled) < REPEATED)
    return not _true(one.last - one.waiting_since > PATIENCE)


def _in_vain(one: Any) -> bool:
    """Say whether no connection came about: the capture's end may hide the answer to a last SYN."""
    tried = _true(one.syns > 1) or _true(one.watched > FIRST_RTO)
    return one.handshake == "refused" or tried or _known(one.error)


def _went_on(one: Any) -> bool:
    """Say whether data still arrived when the client had given up; a FIN follows all of it (RFC 9293 3.6)."""
    late = one.gave_up + SOON
    return _true(one.fin_forward > late) or (_true(one.last_new_forward > late) and pd.isna(one.fin_forward))


def _broken_tls(one: Any, due: bool) -> bool:
    """Say whether the TLS handshake ended early; where octets are missing, its end may be among them."""
    if _known(one.error) and one.error == "TLS":
        return True  # it may not even have begun, where STARTTLS is hidden or refused
    if not _known(one.phase) or one.phase != "TLS":
        return False
    if _known(one.tls_alert):
        return True
    whole = not (_true(one.gaps_forward) or _true(one.gaps_reverse))
    return whole or (due and one.tls == "client hello")


def _lost(one: Any) -> str | None:
    """Say which way packets were lost to the end: data, or the acknowledgments of data that had arrived."""
    replied = _replied(one)
    if replied and _known(one.error) and one.error == "timeout":
        return "forward"  # the server's log says that it waited in vain: its reply only ends that
    if _true(one.outstanding_forward > 0) and not (replied and one.last_reply_time < one.start_forward):
        return "forward"
    if _true(one.outstanding_reverse > 0) and not _to_nobody(one):
        return "reverse"
    if not _due(one):
        return None
    unacknowledged = one.bytes_sent_forward - one.bytes_acknowledged_forward
    if _known(one.gave_up) and _true(unacknowledged > LONGEST_QUIT) and not _server_closed(one):
        return "forward"  # the capture ends too soon for a stall
    sent = one.bytes_sent_reverse
    missed = _true(sent > one.bytes_acknowledged_reverse) and _true(sent > one.seen_reverse)
    return "reverse" if missed or _true(one.unheard >= TIMES) else None


def _replied(one: Any) -> bool:
    """Say whether the last thing that the server said, while the client waited, refuses what it was sent."""
    answered = _true(one.answered) or _true(one.last_reply_code == CLOSING)
    waited = _ends_a_wait(one.last_reply_code, one.last_reply)
    refuses = _true(one.last_reply_code >= 400) and answered and not waited
    return refuses and not _true(one.last_reply_time > one.gave_up)


def _due(one: Any) -> bool:
    """Say whether an answer of the server is missing, or came when the client had given up."""
    if _true(one.answered_at > one.gave_up):
        return True
    if _known(one.phase) and one.phase == "QUIT":
        return False  # all before it was answered
    if _true(one.last_reply_time > one.gave_up):
        return True
    if one.handshake == "complete" and pd.isna(one.initial_rtt):
        return False  # the SYN-ACK came when the client had gone
    if one.unread:
        return one.error in _UNANSWERED if _known(one.error) else bool(one.waits)
    bye = _true(one.last_reply_code == BYE)  # replies come in order: all before it was answered
    return (_true(one.data_open) and not bye) or (_known(one.answered) and not one.answered)


def _to_nobody(one: Any) -> bool:
    """Say whether the server sent what is outstanding to a client that had gone: that is of no matter."""
    gone = _true(one.start_reverse > one.fin_forward) and _known(one.rst_forward)
    return gone or _true(one.start_reverse > one.gave_up)


def _server_closed(one: Any) -> bool:
    """Say whether a FIN or RST of the server came while its answer was due and the client still waited."""
    clocks = SOON if _known(one.error) else pd.Timedelta(0)
    times = [time for time in (one.fin_reverse, one.rst_reverse) if not pd.isna(time)]
    return bool(times) and (pd.isna(one.gave_up) or min(times) <= one.gave_up + clocks)


def _known(value: Any) -> bool:
    return not pd.isna(value)


def _true(value: Any) -> bool:
    return _known(value) and bool(value)
