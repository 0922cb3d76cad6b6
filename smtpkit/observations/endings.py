"""How the deliveries of a group ended: who closed, what was acknowledged, whether anything still passed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from smtpkit.observations.failures import LONGEST_QUIT
from smtpkit.observations.groups import Group
from smtpkit.observations.names import NAMES
from smtpkit.observations.statement import IN_DATA, frame, most, number, seen
from smtpkit.tables import ENDS, KEY, among

A_WHILE = 1.0  # s; less is a matter of round trips
A_MOMENT = pd.Timedelta(seconds=1)
STEADY = 0.15  # relative spread of a time or a count that is called the same each time
FIRST_FLIGHT = 16_000  # bytes; up to this nothing may have been acknowledged yet (RFC 6928)
SMALL = 100  # bytes: keep-alives and bare acknowledgments
LONGEST_LINE = 512  # octets of a command or reply, RFC 5321 4.5.3.1.4; more is message data

_MANNERS = {
    "unreached": ("connect", "No TCP connection came about."),
    "replied": ("reply", "The server refused with a reply of its own."),
    "tls_broken": ("tls", "TLS did not come about, and nothing of it was lost."),
    "unacknowledged": ("stall", "Data that was sent was never acknowledged."),
    "window_closed": ("window", "The server's window closed and stayed closed."),
    "hung_up": ("close", "The connection was closed by the server, or in its name, without an answer."),
    "unfinished": ("slow", "The data was still on its way, and arriving, when the client gave up."),
    "unanswered": ("silence", "All that was sent was acknowledged, and the answer never came."),
}
# What an error of the log may have been on the wire.
_MAY_BE = {
    "timeout": ("unacknowledged", "window_closed", "unfinished", "unanswered", "unreached"),
    "close": ("unacknowledged", "hung_up"),
    "unknown": tuple(_MANNERS),
}
_WIRE = ("oversize_lost", "smaller_pass", "fragmentable", "forgotten", "same_moment")  # the packets tell
_NOT_SO = {
    "oversize_lost": "Neither side had sent so much yet that it takes a large packet.",
    "fragmentable": "No router could have fragmented a packet: none was large, or it is IPv6 (RFC 8200 5).",
}
# What can be so in some phases only: no SYN has an answer yet, or there is enough to send.
_IN_PHASES = {
    "unreached": ("connect", "banner"),
    **dict.fromkeys(("window_closed", "unfinished"), IN_DATA),
    **dict.fromkeys(("oversize_lost", "fragmentable"), ("STARTTLS", "TLS", *IN_DATA)),
}


def observe_ending(group: Group) -> Iterator[dict[str, Any]]:
    """Yield what was seen of a group's end."""
    yield from _manner(group)
    for look in _OF_MANNER.get(group.manner, ()):
        yield from look(group)


def _manner(group: Group) -> Iterator[dict[str, Any]]:
    open_ = [name for name in _open(group) if _can_be(group, name)]
    count, figures = number(len(group.failures), "attempt"), _figures(group)
    for name, (manner, sentence) in _MANNERS.items():
        if name in open_:
            yield seen(name, pd.NA, f"Whether this is so, the log alone cannot tell: {sentence}")
        elif group.manner == manner:
            yield seen(name, True, f"{sentence[:-1]} ({count}).", group.source, **figures)
        else:
            yield seen(name, False, _otherwise(group, sentence), group.source)
    for name in _WIRE if open_ else ():
        possible = _can_be(group, name)
        sentence = f"Whether {NAMES[name]}: no packets are at hand."
        yield seen(name, pd.NA if possible else False, sentence if possible else _NOT_SO[name])
    if not group.failures["observed"].any():
        yield seen("failed_so", pd.NA, "", **figures)


def _open(group: Group) -> tuple[str, ...]:
    """Name what the log leaves open, where no packets tell of a failure."""
    return () if group.failures["observed"].any() else _MAY_BE.get(group.manner, ())


