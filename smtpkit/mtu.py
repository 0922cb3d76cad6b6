"""From packets to sizes (per connection), from sizes to the path MTU's bracket (per path and direction)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from smtpkit import tables
from smtpkit.tables import KEY

TIMES = 3  # a packet lost so often, while smaller ones pass, is too big and not unlucky (facts A1)
MIN_PMTU = 552  # no kernel sends smaller full-size segments: net.ipv4.route.min_pmtu
_KEY = [*KEY, "direction"]
PATH = ["capture", "client", "server", "direction"]  # by which packets took the same way
_HEADERS = {4: 40, 6: 60}  # IP and TCP without options
TO_ACT = pd.Timedelta(seconds=1)  # for an ICMP message to change what its receiver sends
ETHERNET_MTU = 1500
# Where classes of sizes begin: the least that IPv4 and IPv6 must take (RFC 791, RFC 8200), tunnels, PPPoE,
# Ethernet's full size, and jumbo frames.
CLASSES = (0, 577, 1281, 1400, 1492, 1500, 1501)
CONFIDENCE = 0.95


def sizes(packets: pd.DataFrame) -> pd.DataFrame:
    """Count data packets by IP length: sent, delivered, lost.

    A super-packet of segmentation offload was never on the wire at its size. Where a direction shows one,
    even a packet within the MSS may stand for two smaller ones: there just repeats (one segment each) and
    packets of up to 552 bytes, which no path MTU forbids, count as delivered.

    Parameters
    ----------
    packets : DataFrame
        Tables `packets` and `analysis` side by side.

    Returns
    -------
    DataFrame
        Table `sizes`, one row for each connection, direction and IP length.
    """
    data = packets[packets["direction"].notna() & (packets["tcp_len"] > 0)]
    if data.empty:
        return tables.empty("sizes")
    joined = data["offload"].groupby([data[k] for k in _KEY]).transform("any")
    single = ~joined | data["retransmission"] | (data["ip_len"] <= MIN_PMTU)
    arrived = data["delivered"].fillna(False) & single & ~data["offload"]
    lost = ~data["delivered"].fillna(True) & ~data["offload"]
    by = [*_KEY, "ip_len", "offload"]
    beyond = data["beyond_unscaled_window"]
    marks = {
        "arrived": arrived,
        "lost": lost,
        "undecided": data["delivered"].isna(),
        "arrived_beyond": arrived & beyond,
        "lost_within": lost & ~beyond,
    }
    counted = data.assign(**marks).groupby(by, observed=True)
    found = counted.agg(
        sent=("time", "size"),
        repeated=("retransmission", "sum"),
        delivered=("arrived", "sum"),
        lost=("lost", "sum"),
        undecided=("undecided", "sum"),
        delivered_beyond_window=("arrived_beyond", "sum"),
        lost_within_window=("lost_within", "sum"),
        df=("df", "all"),
        last_sent=("time", "last"),
        file=("file", "first"),
    )
    found["df"] = found["df"].astype("boolean").mask(counted["df"].count() == 0)
    found["times_lost"] = data[lost].groupby([*by, "relative_seq"]).size().groupby(level=by).max()
    for word, rows, position in (("lost", data[lost], "first"), ("delivered", data[arrived], "last")):
        groups = rows.groupby(by, observed=True)
        found[f"first_{word}"], found[f"last_{word}"] = groups["time"].first(), groups["time"].last()
        found[f"frame_{word}"] = groups["frame"].agg(position)
    return tables.conform(found.fillna({"times_lost": 0}).reset_index(), "sizes")


def path_mtu(
    sizes: pd.DataFrame,
    connections: pd.DataFrame,
    stalls: pd.DataFrame,
    captures: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Bracket the path MTU between the largest packet delivered and the smallest one lost.

    Lost means: one segment was sent in vain `TIMES` times, while smaller packets passed in the same period.
    Where the capture was taken behind the loss, the packets themselves are not in it; what is missing then
    had the size that the MSS allows (RFC 6691), and the upper bound says that it is `inferred`.

    Parameters
    ----------
    sizes, connections, stalls : DataFrame
        The tables of these names, of whole paths.
    captures : DataFrame, optional
        Table `captures`: where each was taken. What is in a capture at the receiver has crossed the path, so
        there only what is missing counts as lost.

    Returns
    -------
    DataFrame
        Table `path_mtu`, one row for each capture, client, server and direction that carried data.
    """
    ends = connections[[*KEY, "client", "server"]]
    sizes, stalls = (frame.merge(ends, on=KEY) for frame in (sizes, stalls))
    found = _announced(sizes, connections)
    found["delivered"] = sizes[sizes["delivered"] > 0].groupby(PATH)["ip_len"].max()
    found["delivered_above"] = found["delivered"].mask(found["delivered"].notna(), 0)
    found["inferred"] = False
    found["probed"] = _probed(stalls, connections)
    rows: dict[Any, dict[Any, Any]] = found.to_dict("index")
    arrived = _at_receiver(captures)
    for path in _suspects(sizes, stalls):
        pieces = [_of_path(frame, path) for frame in (sizes, stalls)]
        rows[path] |= _bracket(rows[path], *pieces, at_receiver=(path[0], path[3]) in arrived)
    larger = _larger_after_icmp(sizes, connections, {path: row.get("lost") for path, row in rows.items()})
    for path, row in rows.items():
        row["shrank"] = path not in larger if row["too_big"] else pd.NA
    named = (dict(zip(PATH, path, strict=True)) | row for path, row in rows.items())
    return tables.from_rows(named, "path_mtu")


