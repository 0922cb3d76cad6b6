"""What belongs to a connection without being TCP: ICMP errors about it, and fragments of it."""

from __future__ import annotations

import pandas as pd

from smtpkit.tcp.fragments import fragments
from smtpkit.tcp.tracking import KEY

# ICMP errors other than too-big (RFC 792, RFC 4443 3), by IP protocol.
ERRORS = {1: (3, 11, 12), 58: (1, 3, 4)}
REASSEMBLY_EXCEEDED = {1: (11, 1), 58: (3, 1)}  # type and code


def related(packets: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """Return the ICMP errors and the fragments of each connection.

    Parameters
    ----------
    packets : DataFrame
        Table `packets`.
    connections : DataFrame
        `capture`, `stream`, `client` and `server` by connection.
    """
    ends = connections[[*KEY, "client", "server"]].reset_index(names="connection")
    loose = packets["stream"].notna() & packets["direction"].isna()
    datagrams = fragments(packets).drop_duplicates("datagram").merge(ends, on=KEY)
    tied = packets[loose].merge(ends, on=KEY)
    piece = packets["more_fragments"] | (packets["fragment_offset"] > 0)
    unnumbered = packets[piece & (packets["ip_version"] == 6)].merge(ends, on=KEY)["connection"].unique()
    found = pd.DataFrame(index=connections.index).join(_unreachable(tied))
    for direction, sender in (("forward", "client"), ("reverse", "server")):
        about = tied[tied["dst"].astype("string") == tied[sender]]
        too_big = about[is_too_big(about)].groupby("connection")
        found[f"too_big_{direction}"] = too_big.size()
        found[f"next_hop_mtu_{direction}"] = too_big["next_hop_mtu"].min()
        found[f"first_too_big_{direction}"] = too_big["time"].min()
        exceeded = _is(about, REASSEMBLY_EXCEEDED)
        found[f"reassembly_exceeded_{direction}"] = about[exceeded].groupby("connection").size()
        later = tied[(tied["fragment_offset"] > 0) & (tied["src"].astype("string") == tied[sender])]
        found[f"fragments_{direction}"] = later.groupby("connection").size()
        mine = datagrams[datagrams["src"].astype("string") == datagrams[sender]]
        found = found.join(_reassembled(mine, direction))
    counts = [name for name in map(str, found) if name.startswith(("too_big", "reassembl", "fragment"))]
    found = found.fillna(dict.fromkeys(counts, 0))
    names = [name for name in counts if name.startswith(("fragmented", "reassembled"))]
    six = pd.Series(found.index.isin(unnumbered), found.index)
    found[names] = found[names].mask(six, axis="index")
    return found


def is_too_big(packets: pd.DataFrame) -> pd.Series:
    """Mark ICMP "fragmentation needed" (RFC 1191) and ICMPv6 "Packet Too Big" (RFC 8201)."""
    needed = (packets["ip_protocol"] == 1) & (packets["icmp_type"] == 3) & (packets["icmp_code"] == 4)
    too_big = (packets["ip_protocol"] == 58) & (packets["icmp_type"] == 2)
    return (needed | too_big).fillna(False).astype(bool)


def _is(packets: pd.DataFrame, kinds: dict[int, tuple[int, int]]) -> pd.Series:
    """Mark the ICMP messages of one type and code for each protocol."""
    marked = pd.Series(False, index=packets.index)
    for protocol, (kind, code) in kinds.items():
        same = (packets["icmp_type"] == kind) & (packets["icmp_code"] == code)
        marked |= (same & (packets["ip_protocol"] == protocol)).fillna(False).astype(bool)
    return marked


def _unreachable(tied: pd.DataFrame) -> pd.DataFrame:
    """Return the first ICMP error other than too-big."""
    error = pd.Series(False, index=tied.index)
    for protocol, kinds in ERRORS.items():
        error |= (tied["ip_protocol"] == protocol) & tied["icmp_type"].isin(kinds)
    errors = tied[error & ~is_too_big(tied)]
    first = errors.drop_duplicates("connection").set_index("connection")
    names = {"icmp_type": "unreachable_type", "icmp_code": "unreachable_code", "frame": "unreachable_frame"}
    return first[list(names)].rename(columns=names)


def _reassembled(pieces: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Count packets of which fragments were captured, and those of which all were."""
    counts = pieces.groupby("connection")["complete"].agg(["size", "sum"]).astype("Int64")
    return counts.set_axis([f"fragmented_{direction}", f"reassembled_{direction}"], axis="columns")
