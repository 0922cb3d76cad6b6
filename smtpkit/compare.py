"""Two incidents side by side: which faults are gone, which remain, and whether that is more than luck."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from smtpkit import tables
from smtpkit.correlation import SURE, fewer_failures
from smtpkit.findings import SEVERITIES, diagnose
from smtpkit.incident import Incident
from smtpkit.observations import deliveries

STATES = ("new", "remains", "undecided", "harmless", "gone")
FAULTS = ("error", "warn")
# What a message must have at least as much of as those that failed, to put a remedy to the test.
_FEATURES = {
    **dict.fromkeys(("pmtu_black_hole", "fragment_loss", "size_limit_close"), "size"),
    "nul_byte_drop": "nul_count",
    "long_line_close": "longest_line",
    "split_dot": "split",
}
_SAME = ["peer", "cause", "direction"]
MOST_NEEDED = 10_000  # messages; beyond, no number is told


def compare(before: Incident, after: Incident) -> pd.DataFrame:
    """Say what became of each fault.

    A fault is `gone` only if messages like those that it hit were sent to that server afterwards, and so many
    of them passed that chance is no explanation (Fisher's exact test, one-sided, 5 %). So a quiet day after
    the change proves nothing.

    Parameters
    ----------
    before, after : Incident
        As `smtpkit.load` returns them.

    Returns
    -------
    DataFrame
        Table `changes`, worst first; empty if neither has a fault.
    """
    old, new = diagnose(before), diagnose(after)
    rows = [_changed(fault, before, after, new) for fault in _faults(old)]
    known = {_identity(fault) for fault in _faults(old)}
    rows += [_appeared(fault, before, after) for fault in _faults(new) if _identity(fault) not in known]
    rows.sort(key=lambda row: STATES.index(row["state"]))
    return tables.from_rows(rows, "changes")


def _faults(findings: pd.DataFrame) -> Iterator[dict[str, Any]]:
    yield from findings[findings["severity"].isin(FAULTS)].to_dict("records")  # type: ignore[misc]


def _identity(finding: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(finding[name]) for name in _SAME)


def _changed(fault: dict[str, Any], before: Incident, after: Incident, new: pd.DataFrame) -> dict[str, Any]:
    """Return the row of a fault that there was before."""
    row = _counts(fault, before, after)
    again = [one for one in new.to_dict("records") if _identity(one) == _identity(fault)]  # type: ignore[arg-type]
    if not again:
        return row | _passed(row, _packets(fault, after))
    worst = min(again, key=lambda one: SEVERITIES.index(one["severity"]))
    if worst["severity"] in FAULTS:
        failed = f"{row['failed_after']} of {row['tried_after']}"
        return row | {"state": "remains", "sentence": f"It is still there: {failed} messages failed after."}
    return row | {
        "state": "harmless",
        "sentence": f"No mail fails of it now, but it is there: {worst['sentence']}",
    }


def _appeared(fault: dict[str, Any], before: Incident, after: Incident) -> dict[str, Any]:
    row = _counts(fault, before, after)
    told = "" if row["tried_before"] else " Nothing was sent there before."
    return row | {"state": "new", "sentence": f"{fault['sentence']}{told}"}


def _counts(fault: dict[str, Any], before: Incident, after: Incident) -> dict[str, Any]:
    """Count the messages like those that failed, and how many of them failed, before and after."""
    feature = _FEATURES.get(fault["cause"])
    held = [_sent(incident, fault["peer"]) for incident in (before, after)]
    least = held[0].loc[held[0]["failed"], feature].min() if feature else pd.NA
    if pd.notna(least):
        held = [one[(one[feature] >= least).fillna(False)] for one in held]
    row = {name: fault[name] for name in _SAME} | {
        "feature": feature if pd.notna(least) else pd.NA,
        "least": least,
    }
    for when, one in zip(("before", "after"), held, strict=True):
        row |= {f"tried_{when}": len(one), f"failed_{when}": int(one["failed"].sum())}
    return row | {
        "p": fewer_failures(*(row[f"{n}_{w}"] for w in ("before", "after") for n in ("failed", "tried")))
    }


def _sent(incident: Incident, peer: str) -> pd.DataFrame:
    """Return the messages that a server was sent, with what may matter of them."""
    sent = deliveries(incident, peer)
    return sent.assign(size=sent["logged_size"].fillna(sent["data_size"]))


def _passed(row: dict[str, Any], packets: str) -> dict[str, Any]:
    """Judge a fault that no failure shows any more."""
    like, packets = "messages", packets or _unchecked(row["cause"])
    if pd.notna(row["feature"]):
        like = f"messages with a {row['feature'].replace('_', ' ')} of {row['least']:.0f} or more"
    if not row["tried_after"]:
        return {"state": "undecided", "sentence": f"Not put to the test: no {like} were sent there after."}
    told = (
        f"{row['failed_before']} of {row['tried_before']} {like} failed before, "
        f"{row['failed_after']} of {row['tried_after']} after"
    )
    if row["p"] <= SURE:
        return {
            "state": "gone",
            "sentence": f"{told}; chance alone does so once in {1 / row['p']:.0f}.{packets}",
        }
    needed = _needed(row)
    more = f" {needed} that pass would be enough." if needed else ""
    return {"state": "undecided", "sentence": f"{told}: chance alone may do so.{more}{packets}"}


def _unchecked(cause: str) -> str:
    bytes_matter = cause == "content_pattern_drop"
    return " Whether those that passed hold the bytes was not looked up." if bytes_matter else ""


def _needed(row: dict[str, Any]) -> int | None:
    """Return how many messages must pass to be sure."""
    if row["failed_after"]:
        return None
    counts = range(row["tried_after"] + 1, MOST_NEEDED)
    before = row["failed_before"], row["tried_before"]
    return next((count for count in counts if fewer_failures(*before, 0, count) <= SURE), None)


def _packets(fault: dict[str, Any], after: Incident) -> str:
    """Say which packets reach the server now, where their size was the fault."""
    high = fault["parameters"].get("pmtu_high")
    paths = after.path_mtu
    same = (paths["server"] == fault["peer"]) & (paths["direction"] == fault["direction"])
    delivered = paths.loc[same.fillna(False), "delivered"].max()
    if high is None or pd.isna(delivered):
        return ""
    if delivered >= high:
        return f" Packets of {delivered} bytes arrive now; before, those of {high} did not."
    return f" No packet above {delivered} bytes was sent (lost before: {high}): the limit is kept to."
