"""Which messages a group hit: what tells them from those that passed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from smtpkit import correlation
from smtpkit.observations.groups import Group, named
from smtpkit.observations.statement import frame, most, number, seen
from smtpkit.phrases import WITHHELD
from smtpkit.tables import among

_EXPLAINED = (
    ("size_explains", ("data_size", "logged_size"), "a size"),
    ("line_explains", ("longest_line",), "a longest line"),
    ("nul_explains", ("nul_count", "nul_last"), "a count of binary zeros"),
    ("split_explains", ("split",), "a number of cuts in the end of data"),
)
_NO_DATA = "No data had been sent of the messages that failed."
_IN_CONTENT = ("line_explains", "nul_explains", "pattern_explains", "split_explains")
SHORTEST_LINES = 500  # octets; below no server has a limit (RFC 5321 4.5.3.1)


def observe_messages(group: Group) -> Iterator[dict[str, Any]]:
    """Yield what tells the failing messages of a group from the passing ones."""
    rows = [_explained(group, name, features, what) for name, features, what in _EXPLAINED]
    rows += [*_pattern(group), *_overlap(group), *_outcomes(group)]
    yield from rows
    yield _content_innocent(group, {row["observation"]: row["value"] for row in rows})


def _explained(group: Group, name: str, features: tuple[str, ...], what: str) -> dict[str, Any]:
    messages = group.messages
    if not messages["failed"].any():
        return seen(name, False, _NO_DATA, group.source)
    row = next((group.limits[feature] for feature in features if feature in group.limits), None)
    if row is None:
        feature = next((each for each in features if messages[each].notna().all()), None)
        compared = feature is not None and messages["failed"].nunique() == 2
        sentence = f"No limit of {what} tells failing messages from passing ones."
        return seen(name, False if compared else pd.NA, sentence)
    if name == "line_explains" and row.high < SHORTEST_LINES:
        return seen(
            name, False, "The lines of what failed are no longer than any server takes.", group.source
        )
    rivals = [
        other for other in group.limits if other != row.feature and _explains_away(group, other, row.feature)
    ]
    low, high = (None if pd.isna(value) else int(value) for value in (row.low, row.high))
    sentence = (
        f"All {row.failed_above} messages with {what} of {high} or more failed, all {row.passed_below} up to "
        f"{low} passed."
    )
    return seen(name, not rivals, sentence, group.source, **_limit(name, row.feature, low, high))


def _explains_away(group: Group, other: str, feature: str) -> bool:
    """Say whether another feature that separates as well is the likelier one: the rarer in mail."""
    rarity = {"nul_count": 0, "nul_last": 0, "split": 1, "longest_line": 2, "data_size": 3, "logged_size": 3}
    return rarity[other] < rarity[feature]


def _limit(name: str, feature: str, low: int | None, high: int | None) -> dict[str, Any]:
    if name == "size_explains":
        measure = "data" if feature == "data_size" else "S"
        return {"size_low": low, "size_high": high, "size_measure": measure}
    if name == "line_explains":
        return {"line_limit_low": low, "line_limit_high": high}
    return {"direction": "forward"} if name == "split_explains" else {}


def _pattern(group: Group) -> Iterator[dict[str, Any]]:
    """Look for bytes that all failing messages share and no passing one has."""
    held, messages = group.incident.octets, group.messages
    if not messages["failed"].any():
        yield seen("pattern_explains", False, _NO_DATA, group.source)
        return
    failing, passing = (
        [name for name in messages.loc[messages["failed"] == value, "message"] if name in held]
        for value in (True, False)
    )
    explained = {"nul_count", "nul_last", "split"} & set(group.limits)
    if len(failing) < 2 or len(passing) < 2 or explained:
        sentence = "Whether messages that fail share bytes that no other has: too few are at hand to compare."
        other = "Binary zeros, or where the end of data is cut, tell failing messages from passing ones."
        yield seen("pattern_explains", False if explained else pd.NA, other if explained else sentence)
        return
    whole = [_Parts(held[name], b"") for name in failing]
    others = [held[name] for name in passing]
    found = _common(whole, others)
    if found is None:
        sentence = "No bytes tell failing messages from passing ones."
        yield seen("pattern_explains", False, sentence, group.source)
        return
    shared = found.octets
    if doubt := _doubt(group, found, whole):
        parts = [_parts(group, name, held[name]) for name in failing]
        found = _common(parts, others)
        if parts == whole or found is None or _doubt(group, found, parts):
            sentence = f"Whether messages fail for bytes that they share: {doubt}."
            yield seen("pattern_explains", pd.NA, sentence)
            return
        shared = correlation.widened(found.octets, [part.lost for part in parts])
    octets = WITHHELD if group.incident.redacted else shared.hex()
    sentence = (
        f"All {len(failing)} messages that failed hold the bytes {octets}, none of the "
        f"{len(passing)} that passed does; of chance one would expect {found.coincidence:.2g} such patterns."
    )
    yield seen("pattern_explains", True, sentence, group.source, pattern_hex=octets)
    places = (_carrier(group, name, held[name], shared) for name in failing)
    sentence, source = next((place for place in places if place), (sentence, group.source))
    yield seen("pattern_sure", True, sentence, source)


def _common(parts: list[_Parts], passing: list[bytes]) -> correlation.Pattern | None:
    arrived = [part.arrived for part in parts if part.arrived]
    return correlation.pattern([part.lost for part in parts], [*passing, *arrived])


def _doubt(group: Group, found: correlation.Pattern, parts: list[_Parts]) -> str | None:
    """Say why it may not be the bytes found."""
    if found.coincidence > correlation.SURE:
        return "with so few it may be chance"
    # Of a message that fails for its size nothing as large as what is lost arrives.
    as_large = sum(len(part.arrived) >= len(part.lost) for part in parts)
    sized = {"data_size", "logged_size"} & set(group.limits)
    return "all of them are larger than those that passed" if sized and 2 * as_large <= len(parts) else None


class _Parts(NamedTuple):
    """What of a failing message may hold the bytes that it failed for, and what cannot."""

    lost: bytes
    arrived: bytes


def _parts(group: Group, name: str, message: bytes) -> _Parts:
    """Return the segment of a message sent in vain, and what arrived before it; else the whole message."""
    held = _held_whole(group, name, message)
    if group.manner != "stall" or held.empty or pd.isna(held["bytes_delivered"].iloc[0]):
        return _Parts(message, b"")
    delivered = int(held["bytes_delivered"].iloc[0])
    carriers = _carriers(group, held, delivered)
    if carriers.empty:
        return _Parts(message, b"")
    end = delivered + int((carriers["tcp_len"] - carriers["into"]).min())
    return _Parts(message[delivered:end] or message, message[:delivered])


def _held_whole(group: Group, name: str, message: bytes) -> pd.DataFrame:
    """Return the transaction of a message that was read from the capture."""
    held = group.transactions[named(group.transactions) == name]
    return held[held["data_seen"] == len(message)][:1]


def _carriers(group: Group, held: pd.DataFrame, offset: int) -> pd.DataFrame:
    """Return the packets that carried an octet of a transaction's data, and how far `into` each it was."""
    packets = group.of("packets")
    packets = packets[among(packets, held)]
    into = (int(held["data_seq"].iloc[0]) + offset - packets["seq"].astype("Int64")) % 2**32
    return packets.assign(into=into)[(into < packets["tcp_len"]).fillna(False)]


