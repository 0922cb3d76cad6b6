"""How an observation is written down."""

from __future__ import annotations

from typing import Any

import pandas as pd

IN_DATA = ("sending data block", "end of data", "DATA")  # phases, in Exim's words


def seen(name: str, value: Any, sentence: str, source: str = "", **figures: Any) -> dict[str, Any]:
    """Return the cells of an observation; without a source that of all the files holds."""
    found = {"observation": name, "value": value, "sentence": sentence}
    found |= {"source": source} if source else {}
    return found | {"figures": figures} if figures else found


def most(values: pd.Series) -> Any:
    """Say whether most are true; <NA> if none is known."""
    known = values.dropna().astype(bool)
    return pd.NA if known.empty else bool(2 * known.sum() > len(known))


def frame(file: Any, number: Any) -> str:
    """Return the source of something in a capture."""
    return f"{file} frame {number}"


def first(rows: pd.DataFrame) -> str:
    """Return the source of the first row of connections or stalls."""
    return frame(rows["file"].iloc[0], rows["frame"].iloc[0]) if len(rows) else ""


def number(count: Any, noun: str) -> str:
    """Count something in words: 1 packet, 2 packets."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def spread(values: pd.Series) -> str:
    """Return the range of values, or the one that all have."""
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low} to {high}"
