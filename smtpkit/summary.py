"""The small tables under the figures: few rows, headings for people, units in brackets.

Each is made of a table of the incident; as there, what is not known is ``<NA>``.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from smtpkit import correlation, phrases
from smtpkit.incident import Incident
from smtpkit.observations import failures
from smtpkit.observations.groups import groups

FEW = 5  # rows
_FEATURES = {
    "pattern": "the bytes of the verdict",
    "data_size": "octets of data",
    "logged_size": "size in the log",
    "longest_line": "octets of the longest line",
    "nul_count": "binary zeros",
    "nul_last": "binary zero before the final CRLF",
    "split": "end of data cut over packets",
}


def stalls(stalls: pd.DataFrame) -> pd.DataFrame:
    """Return the longest stalls of table `stalls`."""
    longest = stalls.sort_values("duration", ascending=False, kind="stable").head(FEW)
    columns = {
        "capture": "Capture",
        "stream": "tcp.stream",
        "direction": "Direction",
        "start": "Began (UTC)",
        "duration": "Took [s]",
        "outstanding": "Outstanding [byte]",
        "repeats": "Sent again",
        "repeat_ip_len": "In IP packets of [byte]",
        "backoff": "Each wait, times the one before",
        "ended_by": "Ended by",
    }
    return longest[list(columns)].rename(columns=columns).round({"Took [s]": 1, columns["backoff"]: 1})


def sizes(sizes: pd.DataFrame) -> pd.DataFrame:
    """Return the largest packet sizes of table `sizes`, of one path and direction, offload left out."""
    names = ["sent", "delivered", "lost", "times_lost"]
    single = sizes[~sizes["offload"]].groupby("ip_len")
    found = single[names[:3]].sum().join(single["times_lost"].max()).iloc[::-1].head(FEW).reset_index()
    heads = ["IP packet [byte]", "Sent", "Delivered", "Lost", "One segment lost, times"]
    return found.set_axis(heads, axis="columns")


def loss(loss_rates: pd.DataFrame) -> pd.DataFrame:
    """Return table `loss_rates` with its intervals, of one path and direction."""
    rates = loss_rates.sort_values("low")
    edges = zip(rates["low"], rates["high"], strict=True)
    percent = (100 * rates[["rate", "rate_low", "rate_high"]].astype(float)).round(1)
    return pd.DataFrame(
        {
            "IP packet [byte]": [
                f"from {low}" if pd.isna(high) else f"{low} to {high}" for low, high in edges
            ],
            "Sent": rates["sent"],
            "Lost": rates["lost"],
            "Lost [%]": percent["rate"],
            "95% interval [%]": percent["rate_low"].astype(str) + " to " + percent["rate_high"].astype(str),
        }
    )


def paths(path_mtu: pd.DataFrame) -> pd.DataFrame:
    """Return table `path_mtu`: those with a loss that size explains first."""
    rows = path_mtu.sort_values("lost", kind="stable", na_position="last").head(FEW)
    columns = {
        "client": "Client",
        "server": "Server",
        "direction": "Direction",
        "full_size": "Full size by MSS [byte]",
        "delivered": "Largest delivered [byte]",
        "lost": "Smallest lost [byte]",
        "delivered_above": "Delivered of that size all the same",
        "too_big": "ICMP too-big",
        "next_hop_mtu": "MTU by ICMP [byte]",
    }
    return rows[list(columns)].rename(columns=columns)


def attempts(attempts: pd.DataFrame) -> pd.DataFrame:
    """Return how attempts of table `attempts` went at each server, the one with most failures first."""
    known = attempts.assign(
        peer=attempts["peer"].fillna("this host"), passed=attempts["outcome"] == "delivered"
    )
    sizes = known["size"].where(known["size"] > 0)
    found = known.assign(took=sizes.where(known["passed"]), refused=sizes.mask(known["passed"]))
    rows = found.groupby("peer").agg(
        tried=("passed", "size"),
        delivered=("passed", "sum"),
        largest=("took", "max"),
        smallest=("refused", "min"),
    )
    rows.insert(2, "failed", rows["tried"] - rows["delivered"])
    rows = rows.sort_values("failed", ascending=False, kind="stable").head(FEW).reset_index()
    heads = ["Server", "Attempts", "Delivered", "Not delivered"]
    heads += ["Largest delivered [byte]", "Smallest not delivered [byte]"]
    return rows.set_axis(heads, axis="columns")


def changes(changes: pd.DataFrame) -> pd.DataFrame:
    """Return what became of the faults of table `changes`."""
    columns = {
        "peer": "Server",
        "cause": "Fault",
        "state": "Now",
        "sentence": "Why",
        "failed_before": "Failed before",
        "tried_before": "of",
        "failed_after": "Failed after",
        "tried_after": "of ",
    }
    return changes[list(columns)].rename(columns=columns)


def session(sessions: pd.DataFrame) -> pd.DataFrame:
    """Return how far the sessions of table `sessions` came."""
    columns = {
        "stream": "tcp.stream",
        "greeting_wait": "Greeting after [s]",
        "starttls": "STARTTLS",
        "phase": "Ended in",
        "last_command": "Last command",
        "last_command_acknowledged": "Acknowledged by TCP",
        "answered": "Answered",
        "last_reply_code": "Last reply",
    }
    return sessions[list(columns)].rename(columns=columns).round({"Greeting after [s]": 2}).head(FEW)


def messages(incident: Incident, document: dict[str, Any]) -> pd.DataFrame:
    """Return messages of which a server was sent data, those that failed beside those that passed.

    The server is that of the first finding; of several manners of failure the commonest counts.

    Returns
    -------
    DataFrame
        One row for each message: `message_id`, `failed`, and its features as numbers, <NA> where unknown;
        `pattern` says how often it holds the bytes that the finding names.
    """
    first: dict[str, Any] = next(iter(document["findings"]), {"peer": None, "parameters": {}})
    found = [group for group in groups(incident, failures(incident)) if group.peer == first["peer"]]
    largest = max(found, key=lambda group: len(group.failures), default=None)
    if largest is None:
        return pd.DataFrame(columns=["message_id", "failed", *_FEATURES])
    rows = largest.messages.sort_values("failed", ascending=False, kind="stable", ignore_index=True)
    pattern = phrases.known_octets(first["parameters"].get("pattern_hex")) or b"\0"
    rows["pattern"] = _holding(pattern, rows["message_id"], incident)
    return rows[["message_id", "failed", *_FEATURES]].astype(dict.fromkeys(_FEATURES, "Int64"))


def _holding(pattern: bytes, ids: pd.Series, incident: Incident) -> list[Any]:
    """Count the bytes in each message; zeros are counted as a feature already."""
    known = {} if pattern == b"\0" else incident.octets
    return [known[name].count(pattern) if name in known else pd.NA for name in ids]


def explained(messages: pd.DataFrame) -> pd.DataFrame:
    """Return how well each feature tells the failing `messages` from the passing (`correlation.explain`)."""
    found = correlation.explain(messages, _FEATURES).astype({"separates": bool})
    return found.assign(feature=found["feature"].map(_FEATURES))


def features(explained: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `explained` with headings for people."""
    above, below = (
        explained[f"failed_{where}"] + explained[f"passed_{where}"] for where in ("above", "below")
    )
    return pd.DataFrame(
        {
            "Feature": explained["feature"],
            "Largest below the limit": explained["low"].astype("Int64"),
            "Smallest from it on": explained["high"].astype("Int64"),
            "Failed from it on": explained["failed_above"].astype(str) + " of " + above.astype(str),
            "Failed below": explained["failed_below"].astype(str) + " of " + below.astype(str),
            "By chance": [f"{p:.2g}" for p in explained["p"]],
        }
    )
