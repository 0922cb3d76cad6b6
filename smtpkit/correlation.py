"""Failures against size and content: who explains whom, by exact tests; and the bytes that all failing share.

One message counts once, however often it was tried. Pure functions of plain tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

MOST_BYTES = 1 << 23  # of messages searched for a common pattern
LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # octets of a pattern; those between where one is found
SURE = 0.05  # probability of a coincidence that is still believed
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no byte is lost in the product


class Pattern(NamedTuple):
    """Bytes that are in all failing messages and in none of the passing."""

    octets: bytes
    coincidence: float  # how many such patterns chance alone would give; small is sure
    others: int  # patterns of this length that tell them apart as well


def explain(messages: pd.DataFrame, features: Iterable[str]) -> pd.DataFrame:
    """Say for each feature how well it tells failing messages from passing ones.

    A feature is a number that fails above some limit: size, longest line, count of binary zeros. The limit
    that is chosen misjudges the fewest messages; Fisher's exact test, one-sided, is corrected for the number
    of features and limits that were tried (Bonferroni).

    Parameters
    ----------
    messages : DataFrame
        One row for each message: ``failed`` (bool) and a column for each feature, ``<NA>`` where unknown.
    features
        Names of these columns.

    Returns
    -------
    DataFrame
        One row for each feature, best first: ``feature``, ``low`` (largest value that passed below the
        limit) and ``high`` (smallest that failed above it; the limit lies between), ``failed_above``,
        ``failed_below``, ``passed_above``, ``passed_below`` (messages), ``separates`` (no message is on the
        wrong side), ``p`` (probability that chance does as well).
    """
    rows = [row for name in features if (row := _limit(name, messages[name], messages["failed"]))]
    found = pd.DataFrame(rows, columns=_COLUMNS)
    found["p"] = (found["p"] * len(found)).clip(upper=1.0)
    return found.sort_values(["separates", "p"], ascending=[False, True], ignore_index=True)


_COUNTS = ("failed_above", "failed_below", "passed_above", "passed_below")
_COLUMNS = ["feature", "low", "high", *_COUNTS, "separates", "p"]


def _limit(name: str, values: pd.Series, failed: pd.Series) -> dict[str, Any] | None:
    """Choose the limit of one feature; None if nothing failed, nothing passed, or all have one value."""
    from scipy.stats import fisher_exact

    known = values.notna()
    number, bad = values[known].to_numpy(float), failed[known].to_numpy(bool)
    edges = np.unique(number)
    if len(edges) < 2 or bad.all() or not bad.any():
        return None
    above = number[None, :] > edges[:-1, None]
    wrong = (above != bad[None, :]).sum(axis=1)
    best = int(wrong.argmin())
    over = above[best]
    counts = [int(np.sum(x & y)) for x, y in ((bad, over), (bad, ~over), (~bad, over), (~bad, ~over))]
    p = fisher_exact([counts[:2], counts[2:]], alternative="greater").pvalue
    low, high = number[~bad & ~over], number[bad & over]
    return {
        "feature": name,
        "low": low.max() if len(low) else pd.NA,
        "high": high.min() if len(high) else pd.NA,
        **dict(zip(_COUNTS, counts, strict=True)),
        "separates": wrong[best] == 0,
        "p": min(1.0, float(p) * (len(edges) - 1)),
    }


def given(messages: pd.DataFrame, feature: str, other: str) -> bool:
    """Say whether a feature still tells failing from passing among messages that another does not tell apart.

    So of two features that go together the one that explains is found: messages that hold binary zeros may
    all be long, yet long ones without zeros pass.

    Parameters
    ----------
    messages : DataFrame
        As for `explain`.
    feature, other
        Names of two features.
    """
    limit = _limit(other, messages[other], messages["failed"])
    if limit is None:
        return True
    over = (messages[other] >= limit["high"]).fillna(False)
    for part in (messages[over], messages[~over]):
        left = _limit(feature, part[feature], part["failed"])
        if left is not None and left["separates"]:
            return True
    return False


def fewer_failures(failed: int, tried: int, failed_after: int, tried_after: int) -> float:
    """Return how likely chance alone leaves so few failures in a second trial.

    By Fisher's exact test, one-sided.

    Parameters
    ----------
    failed, tried, failed_after, tried_after
        Messages.
    """
    from scipy.stats import fisher_exact

    table = [[failed, tried - failed], [failed_after, tried_after - failed_after]]
    return float(fisher_exact(table, alternative="greater").pvalue)


def pattern(failing: Sequence[bytes], passing: Sequence[bytes]) -> Pattern | None:
    """Find the shortest bytes that are in all failing messages, in none of the passing, and no coincidence.

    Where none are sure, the surest.

    Parameters
    ----------
    failing, passing
        Messages, or the segments that died and those that arrived.

    Returns
    -------
    Pattern or None
        None if there is none of up to 64 octets, or if there is too much to search.
    """
    every = [*failing, *passing]
    if not failing or not passing or sum(map(len, every)) > MOST_BYTES:
        return None
    chance = _chance(list(map(len, every)), len(failing))
    longest, shortest, best = min(map(len, failing)), 1, None
    for length in (length for length in LENGTHS if length <= longest):
        found = _apart(every, len(failing), length, chance)
        best = min((one for one in (best, found) if one), key=lambda one: one.coincidence, default=None)
        if found and found.coincidence <= SURE:
            lengths = range(shortest, length)
            between = (_apart(every, len(failing), length, chance) for length in lengths)
            return next((one for one in between if one and one.coincidence <= SURE), found)
        if best and chance > SURE:
            break  # no length makes it surer
        shortest = length + 1
    return best


def widened(octets: bytes, failing: Sequence[bytes]) -> bytes:
    """Return all that failing segments share around a pattern, up to the longest that is looked for.

    In short segments a piece of what they fail for is enough to tell them apart.

    Parameters
    ----------
    octets
        Bytes that are in each of `failing`.
    failing
        Segments.
    """
    start = failing[0].find(octets)
    end = start + len(octets)
    while start > 0 and _in_all(failing[0][start - 1 : end], failing):
        start -= 1
    while end < len(failing[0]) and _in_all(failing[0][start : end + 1], failing):
        end += 1
    return failing[0][start:end]


def _in_all(octets: bytes, every: Sequence[bytes]) -> bool:
    return len(octets) <= LENGTHS[-1] and all(octets in each for each in every)


def _apart(every: Sequence[bytes], failing: int, length: int, chance: float) -> Pattern | None:
    """Find bytes of a length that are in all of the first messages and in none of the others."""
    octets = [np.frombuffer(each, np.uint8) for each in every]
    grams = [np.unique(_hashes(one, length)) for one in octets]
    apart = np.setdiff1d(_common(grams[:failing]), np.concatenate(grams[failing:]))
    if not len(apart):
        return None
    at = int(np.isin(_hashes(octets[0], length), apart).argmax())
    return Pattern(every[0][at : at + length], chance * _tried(grams, failing), len(apart) - 1)


def _chance(sizes: Sequence[int], failing: int) -> float:
    """Return how likely bytes that are in so many of the messages are in just the first ones.

    A message twice as long holds twice as many bytes, so large messages share more of them. The sum goes over
    all choices of so many messages: an elementary symmetric polynomial.
    """
    weights = np.maximum(sizes, 1) / max(*sizes, 1)
    sums = np.zeros(failing + 1)
    sums[0] = 1
    for weight in weights:
        sums[1:] += sums[:-1] * weight
    return float(np.prod(weights[:failing]) / sums[failing])


def _hashes(octets: np.ndarray, length: int) -> np.ndarray:
    """Return a hash of each substring of a length, in order."""
    count = len(octets) - length + 1
    hashes = np.zeros(max(count, 0), np.uint64)
    for at in range(length if count > 0 else 0):
        hashes = (hashes ^ (octets[at : at + count] + np.uint64(1))) * _FACTOR
        hashes ^= hashes >> np.uint64(29)
    return hashes


def _common(grams: Sequence[np.ndarray]) -> np.ndarray:
    common = min(grams, key=len)
    for each in grams:
        common = np.intersect1d(common, each, assume_unique=True)
    return common


def _tried(grams: Sequence[np.ndarray], failing: int) -> int:
    """Count the substrings that are in as many messages as failed: so many could have been a coincidence."""
    _, counts = np.unique(np.concatenate(grams), return_counts=True)
    return int((counts == failing).sum())