def loss_rates(sizes: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """Return the rate of loss by class of packet sizes, with exact intervals (Clopper and Pearson, 1934).

    Equal rates speak of loss, 0 below and 1 above a size of the path MTU (facts D4). The classes begin at
    `CLASSES`. Super-packets of segmentation offload do not count, nor do copies of which nobody knows
    whether they arrived.

    Parameters
    ----------
    sizes, connections : DataFrame
        The tables of these names, of whole paths.

    Returns
    -------
    DataFrame
        Table `loss_rates`.
    """
    single = sizes[~sizes["offload"]].merge(connections[[*KEY, "client", "server"]], on=KEY)
    numbers = np.searchsorted(CLASSES, single["ip_len"].to_numpy("int64"), side="right") - 1
    single = single.assign(number=numbers, sent=single["sent"] - single["undecided"])
    found = single.groupby([*PATH, "number"])[["sent", "lost"]].sum().reset_index()
    found = found[found["sent"] > 0]
    sent, lost = found["sent"].to_numpy(float), found["lost"].to_numpy(float)
    low, high = loss_interval(lost, sent)
    highest = {number: edge - 1 for number, edge in enumerate(CLASSES[1:])}
    rates = {"rate": lost / sent, "rate_low": low, "rate_high": high}
    edges = {"low": found["number"].map(dict(enumerate(CLASSES))), "high": found["number"].map(highest)}
    return tables.conform(found.assign(**edges, **rates).reset_index(drop=True), "loss_rates")


def loss_interval(lost: np.ndarray, sent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact intervals of shares, each of 95 % (Clopper and Pearson, 1934): lower and upper ends.

    Parameters
    ----------
    lost, sent
        Counts, shape (n,) each.
    """
    from scipy.special import betaincinv  # scipy.stats takes three times as long to load

    tail = (1 - CONFIDENCE) / 2
    with np.errstate(invalid="ignore"):  # of none and of all there is one end only
        low = np.where(lost > 0, betaincinv(lost, sent - lost + 1, tail), 0.0)
        high = np.where(lost < sent, betaincinv(lost + 1, sent - lost, 1 - tail), 1.0)
    return low, high


def never_whole(row: Mapping[str, Any]) -> bool:
    """Say whether some fragments of packets came, again and again, and never all of them.

    Parameters
    ----------
    row
        Of table `path_mtu`: `fragmented` and `reassembled`.
    """
    return bool(row["fragmented"] - row["reassembled"] >= TIMES) if pd.notna(row["fragmented"]) else False


def _announced(sizes: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """Return, for each path that carried data, what the handshakes, ICMP and fragments say of it."""
    pieces = []
    for direction in ("forward", "reverse"):
        named = connections[f"next_hop_mtu_{direction}"]
        paths = connections.assign(direction=direction, named=named.where(named > 0)).groupby(PATH)
        piece = pd.DataFrame({"mss": paths[["mss_client", "mss_server"]].max().min(axis="columns")})
        piece["too_big"] = paths[f"too_big_{direction}"].sum()
        piece["next_hop_mtu"] = paths["named"].min()
        for name in ("fragments", "fragmented", "reassembled", "reassembly_exceeded"):
            piece[name] = paths[f"{name}_{direction}"].sum(min_count=1)
        piece["clamped"] = paths["mss_" + ("server" if direction == "forward" else "client")].min()
        pieces.append(piece)
    found = pd.concat(pieces).astype({"mss": "Int64"})
    found = found.loc[found.index.isin(sizes.set_index(PATH).index)].sort_index()
    six = found.index.get_level_values("client").str.contains(":", regex=False)
    headers = np.where(six, _HEADERS[6], _HEADERS[4])
    clamped = found["clamped"].astype("Int64") < ETHERNET_MTU - headers
    return found.assign(full_size=found["mss"] + headers, clamped=clamped)


def _probed(stalls: pd.DataFrame, connections: pd.DataFrame) -> pd.Series:
    """Say of each path with a segment lost again and again whether one got through when sent smaller.

    After ICMP too-big that is path MTU discovery (RFC 1191), without it the sender probes (RFC 4821).
    """
    counts = connections[[*KEY, "too_big_forward", "too_big_reverse"]]
    stuck = stalls[stalls["repeats"] >= TIMES].merge(counts, on=KEY)
    told = stuck["too_big_forward"].where(stuck["direction"] == "forward", stuck["too_big_reverse"])
    shrunk = (stuck["smallest_repeat_ip_len"] < stuck["repeat_ip_len"]).fillna(False)
    passed = shrunk & (stuck["ended_by"] == "acknowledgment") & (told == 0)
    return stuck.assign(probed=passed.astype("boolean")).groupby(PATH)["probed"].any()


def _larger_after_icmp(
    sizes: pd.DataFrame, connections: pd.DataFrame, lost: dict[Any, Any]
) -> set[tuple[Any, ...]]:
    """Return the paths on which packets above the MTU that ICMP too-big names were sent after it.

    An old router names none (RFC 1191 5): then above the size that was lost.
    """
    single, paths = sizes[~sizes["offload"]], set()
    for direction in ("forward", "reverse"):
        names = [f"first_too_big_{direction}", f"next_hop_mtu_{direction}"]
        told = connections[[*KEY, *names]].dropna(subset=names[0]).fillna({names[1]: 0})
        rows = single[single["direction"] == direction].merge(told, on=KEY)
        late = rows[rows["last_sent"] > rows[names[0]] + TO_ACT]
        for *path, length, named in late[[*PATH, "ip_len", names[1]]].itertuples(index=False):
            limit = named if named else lost.get(tuple(path), pd.NA) - 1
            if pd.notna(limit) and length > limit:
                paths.add(tuple(path))
    return paths


def _suspects(sizes: pd.DataFrame, stalls: pd.DataFrame) -> set[Any]:
    """Return the paths on which something was lost again and again, or is missing for long."""
    lost = sizes[(sizes["times_lost"] >= TIMES) & ~sizes["offload"]]
    missing = stalls[stalls["missing"].fillna(False).astype(bool)]
    return {path for rows in (lost, missing) for path in rows.groupby(PATH).groups}


def _of_path(frame: pd.DataFrame, path: tuple[Any, ...]) -> pd.DataFrame:
    same = np.logical_and.reduce([frame[name] == value for name, value in zip(PATH, path, strict=True)])
    return frame[same.astype(bool)]


def _at_receiver(captures: pd.DataFrame | None) -> set[tuple[int, str]]:
    """Return the captures, and the direction of the packets that had arrived where they were taken."""
    if captures is None:
        return set()
    directions = captures["vantage"].map({"server": "forward", "client": "reverse"})
    return set(zip(captures["capture"], directions, strict=True))


def _bracket(
    row: dict[str, Any], sizes: pd.DataFrame, stalls: pd.DataFrame, *, at_receiver: bool
) -> dict[str, Any]:
    victims = sizes[(sizes["times_lost"] >= TIMES) & ~sizes["offload"]]
    in_pieces = len(victims) and never_whole(row)  # at the size of a fragment; they were larger
    if len(victims) and not (at_receiver or in_pieces):
        return _captured(sizes, victims, stalls)
    if pd.isna(row["full_size"]):
        return {}
    full, headers = row["full_size"], row["full_size"] - row["mss"]
    holes = stalls[stalls["repeats"] >= TIMES] if in_pieces else _lost_upstream(stalls, full, headers)
    size = victims["ip_len"].min() if in_pieces else full
    if len(holes) and not _passed_between(sizes, size, holes["start"]):
        df = sizes["df"].all() if sizes["df"].notna().any() else pd.NA  # a socket sets it on all or none
        smaller = sizes.loc[(sizes["delivered"] > 0) & (sizes["ip_len"] < full), "ip_len"].max()
        return {"delivered": smaller, "lost": full, "inferred": True, "df": df}
    return {}


def _captured(sizes: pd.DataFrame, victims: pd.DataFrame, stalls: pd.DataFrame) -> dict[str, Any]:
    """Return the bracket from packets that are in the capture themselves."""
    first, last = victims["first_lost"].min(), victims["last_lost"].max()
    arrived = sizes[sizes["delivered"] > 0]
    meanwhile = _meanwhile(arrived, victims)
    above = victims[~(victims["ip_len"] <= meanwhile["ip_len"].max())] if len(meanwhile) else victims
    lost = (above if len(above) else victims)["ip_len"].min()
    smaller, bigger = arrived[arrived["ip_len"] < lost], arrived[arrived["ip_len"] >= lost]
    alive = (
        meanwhile["ip_len"].lt(lost).any()
        or (stalls["passed"] > 0).any()
        or _shrunk(smaller, bigger, victims)
    )
    return {
        "delivered": smaller["ip_len"].max(),
        "lost": lost if alive else pd.NA,
        "delivered_above": meanwhile.loc[meanwhile["ip_len"] >= lost, "delivered"].sum(),
        "broke_at": first if (bigger["last_delivered"] < first).any() else pd.NaT,
        "fixed_at": bigger.loc[bigger["first_delivered"] > last, "first_delivered"].min(),
        "df": sizes.loc[sizes["ip_len"] >= lost, "df"].all() if victims["df"].notna().any() else pd.NA,
    }


def _shrunk(smaller: pd.DataFrame, bigger: pd.DataFrame, victims: pd.DataFrame) -> bool:
    """Say whether a connection went on after the loss with smaller packets alone, as probing does."""
    first = victims.groupby("stream")["first_lost"].min()
    after = smaller["last_delivered"] > smaller["stream"].map(first)
    return bool((after & ~smaller["stream"].isin(bigger["stream"])).any())


def _meanwhile(arrived: pd.DataFrame, victims: pd.DataFrame) -> pd.DataFrame:
    """Return what was delivered while packets were lost: a path may break, and be repaired, in a capture.

    Where most of the connections that lost a size had delivered it before, the path did not break under each
    of them: it takes that size. A single one may have been there when it broke.
    """
    first, last = victims["first_lost"].min(), victims["last_lost"].max()
    overlaps = (arrived["last_delivered"] >= first) & (arrived["first_delivered"] <= last)
    earlier = arrived[["stream", "ip_len", "first_delivered"]].merge(
        victims[["stream", "ip_len", "first_lost"]], on="stream", suffixes=("", "_lost")
    )
    before = (earlier["ip_len"] >= earlier["ip_len_lost"]) & (
        earlier["first_delivered"] < earlier["first_lost"]
    )
    torn = arrived["stream"].isin(earlier.loc[before, "stream"])
    most = 2 * earlier.loc[before, "stream"].nunique() > victims["stream"].nunique()
    return arrived[overlaps | torn if most else overlaps & ~torn]


def _lost_upstream(stalls: pd.DataFrame, full: Any, headers: int) -> pd.DataFrame:
    """Return the stalls at full-size packets that are missing, as later, smaller ones prove."""
    hole = stalls["missing"].fillna(False) & (stalls["gap"] >= full - headers - 40)
    return stalls[hole.fillna(False).astype(bool)]


def _passed_between(sizes: pd.DataFrame, size: Any, starts: pd.Series) -> bool:
    """Say whether packets of a size or above arrived while others began to be missing."""
    arrived = sizes[(sizes["delivered"] > 0) & (sizes["ip_len"] >= size)]
    between = (arrived["last_delivered"] >= starts.min()) & (arrived["first_delivered"] <= starts.max())
    return bool(between.any())
