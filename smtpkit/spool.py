"""Rows of tables that memory has no room for: in files, or counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import monotonic_ns
from typing import NamedTuple

import pandas as pd

from smtpkit import tables

Choice = Callable[[pd.DataFrame], pd.Series]  # marks the rows to keep


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

    def narrow(self, table: str, choice: Choice) -> None:
        """Forget the rows of a table that are not chosen."""
        for path in self._paths(table):
            rows = pd.read_parquet(path)
            rows[choice(rows)].to_parquet(path)

    def pieces(self, table: str) -> Iterator[pd.DataFrame]:
        """Yield all rows of a table, piece by piece."""
        for path in self._paths(table):
            yield pd.read_parquet(path)

    def _paths(self, table: str) -> list[Path]:
        return sorted(self.folder.glob(f"{table}-*.parquet"))


def with_left_out(skipped: pd.DataFrame, files: str, count: int, advice: str = "") -> pd.DataFrame:
    """Add to the table `skipped` how many rows are nowhere, if there are any."""
    if not count:
        return skipped
    reason = f"not kept, for want of room: no fault was seen there{advice}"
    row = tables.from_rows([{"file": files, "reason": reason, "count": count}], "skipped")
    return tables.concat([skipped, row], "skipped")
