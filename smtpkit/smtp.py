"""From packets and payload to the SMTP dialogue and its transactions (RFC 5321, RFC 3030).

Payload passes by in batches: `dialogue` keeps the few lines of it that name or end a transaction, and
`transactions` works on those lines once the direction of each packet is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from smtpkit import tables

LONGEST_REPLY = 512  # octets, RFC 5321 4.5.3.1.5
_REPLY = re.compile(rb"(?:^|\n)([2-5]\d\d)[ \r]([^\r\n]{0,512})")
_MAIL = re.compile(rb"^MAIL FROM:", re.IGNORECASE)
_BDAT = re.compile(rb"(?:^|\n)BDAT \d+", re.IGNORECASE)
_MESSAGE_ID = re.compile(rf"\bid ({tables.MESSAGE_ID})\b".encode())
_HEAD = 4096  # bytes of a packet in which a Received header is looked for
_KEY = ["capture", "stream"]


def dialogue(packets: pd.DataFrame, payload: Sequence[bytes]) -> pd.DataFrame:
    """Pick the lines out of one batch of payload that name, start or answer a transaction.

    Parameters
    ----------
    packets : DataFrame
        Table `packets`, one batch of a capture.
    payload
        The captured payload of each of its rows (`capture.payload_of`).

    Returns
    -------
    DataFrame
        Table `dialogue`. A line that is split over two packets is not found.
    """
    places = packets[["capture", "stream", "file", "frame"]]
    found = [(row, word) for row, data in enumerate(payload) if data for word in _words(data)]
    place = places.iloc[[row for row, _ in found]].reset_index(drop=True)
    words = pd.DataFrame([word for _, word in found])
    return tables.conform(pd.concat([place, words], axis="columns"), "dialogue")


def _words(data: bytes) -> Iterator[dict[str, Any]]:
    for reply in _REPLY.finditer(data, 0, 4 * LONGEST_REPLY):
        yield {"word": "reply", "reply_code": int(reply[1]), "text": _text(reply[2])}
    if _MAIL.search(data):
        yield {"word": "MAIL"}
    if _BDAT.search(data, 0, _HEAD):
        yield {"word": "BDAT"}
    named = _MESSAGE_ID.search(data, 0, _HEAD)
    if named:
        yield {"word": "message_id", "text": _text(named[1])}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def transactions(dialogue: pd.DataFrame, packets: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each message that a client began to send: DATA answered by 354, or BDAT.

    Parameters
    ----------
    dialogue : DataFrame
        Table `dialogue`.
    packets : DataFrame
        Tables `packets` and `analysis` side by side, of the same connections.

    Returns
    -------
    DataFrame
        Table `transactions`, in order of capture, stream and time.
    """
    columns = [*_KEY, "file", "frame", "time", "direction", "seq", "ack", "relative_seq"]
    where = packets.loc[packets["direction"].notna(), columns]
    lines = dialogue.astype({"file": "object"}).merge(where.astype({"file": "object"}), on=columns[:4])
    from_server = lines["direction"] == "reverse"
    lines = lines[from_server == (lines["word"] == "reply")]
    lines = lines.drop_duplicates([*_KEY, "direction", "relative_seq", "word", "text"])
    lines = lines.astype(object).where(lines.notna(), None).sort_values(_KEY, kind="stable")
    every = groupby(lines.itertuples(index=False), key=lambda line: (line.capture, line.stream))
    rows = [row for _, one in every for row in _transactions_of(one)]
    return tables.from_rows(rows, "transactions")


def _transactions_of(lines: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield the transactions of one connection; MAIL ends the one before (RFC 5321 4.1.1.2)."""
    current: dict[str, Any] = {}
    number = 0
    for line in lines:
        if line.word == "MAIL" and current:
            yield current
            current = {}
        if not current and (line.word == "BDAT" or line.reply_code == 354):
            seq = line.ack if line.word == "reply" else line.seq
            current = {key: getattr(line, key) for key in _KEY}
            current |= {"transaction": number, "start": line.time, "data_seq": seq}
            number += 1
        elif current and line.word == "message_id":
            current.setdefault("message_id", line.text)
        elif current and line.word == "reply" and line.reply_code not in (354, 221):
            end = {"end": line.time, "data_end_seq": line.ack}
            current |= end | {"reply_code": line.reply_code, "reply": line.text}
    if current:
        yield current
