"""Tables that were written to a folder are read, of large ones as much as there is room for."""

from __future__ import annotations

import os

import pandas as pd
import pyarrow.dataset as ds

from smtpkit.files import below, file_system
from smtpkit.reading import MOST
from smtpkit.spool import Choice, with_left_out
from smtpkit.tables import among
from smtpkit.traffic import faulty

MOST_LINES = 1_500_000  # of logs
_BLOCK = 1 << 16  # rows of a table that are looked at together


def read(folder: str | os.PathLike[str], names: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Read tables; of large `packets`, `dialogue` and `log_lines` the rows on which something went wrong.

    Parameters
    ----------
    folder
        What `smtpkit tables` wrote, or its URL: of each table a Parquet file, or a folder of such.
    names
        Of the tables.

    Raises
    ------
    OSError, ValueError
        If a table is not there, or is none.
    """
    large = {"packets": MOST.packets, "dialogue": MOST.packets, "log_lines": MOST_LINES}
    found = {name: _whole(_path(folder, name)) for name in names if name not in large}
    chosen = _choices(folder, found)
    for name, most in large.items():
        found[name], left_out = _some(_path(folder, name), chosen[name], most)
        found["skipped"] = with_left_out(found["skipped"], _path(folder, name), {name: left_out})
    return {name: found[name] for name in names}


def _path(folder: str | os.PathLike[str], name: str) -> str:
    return below(folder, f"{name}.parquet")


def _data(path: str) -> ds.Dataset:
    system, name = file_system(path)
    return ds.dataset(name, filesystem=system)


def _whole(path: str) -> pd.DataFrame:
    system, name = file_system(path)
    return pd.read_parquet(name, filesystem=system)


def _choices(folder: str | os.PathLike[str], found: dict[str, pd.DataFrame]) -> dict[str, Choice]:
    attempts, refused = found["attempts"], ds.field("reply_code") >= 400
    dialogue = _data(_path(folder, "dialogue")).to_table(filter=refused).to_pandas()
    of_faults = faulty(found["connections"], found["stalls"], found["transactions"], dialogue)
    failed = attempts.loc[attempts["outcome"] != "delivered", "message_id"].dropna()
    return {
        "packets": lambda rows: among(rows, of_faults),
        "dialogue": lambda rows: among(rows, of_faults),
        "log_lines": lambda rows: rows["message_id"].isin(failed),
    }


def _some(path: str, chosen: Choice, most: int) -> tuple[pd.DataFrame, int]:
    """Read a table, or some `most` chosen rows of it; return how many rows were left out."""
    data = _data(path)
    count = data.count_rows()
    if count <= most:
        return _whole(path), 0
    kept, rows = list[pd.DataFrame](), 0
    for block in data.to_batches(batch_size=_BLOCK):
        frame = block.to_pandas()
        kept.append(frame[chosen(frame)])
        rows += len(kept[-1])
        if rows >= most:
            break
    return pd.concat(kept, ignore_index=True), count - rows
