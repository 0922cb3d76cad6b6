"""Rows of tables that memory has no room for: in files, or counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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


def with_left_out(
    skipped: pd.DataFrame, files: str, counts: Mapping[str, int], advice: str = ""
) -> pd.DataFrame:
    """Add to the table `skipped` how many rows are nowhere, by what they are."""
    reason = "not kept, for want of room; those on which something went wrong go last"
    rows = [
        {"file": files, "reason": f"{what} {reason}{advice}", "count": count}
        for what, count in counts.items()
        if count
    ]
    return tables.concat([skipped, tables.from_rows(rows, "skipped")], "skipped")