def _carrier(group: Group, name: str, message: bytes, pattern: bytes) -> tuple[str, str] | None:
    """Say which packet carried the pattern, if the message was read from the capture."""
    held = _held_whole(group, name, message)
    if held.empty:
        return None
    one = held.iloc[0]
    delivered = 0 if pd.isna(one["bytes_delivered"]) else int(one["bytes_delivered"])
    offset = message.find(pattern, max(delivered - len(pattern) + 1, 0))
    offset = message.find(pattern) if offset < 0 else offset
    carriers = _carriers(group, held, offset)
    if carriers.empty:
        return None
    fate = "arrived" if offset + len(pattern) <= delivered else "never acknowledged"
    if most(group.connections.loc[among(group.connections, held), "reset_forged"]) is True:
        fate = "answered by a RST that is not the server's"  # whose acknowledgment proves nothing
    sentence = (
        f"In the data of {name} they stand from octet {offset} on; the packet with them was sent "
        f"{number(len(carriers), 'time')} and {fate}."
    )
    return sentence, frame(carriers["file"].iloc[0], carriers["frame"].iloc[0])


def _overlap(group: Group) -> Iterator[dict[str, Any]]:
    messages = group.messages
    sizes = messages["data_size"].fillna(messages["logged_size"])
    failed, passed = sizes[messages["failed"]].dropna(), sizes[~messages["failed"]].dropna()
    if failed.empty or passed.empty:
        yield seen("sizes_overlap", pd.NA, "Sizes of messages that failed and passed: too few are known.")
        return
    sentence = f"A message of {passed.max():.0f} bytes passed, one of {failed.min():.0f} failed."
    yield seen("sizes_overlap", bool(passed.max() > failed.min()), sentence, group.source)


def _content_innocent(group: Group, values: dict[str, Any]) -> dict[str, Any]:
    """Say whether it is not what is in a message that makes it fail; where nothing was seen, who knows."""
    if not group.messages["failed"].any():
        return seen("content_innocent", True, _NO_DATA, group.source)
    late = bool(group.transactions["reply_code"].notna().any())
    if late or values["every_message"] or values["size_explains"] is True:
        return seen("content_innocent", True, "Messages fail whatever is in them.", group.source)
    told = [values[name] for name in _IN_CONTENT]
    if any(value is True for value in told):
        return seen("content_innocent", False, "What is in a message decides whether it fails.", group.source)
    if any(pd.isna(value) for value in told):
        return seen("content_innocent", pd.NA, "Whether it is what is in a message that makes it fail.")
    return seen("content_innocent", True, "Nothing in a message tells whether it fails.", group.source)


def _outcomes(group: Group) -> Iterator[dict[str, Any]]:
    failed = int(group.messages["failed"].sum())
    passed = len(group.messages) - failed
    sentence = f"{number(failed, 'message')} failed at this point, {passed} passed."
    yield seen("every_message", failed > 2 and not passed, sentence, group.source)
    yield seen("other_messages_pass", passed > 0, sentence, group.source)
    attempts = group.incident.attempts
    others = attempts[(attempts["outcome"] == "delivered") & (attempts["peer"] != group.peer)]
    count = others["peer"].nunique()
    sentence = f"{number(count, 'other server')} took mail from the same host meanwhile."
    yield seen("other_peers_pass", True if count else pd.NA, sentence)