def _can_be(group: Group, name: str) -> bool:
    """Say whether something is possible in one of the phases that the failures came to, unknown ones too."""
    phases = group.failures["phase"]
    if name == "fragmentable" and ":" in group.peer:
        return False
    return name not in _IN_PHASES or bool((phases.isna() | phases.isin(_IN_PHASES[name])).any())


def _otherwise(group: Group, sentence: str) -> str:
    _, is_ = next(
        ((n, s) for n, (m, s) in _MANNERS.items() if m == group.manner), ("", "It failed otherwise.")
    )
    return is_


def _figures(group: Group) -> dict[str, Any]:
    """Return the numbers that sentences and commands want."""
    phases = group.failures["phase"].dropna()
    held, ends = group.transactions, group.connections
    found = {
        "phase": phases.mode().iloc[0] if len(phases) else None,
        "port": int(ends["server_port"].mode().iloc[0]) if len(ends) else None,
        "message": next(iter(group.failures["message_id"].dropna()), None),
        "verb": held["verb"].dropna().mode().iloc[0] if held["verb"].notna().any() else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _unreached(group: Group) -> Iterator[dict[str, Any]]:
    ends, errors = group.connections, group.attempts["error"]
    refused = int((ends["handshake"] == "refused").sum()) or int((errors == "refused").sum())
    unreachable = int(ends["unreachable_type"].notna().sum()) or int((errors == "unreachable").sum())
    silent = ends[(ends["handshake"] == "unanswered") & ends["unreachable_type"].isna()]
    way = "refused" if refused else "unreachable" if unreachable else "swallowed" if len(silent) else None
    yield seen("refused", refused > 0, f"{number(refused, 'attempt')} met a RST.", group.source)
    icmp = f"ICMP, or the system, says that the server cannot be reached ({number(unreachable, 'attempt')})."
    yield seen("unreachable", unreachable > 0, icmp, group.source, way=way)
    sentence = (
        f"{number(int(silent['syns'].sum()), 'SYN')} on {number(len(silent), 'connection')} had no answer."
    )
    yield seen("syn_unanswered", len(silent) > 0 if len(ends) else pd.NA, sentence, group.source)


def _replied(group: Group) -> Iterator[dict[str, Any]]:
    codes = group.attempts["smtp_code"].dropna()
    if codes.empty:
        said = group.of("dialogue")
        codes = said[(said["reply_code"] >= 400).fillna(False)].drop_duplicates(KEY)["reply_code"]
    if len(codes):
        named = ", ".join(map(str, sorted(set(codes.astype(int)))))
        yield seen(
            "replied",
            True,
            f"The server's replies: {named}.",
            group.source,
            reply_code=int(codes.mode().iloc[0]),
        )


def _broken_tls(group: Group) -> Iterator[dict[str, Any]]:
    sessions, ends = group.of("sessions"), group.connections
    alerts = sessions.dropna(subset="tls_alert")
    closed = int(((ends["closed_by"] == "server") & ~among(ends, alerts)).sum())
    if len(alerts):
        alert = int(alerts["tls_alert"].iloc[0])
        sentence = f"The {alerts['tls_alert_by'].iloc[0]} ended it with TLS alert {alert}."
        yield seen("tls_alert", True, sentence, group.source, tls_alert=alert)
    hidden = sessions[sessions["starttls"].eq("not offered").fillna(False)]
    if len(hidden):
        sentence = f"STARTTLS was not offered on {number(len(hidden), 'connection')}."
        source = frame(hidden["file"].iloc[0], hidden["frame"].iloc[0])
        yield seen("tls_not_offered", True, sentence, source, tls_not_offered=True)
    sentence = f"The server closed {number(closed, 'handshake')} without an alert."
    yield seen("tls_closed", closed > 0 if len(ends) else pd.NA, sentence, group.source)
    clear = group.delivered["message_id"].isin(group.failures["message_id"].dropna())
    sentence = f"{number(int(clear.sum()), 'message')} were delivered in clear afterwards."
    yield seen("clear_text_passes", bool(clear.any()), sentence, group.source)


def _hung_up(group: Group) -> Iterator[dict[str, Any]]:
    yield from _forged(group)
    ends, held = group.connections, group.transactions
    after = most(_end_acknowledged(group))
    dot = "The end of the data had been acknowledged when the connection was closed."
    yield seen(
        "end_acknowledged", after, dot if after is True else "It had not been acknowledged.", group.source
    )
    phases = group.failures["phase"]
    earlier = held.empty and bool((phases != "end of data").fillna(False).all())
    yield seen("after_dot", False if earlier else after, dot, after_dot=after is True)
    left = ends["fin_reverse"].fillna(ends["rst_reverse"]).fillna(ends["close_time"])
    waits = (left - ends["last_new_forward"]).dt.total_seconds().dropna()
    wait = float(waits.median()) if len(waits) else 0.0
    steady = len(waits) > 2 and wait > A_WHILE and _steady(waits)
    sentence = f"It was closed {wait:.1f} s after the last data, each time."
    yield seen("constant_wait", bool(steady), sentence, group.source, seconds=round(wait, 1))
    taken = ends["bytes_acknowledged_forward"].astype(float)
    same = len(taken) > 2 and _steady(taken)
    yield seen("same_place", bool(same), f"Each time after some {taken.mean():.0f} bytes.", group.source)


def _end_acknowledged(group: Group) -> pd.Series:
    """Say of each connection whether the end of the data was acknowledged.

    Where the snap length hides the final dot, the log says that it was sent, and the sequence numbers that
    all was acknowledged.
    """
    known = group.transactions.set_index(KEY)["end_acknowledged"].astype("boolean")
    ends = group.connections.set_index(KEY)
    missing = ends["bytes_sent_forward"] - ends["bytes_acknowledged_forward"]
    left = missing.where(ends["closed_by"].ne("server").fillna(True), missing - LONGEST_QUIT)
    whole = left <= 0  # what ends TLS may come when the server has left
    all_sent = group.failures[group.failures["phase"] == "end of data"].dropna(subset=KEY)
    sent = whole.index.isin(pd.MultiIndex.from_frame(all_sent[KEY].astype("int64")))
    return known.reindex(whole.index).fillna(
        (whole & sent).astype("boolean").where(pd.Series(sent, whole.index))
    )


def _forged(group: Group) -> Iterator[dict[str, Any]]:
    ends = group.connections
    forged = ends[ends["reset_forged"].fillna(False).astype(bool)]
    if forged.empty:
        yield seen("reset_forged", most(ends["reset_forged"]), "No RST is unlike its host's other packets.")
        return
    row = forged.iloc[0]
    sentence = (
        f"{number(len(forged), 'RST')} bear the address of a host whose packets they are unlike "
        f"(TTL {row['reset_ttl']} where the server's have {row['ttl_server']}): somebody on the "
        f"way sent them."
    )
    yield seen("reset_forged", True, sentence, f"{row['file']} frame {row['reset_frame']}", reset_forged=True)


def _unanswered(group: Group) -> Iterator[dict[str, Any]]:
    held = group.transactions
    after = most(_end_acknowledged(group))
    sentence = "The end of the data was acknowledged, and no answer came."
    yield seen("end_acknowledged", after, sentence, group.source)
    late = int(held["reply_code"].notna().sum())
    yield seen(
        "late_answer", late > 0, f"{number(late, 'answer')} came when the client had given up.", group.source
    )
    tried = group.attempts.merge(group.connections, on=KEY, how="left", suffixes=("", "_of"))
    # What ends TLS, and acknowledgments, may come after the client gave up.
    since = tried["last_new_forward"].where(tried["last_new_forward"] < tried["end"], tried["waiting_since"])
    waited = (tried["end"] - since).dt.total_seconds()
    waited = waited[waited > 0]
    if waited.notna().any():
        yield seen("unanswered", True, "", group.source, seconds=round(float(waited.median()), 1))


def _closed_window(group: Group) -> Iterator[dict[str, Any]]:
    waited = group.connections["zero_window_time_forward"].max()
    sentence = f"The client waited up to {waited:.0f} s at a window of 0."
    probed = bool(waited > A_WHILE) if not pd.isna(waited) else pd.NA
    yield seen(
        "probes_answered",
        probed,
        sentence,
        group.source,
        seconds=None if pd.isna(waited) else round(float(waited), 1),
    )


def _dead(group: Group) -> Iterator[dict[str, Any]]:
    """Tell of the moment from which nothing passed, or at which somebody on the way ended the connection."""
    ends = group.connections
    forged = ends["reset_forged"].fillna(False).astype(bool)
    known = ends["dead_packets_forward"].notna() | ends["dead_packets_reverse"].notna() | forged
    died = _sizes_died(ends) | among(ends, _passed_before(group))
    gone = ends[(ends["dead_from"].notna() & died) | forged]
    if gone.empty:
        alive = known.any() and (group.manner != "silence" or _heard_after(ends))
        sentence = (
            "Packets went on passing." if alive else "Whether the path still passed packets after the wait."
        )
        yield seen("forgotten", False if alive else pd.NA, sentence, group.source)
        return
    several = 2 * len(gone.drop_duplicates(ENDS)) > len(ends[known].drop_duplicates(ENDS))
    yield seen("forgotten", several, _of_dead(gone), group.source)
    told = [*_after_pause(group, gone), *_at_age(group, gone)]
    told += _after_octets(group, gone, otherwise=not any(row["value"] for row in told))
    yield from told
    same = any(row["value"] for row in told)
    sentence = "It comes after the same pause, number of bytes or time each time."
    yield seen("same_moment", same, sentence, group.source)
    before = bool((gone["bytes_acknowledged_forward"] > LONGEST_LINE).any())
    sentence = "Message data had been acknowledged before."  # of a first flight nobody knows
    yield seen("passed_before", before or pd.NA, sentence, group.source)


def _moment(gone: pd.DataFrame) -> pd.Series:
    """Return when the first packet was sent in vain: the connection was forgotten by then."""
    return gone["dead_from"].fillna(gone["close_time"])


def _after_pause(group: Group, gone: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Hold the shortest pause that was fatal against the longest that was not."""
    pauses = gone["pause_start"] + pd.to_timedelta(gone["max_pause"], unit="s")
    quiet = gone[((pauses - _moment(gone)).abs() < A_MOMENT) & (gone["max_pause"] > A_WHILE)]
    pause = float(quiet["max_pause"].min()) if len(quiet) else 0.0
    survived = _passed(group)["max_pause"]
    longest = survived[survived.between(A_WHILE, pause, inclusive="left")]
    low = round(float(longest.max()), 1) if len(longest) else None
    sentence = f"Before that nobody had sent anything for {pause:.0f} s or more"
    sentence += f"; connections that passed paused for up to {low:.0f} s." if low else "."
    after = 2 * len(quiet) > len(gone)
    figures: dict[str, Any] = {"pause": round(pause, 1), "pause_low": low} if after else {}
    yield seen("after_pause", after, sentence, group.source, **figures)


def _at_age(group: Group, gone: pd.DataFrame) -> Iterator[dict[str, Any]]:
    ages = (_moment(gone) - gone["start"]).dt.total_seconds()
    old = _steady(ages) and ages.mean() > A_WHILE
    figures = {"age": round(float(ages.mean()), 1)} if old else {}
    sentence = f"Each time {ages.mean():.0f} s after its first packet."
    yield seen("at_age", old, sentence, group.source, **figures)


def _after_octets(group: Group, gone: pd.DataFrame, *, otherwise: bool) -> Iterator[dict[str, Any]]:
    """Say whether it came after as many bytes each time, as far as either end tells.

    It came after all that was acknowledged, and before all that was sent. Where nothing else tells the
    moment, it is enough that some number fits all of these, and that all that passed carried less.
    """
    ends = group.connections.merge(gone[ENDS].drop_duplicates(), on=ENDS)
    low, high = (
        ends.assign(octets=ends[f"bytes_{word}_forward"] + ends[f"bytes_{word}_reverse"])
        .groupby(ENDS)["octets"]
        .max()
        for word in ("acknowledged", "sent")
    )
    if _steady(low) and low.mean() > FIRST_FLIGHT:
        sentence = f"Each time after some {low.mean():.0f} bytes."
        yield seen("after_octets", True, sentence, group.source, octets=round(low.mean()))
        return
    passed = _passed(group)
    carried = passed["bytes_sent_forward"] + passed["bytes_sent_reverse"]
    several = len(low) > 1 and len(passed) > 1 and otherwise
    least, most_ = int(low.max()), int(high.min())
    fits = several and max(least, carried.max()) < most_
    sentence = (
        f"The {len(low)} connections on which it happened sent {most_} bytes or more, of which up to "
        f"{least} were acknowledged; those that passed sent up to {carried.max()}."
    )
    figures = {"octets_low": int(max(least, carried.max())), "octets_high": most_} if fits else {}
    yield seen("after_octets", bool(fits), sentence, group.source, **figures)


def _passed(group: Group) -> pd.DataFrame:
    """Return the connections between the same hosts on which all was acknowledged."""
    ends = group.incident.connections
    here = (ends["server"] == group.peer) & (ends["client"] == group.client).fillna(False)
    whole = ends["bytes_acknowledged_forward"] >= ends["bytes_sent_forward"]
    return ends[here & whole & (ends["handshake"] == "complete") & ~among(ends, group.connections)]


def _heard_after(ends: pd.DataFrame) -> bool:
    """Say whether the server was heard once the client had waited, on most of the connections."""
    later = (ends["last_reverse"] - ends["last_new_forward"]).dt.total_seconds() > A_WHILE
    return bool(2 * later.sum() > len(ends))


def _sizes_died(ends: pd.DataFrame) -> pd.Series:
    """Say whether packets of several sizes died, or of both sides: one alone may have died for itself."""
    several = (ends["dead_smallest_forward"] < ends["dead_largest_forward"]).fillna(False)
    small = (ends["dead_largest_forward"] <= SMALL).fillna(
        False
    )  # no link and no filter is known to mind them
    return several | small | (ends["dead_packets_reverse"] > 0).fillna(False)


def _passed_before(group: Group) -> pd.DataFrame:
    """Return stalls at packets of a size that had passed before, behind which nothing passes."""
    stalls = group.of("stalls")
    known = stalls["delivered_before"] >= stalls["repeat_ip_len"]
    return stalls[known.fillna(False) & (stalls["passed"] == 0).fillna(False)]


def _of_dead(gone: pd.DataFrame) -> str:
    packets = int(gone[["dead_packets_forward", "dead_packets_reverse"]].sum().sum())
    if not packets:
        return f"{number(len(gone), 'connection')} were ended by a RST that is not the server's."
    small = gone[["dead_smallest_forward", "dead_smallest_reverse"]].min().min()
    return (
        f"On {number(len(gone), 'connection')} nothing passed any more from some moment on, either way: "
        f"{number(packets, 'packet')}, down to {small} bytes."
    )


def _steady(values: pd.Series) -> bool:
    """Say whether values are the same each time, but for a little."""
    known = values.dropna().astype(float)
    return len(known) > 1 and bool(known.std() < STEADY * known.mean())


_OF_MANNER = {
    "connect": (_unreached,),
    "reply": (_replied,),
    "tls": (_broken_tls,),
    "close": (_hung_up, _dead),
    "silence": (_unanswered, _dead),
    "window": (_closed_window,),
    "stall": (_forged, _dead),
}
