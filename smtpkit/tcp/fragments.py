"""Which fragments make a whole packet (RFC 791 3.2)."""

from __future__ import annotations

import numpy as np
import pandas as pd

REASSEMBLY = pd.Timedelta(seconds=60)  # within which an identification stays unique
IP_HEADER = 20  # bytes of a later fragment's header: options are seldom copied


def fragments(packets: pd.DataFrame) -> pd.DataFrame:
    """Return the IPv4 fragments that belong to a connection, each one once.

    On IPv6 the identification is not in the table.

    Parameters
    ----------
    packets : DataFrame
        Table `packets`.

    Returns
    -------
    DataFrame
        The rows, with `datagram` (the number of the packet that they are of), `complete` (all of its
        fragments are here), `end` (of the fragment) and `datagram_end` [byte of IP payload].
    """
    piece = packets["more_fragments"] | (packets["fragment_offset"] > 0)
    pieces = packets[piece & packets["stream"].notna() & (packets["ip_version"] == 4)]
    same = ["capture", "stream", "src", "ip_protocol", "ip_id"]
    apart = pieces.groupby(same, observed=True)["time"].diff() > REASSEMBLY
    age = apart.groupby([pieces[name] for name in same], observed=True).cumsum()
    pieces = pieces.assign(datagram=pieces.assign(age=age).groupby([*same, "age"], observed=True).ngroup())
    pieces = pieces.drop_duplicates(["datagram", "fragment_offset"])
    pieces = pieces.sort_values(["datagram", "fragment_offset"])  # they may overlap, and come in any order
    datagram = pieces["datagram"]
    header = (pieces["ip_len"] - pieces["tcp_header_len"] - pieces["tcp_len"]).fillna(IP_HEADER)
    end = pieces["fragment_offset"] + (pieces["ip_len"] - header).astype("Int64")
    before = end.groupby(datagram).cummax().groupby(datagram).shift(fill_value=0)
    gap = (pieces["fragment_offset"] > before).groupby(datagram).transform("any")
    datagram_end = end.mask(pieces["more_fragments"]).groupby(datagram).transform("max")
    return pieces.assign(end=end, datagram_end=datagram_end, complete=~gap & datagram_end.notna())


def segment_lengths(packets: pd.DataFrame) -> np.ndarray:
    """Return `tcp_len` of each packet, or 0; of a first fragment the whole packet's, if all is here."""
    pieces = fragments(packets.reset_index(drop=True))
    first = pieces[(pieces["fragment_offset"] == 0) & pieces["complete"]]
    lengths = packets["tcp_len"].to_numpy("int32", na_value=0, copy=True)
    lengths[first.index] += (first["datagram_end"] - first["end"]).to_numpy("int32")
    return lengths
