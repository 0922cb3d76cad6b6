"""How a connection ended: who closed it, and whether a reset is the host's own."""

from __future__ import annotations

import numpy as np
import pandas as pd

from smtpkit.tcp.following import FIN, FLAG_ACK, RST, SECOND, stall_threshold

INITIAL_TTL = (64, 128, 255)  # what systems send with; a RST perhaps with another than data
NEAR_ID = 1024  # further on than this from the packet before, an identification is out of sequence


def closing(tcp: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """Return the first FIN and RST of both sides, and who closed first.

    The order of two FINs in a capture tells no more than where it was taken. The one who closed first is the
    one whose FIN the other's acknowledges (RFC 9293 3.6). Where none acknowledges the other, both were sent
    without knowing: then only a distance that no round trip explains tells.

    Parameters
    ----------
    tcp : DataFrame
        Packets as `connection.whole` returns them.
    connections : DataFrame
        `initial_rtt` by connection.
    """
    is_fin, is_rst = tcp["flags"] & FIN > 0, tcp["flags"] & RST > 0
    ends = tcp[is_fin | is_rst]
    found = pd.DataFrame(index=connections.index)
    for flag, mask in (("fin", is_fin), ("rst", is_rst)):
        for direction, sent in (("forward", tcp["forward"]), ("reverse", ~tcp["forward"])):
            found[f"{flag}_{direction}"] = _first(tcp[mask & sent])["time"]
    first = _first(ends)
    found["ended_by"] = first["forward"].map({True: "client", False: "server"}).astype("string")
    found["ended_how"] = (first["flags"] & RST > 0).map({True: "RST", False: "FIN"}).astype("string")
    found = found.join(_closed_by(ends, connections))
    found["close_time"] = first["time"]
    for end, sent in (("client", ends["forward"]), ("server", ~ends["forward"])):
        own = _first(ends[sent])["time"].reindex(found.index)
        found["close_time"] = found["close_time"].where(found["closed_by"].ne(end).fillna(True), own)
    return found.fillna({"ended_how": "silence"})


def _first(packets: pd.DataFrame) -> pd.DataFrame:
    return packets.drop_duplicates("connection").set_index("connection")


def _closed_by(ends: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    client, server = _first(ends[ends["forward"]]), _first(ends[~ends["forward"]])
    both = client.add_suffix("_client").join(server.add_suffix("_server"), how="outer")
    client_saw, server_saw = _saw(both, "client", "server"), _saw(both, "server", "client")
    patience = (
        connections["initial_rtt"]
        .reindex(both.index)
        .map(lambda rtt: stall_threshold(round(rtt * SECOND)), na_action="ignore")
    )
    patience = pd.to_timedelta(patience.fillna(stall_threshold(0)))
    later = both["time_server"] - both["time_client"]
    closed_by = np.select(
        [
            both["time_server"].isna() | (server_saw & ~client_saw),
            both["time_client"].isna() | (client_saw & ~server_saw),
            later > patience,
            -later > patience,
        ],
        ["client", "server", "client", "server"],
        "",
    )
    found = pd.DataFrame({"closed_by": pd.Series(closed_by, both.index, dtype="string").replace("", pd.NA)})
    found["unprompted_client"] = _unprompted(both, client_saw, "client", "server")
    found["unprompted_server"] = _unprompted(both, server_saw, "server", "client")
    return found


def _unprompted(both: pd.DataFrame, saw: pd.Series, end: str, other: str) -> pd.Series:
    """Say whether `end` closed without having seen the other do so; a RST without ACK does not tell."""
    mute = (both[f"flags_{end}"].fillna(0).astype("int64") & FLAG_ACK == 0) & both[f"time_{other}"].notna()
    return (~saw).astype("boolean").mask(both[f"time_{end}"].isna() | mute)


def _saw(both: pd.DataFrame, end: str, other: str) -> pd.Series:
    """Say whether what `end` closed with acknowledges the other's FIN."""
    fin_end = both[f"relative_seq_{other}"] + both[f"tcp_len_{other}"] + 1
    is_fin = both[f"flags_{other}"].fillna(0).astype("int64") & FIN > 0
    return is_fin & (both[f"relative_ack_{end}"] >= fin_end)


def reset(tcp: pd.DataFrame) -> pd.DataFrame:
    """Return the first reset that is unlike its host's packets, else the first one.

    A box on the way that resets a connection in a host's name is another number of hops from here, as its TTL
    tells. Else two signs must agree: a window that the host never announced, and an identification out of
    its sequence. A kernel's own reset may have 0 for either.

    Parameters
    ----------
    tcp : DataFrame
        Packets as `connection.whole` returns them.
    """
    concerned = tcp.loc[tcp["flags"] & RST > 0, "connection"]
    tcp = tcp[tcp["connection"].isin(concerned)]
    is_rst = tcp["flags"] & RST > 0
    host = ["connection", "forward"]
    initial = np.array(INITIAL_TTL)
    tcp = tcp.assign(hops=initial[np.searchsorted(initial, tcp["ttl"])] - tcp["ttl"])
    own, resets = tcp[~is_rst], tcp[is_rst].reset_index(drop=True)
    unlike = {
        name: ~pd.MultiIndex.from_frame(resets[[*host, name]]).isin(
            pd.MultiIndex.from_frame(own[[*host, name]].drop_duplicates())
        )
        for name in ("hops", "window")
    }
    odd_window = unlike["window"] & (resets["window"] > 0)
    forged = pd.Series(unlike["hops"] | (odd_window & _odd_id(own, resets)), dtype="boolean")
    known = pd.MultiIndex.from_frame(resets[host]).isin(pd.MultiIndex.from_frame(own[host].drop_duplicates()))
    resets = resets.assign(reset_forged=forged.where(known))
    resets = resets.sort_values("reset_forged", ascending=False, kind="stable")
    first = _first(resets)
    return pd.DataFrame(
        {"reset_forged": first["reset_forged"], "reset_frame": first["frame"], "reset_ttl": first["ttl"]}
    )


def _odd_id(own: pd.DataFrame, resets: pd.DataFrame) -> np.ndarray:
    """Say of which resets the identification departs from a sequence that the host kept to (RFC 6864)."""
    host = ["connection", "forward"]
    numbered = own[[*host, "ip_id"]].dropna(subset="ip_id").astype({"ip_id": "int64"})
    step = numbered.groupby(host)["ip_id"].diff().dropna() % 2**16
    stepped = numbered.loc[step.index, host].assign(even=step.between(1, NEAR_ID))
    kept = stepped.groupby(host)["even"].agg(["all", "size"])
    last = numbered.groupby(host)["ip_id"].last().rename("last")
    of_reset = resets[[*host, "ip_id"]].join(kept, on=host).join(last, on=host)
    off = (of_reset["ip_id"].astype("Float64") - of_reset["last"]) % 2**16 > NEAR_ID
    in_sequence = of_reset["all"].eq(True) & (of_reset["size"] >= 3)
    return (in_sequence & off & (of_reset["ip_id"] > 0)).fillna(False).to_numpy(bool)
