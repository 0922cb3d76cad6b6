"""What the path does to packets of every size and to windows, on all connections between two hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from smtpkit import mtu
from smtpkit.incident import Incident
from smtpkit.observations.groups import Group
from smtpkit.observations.statement import first, frame, number, seen
from smtpkit.tables import ENDS, KEY, among

HEAVY = 0.05  # share of lost packets from which deliveries may fail
TIMES = 3  # losses that are no accident
OFTEN = 1 / 3  # of the connections: an accident does not hit so many
SMALL, LARGE = 576, 1000  # bytes: what any link takes, and what only some do
JUMBO = 9000  # bytes, the largest packets in use


def observe_network(group: Group) -> Iterator[dict[str, Any]]:
    """Yield what was seen of loss and windows between the hosts of a group."""
    incident = group.incident
    ends = incident.connections
    here = ends[(ends["server"] == group.peer) & (ends["client"] == group.client).fillna(False)]
    if not group.failures["observed"].any():
        yield from _large_passed(group)
    if here.empty:
        yield seen("lossy", pd.NA, "Whether the path loses packets: they are not in the capture.")
        yield seen("window_misread", pd.NA, "Whether windows are misread on the way: no packets are at hand.")
        return
    yield from _loss(group, here)
    yield _masked(group, here)
    yield from _windows(group, here)


def _large_passed(group: Group) -> Iterator[dict[str, Any]]:
    """Yield that the log alone tells of full packets that were delivered among the failures."""
    times, passed = group.failures["time"], group.delivered.dropna(subset=["size", "end"])
    large = passed[(passed["size"] > JUMBO) & passed["end"].between(times.min(), times.max())]
    if len(large):
        row = large.iloc[0]
        sentence = (
            f"A message of {row['size']} bytes, which takes several full packets, was delivered meanwhile."
        )
        yield seen("oversize_delivered", True, sentence, f"{row['file']} line {row['line']}")


def _loss(group: Group, here: pd.DataFrame) -> Iterator[dict[str, Any]]:
    sizes = group.incident.sizes
    alive = here[here["dead_from"].isna()]  # where nothing passes, that all is lost says nothing of the rate
    rates = mtu.loss_rates(sizes[among(sizes, alive)], alive)
    in_vain = _in_vain(group.incident.stalls, alive)
    copies = in_vain["repeats"] + 1
    sent, lost = (max(int(rates[name].sum() - copies.sum()), 0) for name in ("sent", "lost"))
    small, large = (
        max(int(rates.loc[sizes_, "lost"].sum() - copies[stuck].sum()), 0)
        for sizes_, stuck in (
            (rates["high"] <= SMALL, in_vain["repeat_ip_len"] <= SMALL),
            (rates["low"] >= LARGE, in_vain["repeat_ip_len"] >= LARGE),
        )
    )
    repeated = here["retransmissions_forward"] + here["retransmissions_reverse"] > 0
    whole = here["bytes_acknowledged_forward"] >= here["bytes_sent_forward"]
    whole &= (here["handshake"] != "unanswered") & ~among(here, in_vain)
    repaired = here[repeated & whole]
    share = repeated.sum() / len(here)
    heavy = sent > 0 and lost / sent >= HEAVY and share >= OFTEN and len(repaired) > 2
    where = "" if len(alive) == len(here) else " on connections that stayed alive"
    sentence = (
        f"Of {number(sent, 'packet')} with data{where}, {lost} were lost, of {SMALL} bytes or less "
        f"{small}, of {LARGE} or "
        f"more {large}; {len(repaired)} of {number(len(here), 'connection')} repaired some."
    )
    rate = {"loss_rate": round(lost / sent, 3)} if heavy else {}
    yield seen("lossy", heavy, sentence, first(repaired), **rate)
    yield seen(
        "repaired",
        len(repaired) > 0,
        f"On {number(len(repaired), 'connection')} all was repaired in the end.",
    )
    outside = here[here["sack_outside"].fillna(0) > 0]
    count = int(outside["sack_outside"].sum())
    sentence = (
        f"On {number(len(outside), 'connection')} SACK edges lie outside of all that was sent "
        f"({number(count, 'packet')})."
    )
    source = frame(outside["file"].iloc[0], outside["sack_outside_frame"].iloc[0]) if count else ""
    yield seen("sack_outside", count > 0, sentence, source, sack_outside=count > 0)


def loss_by_direction(incident: Incident, connections: pd.DataFrame) -> pd.DataFrame:
    """Return the loss of data packets each way, with its exact interval of 95 % (Clopper and Pearson 1934).

    What is larger than ICMP too-big allows is not lost by chance, and does not count.

    Parameters
    ----------
    incident : Incident
    connections : DataFrame
        Table `connections`, of one path.

    Returns
    -------
    DataFrame
        `direction`, `sent`, `lost`, `low` and `high` (of the share); directions without loss are left out.
    """
    sizes = incident.sizes.merge(connections[[*KEY, "client", "server"]], on=KEY)
    sizes = sizes.join(incident.path_mtu.groupby(mtu.PATH)["next_hop_mtu"].min(), on=mtu.PATH)
    sizes = sizes[~(sizes["ip_len"] > sizes["next_hop_mtu"]).fillna(False)]
    known = sizes.assign(sent=sizes["sent"] - sizes["undecided"])
    found = known.groupby("direction", observed=True)[["sent", "lost"]].sum().reset_index()
    found = found[found["lost"] > 0]
    low, high = mtu.loss_interval(found["lost"].to_numpy(float), found["sent"].to_numpy(float))
    return found.assign(low=low, high=high)


def _masked(group: Group, here: pd.DataFrame) -> dict[str, Any]:
    """Say whether ESMTP inspection shows in what was said on the path (facts D1)."""
    sessions = group.incident.sessions[among(group.incident.sessions, here)]
    masked = sessions[sessions["masked"].fillna(False).astype(bool)]
    if sessions["masked"].isna().all():
        return seen(
            "masked", pd.NA, "Whether a box on the way inspects SMTP: nothing that was said is at hand."
        )
    sentence = (
        f"On {number(len(masked), 'connection')} of {len(sessions)} a box on the way inspects SMTP: "
        "asterisks in the greeting, or XXXX for commands or keywords."
    )
    return seen("masked", len(masked) > 0, sentence, first(masked), masked=len(masked) > 0)


def _in_vain(stalls: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """Return the stalls at segments sent again and again to the end: what took one took them all."""
    open_ = stalls[among(stalls, connections) & (stalls["ended_by"] != "acknowledgment")]
    return open_[open_["repeats"] >= TIMES]


def _windows(group: Group, here: pd.DataFrame) -> Iterator[dict[str, Any]]:
    if here["sack_permitted"].isna().all():
        for name in ("window_misread", "window_obeyed"):
            yield seen(
                name, pd.NA, "Whether windows are misread on the way: no SYN with their scale is at hand."
            )
        return
    changed, sizes = _changed_scales(here), group.incident.sizes
    sizes = sizes[among(sizes, here[here["window_scale_server"] > 0]) & (sizes["direction"] == "forward")]
    lost, within, beyond = (
        int(sizes[name].sum()) for name in ("lost", "lost_within_window", "delivered_beyond_window")
    )
    misread = lost >= TIMES and not within and not beyond
    sentence = (
        f"All {lost} packets lost end beyond the server's window taken without its scale; none "
        f"beyond arrived."
        if misread
        else f"{number(beyond, 'packet')} beyond the unscaled window arrived, {within} within were lost."
    )
    at = sizes[sizes["lost"] > 0]
    source = frame(at["file"].iloc[0], at["frame_lost"].iloc[0]) if len(at) else ""
    text = _of(changed) if len(changed) else sentence
    yield seen("window_misread", misread or len(changed) > 0, text, source or first(here))
    yield seen("window_obeyed", not misread and changed.empty, text, source or first(here))
    yield seen(
        "scale_changed", len(changed) > 0, _of(changed), first(changed), scale_changed=len(changed) > 0
    )
    yield seen("lost_beyond", misread, sentence, source, **({"direction": "forward"} if misread else {}))


def _changed_scales(here: pd.DataFrame) -> pd.DataFrame:
    """Return connections whose SYNs have another window scale at another capture point."""
    scales = here.groupby(ENDS)[["window_scale_client", "window_scale_server"]]
    other = scales.transform("nunique", dropna=False).max(axis="columns") > 1
    seen_twice = here.groupby(ENDS)["capture"].transform("nunique") > 1
    whole = here.groupby(ENDS)["handshake"].transform(lambda states: (states == "complete").all())
    return here[other & seen_twice & whole]


def _of(changed: pd.DataFrame) -> str:
    count = number(len(changed), "connection")
    return f"On {count} the window scale of a SYN is another at the other capture point."
