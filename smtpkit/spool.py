"""Rows of tables that memory has no room for: in files, or counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import monotonic_ns
from typing import NamedTuple

import pandas as pd

from smtpkit import tables


class Spool(NamedTuple):
    """A folder that takes rows from any process."""

    folder: Path

    def add(self, table: str, rows: pd.DataFrame) -> None:
        """Write some rows of a table.

        Raises
        ------
        OSError
            If there is no room for them.
        """
        if len(rows):
            prefix = f"{table}-{monotonic_ns():020}-"  # pieces are yielded as they were written
            with NamedTemporaryFile(dir=self.folder, prefix=prefix, suffix=".parquet", delete=False) as file:
                rows.to_parquet(file)

    def pieces(self, table: str) -> Iterator[pd.DataFrame]:
        """Yield all rows of a table, piece by piece."""
        for path in sorted(self.folder.glob(f"{table}-*.parquet")):
            yield pd.read_parquet(path)


def with_left_out(skipped: pd.DataFrame, files: str, count: int, advice: str = "") -> pd.DataFrame:
    """Add to the table `skipped` how many rows are nowhere, if there are any."""
    if not count:
        return skipped
    reason = f"not kept, for want of room: no fault was seen there{advice}"
    row = tables.from_rows([{"file": files, "reason": reason, "count": count}], "skipped")
    return tables.concat([skipped, row], "skipped")
