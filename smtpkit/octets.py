"""Messages to compare byte by byte: those that servers were sent of which they failed some and took others.

From their files, else from the captures; never from both, for what a server adds on the way would tell them
apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pandas as pd

from smtpkit import smtp
from smtpkit.capture import Reader, payload_of
from smtpkit.files import open_input
from smtpkit.tables import KEY

MOST_OCTETS = 1 << 21  # of messages that are compared
_LINE_END = re.compile(rb"\r?\n")


def from_files(attempts: pd.DataFrame, content: pd.DataFrame) -> dict[str, bytes]:
    """Read the files of messages that servers with failures were sent, the shortest first.

    Parameters
    ----------
    attempts, content : DataFrame
        Tables of these names.

    Returns
    -------
    dict
        Octets by Exim id, lines ended by CRLF as on the wire; empty where the file of a message that failed
        is not among them.
    """
    failed = attempts[attempts["outcome"] != "delivered"]
    tried = attempts.loc[attempts["peer"].isin(failed["peer"].dropna()), "message_id"]
    files = content[content["capture"].isna() & content["message_id"].isin(tried)]
    if not failed["message_id"].isin(files["message_id"]).all():
        return {}
    files = files.drop_duplicates("message_id").sort_values("size")
    files = files[files["size"].cumsum() <= MOST_OCTETS]
    found = {}
    for name, path, size in zip(files["message_id"], files["file"], files["size"], strict=True):
        with open_input(path) as file:
            found[str(name)] = _LINE_END.sub(b"\r\n", file.read(int(size)))
    return found


def from_captures(
    captures: Sequence[Sequence[str]], connections: pd.DataFrame, transactions: pd.DataFrame
) -> dict[str, bytes]:
    """Read from the captures the messages that servers with failures were sent, the shortest first.

    Parameters
    ----------
    captures
        The files of each capture, in the order of their numbers.
    connections, transactions : DataFrame
        Tables of these names.

    Returns
    -------
    dict
        Octets by the Exim id in their header, else by ``capture/stream``.
    """
    wanted = _wanted(connections, transactions)
    found: dict[tuple[int, int, int], bytes] = {}
    for capture, paths in enumerate(captures):
        mine = wanted[wanted["capture"] == capture]
        if len(mine):
            found |= smtp.texts(_batches(capture, paths, mine), mine)
    names = wanted["message_id"].fillna(
        wanted["capture"].astype("string") + "/" + wanted["stream"].astype("string")
    )
    keys = wanted[[*KEY, "transaction"]].itertuples(index=False, name=None)
    return {name: found[key] for name, key in zip(names, keys, strict=True) if key in found}


def _wanted(connections: pd.DataFrame, transactions: pd.DataFrame) -> pd.DataFrame:
    """Choose the transactions: of servers that failed some; of one that failed, what the network lost too."""
    held = transactions[transactions["data_seen"] > 0].merge(connections[[*KEY, "server"]], on=KEY)
    passed = (held["reply_code"] // 100 == 2).fillna(False)
    sick = held.loc[~passed, "server"]
    told = held["data_size"].notna() | (held["bytes_sent"] > held["bytes_delivered"]).fillna(False)
    held = held[held["server"].isin(sick) & told].sort_values("data_seen")
    return held[held["data_seen"].cumsum() <= MOST_OCTETS]


def _batches(
    capture: int, paths: Sequence[str], wanted: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, Sequence[bytes]]]:
    for packets, payload in Reader(*paths, capture=capture):
        mine = packets[packets["stream"].isin(wanted["stream"])]
        yield mine, payload_of(mine, payload)
