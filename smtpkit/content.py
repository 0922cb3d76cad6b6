"""Message files become `content`: how large they are, and what in them makes networks and servers stumble."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import pandas as pd

from smtpkit import tables
from smtpkit.files import open_input
from smtpkit.measure import Measure

PIECE = 1 << 16  # bytes read at once
_MOST_HEADER = 1 << 24  # bytes of a -H file that are read

_NAME = re.compile(rf"({tables.MESSAGE_ID})(?:-[DH])?", re.ASCII)
_SPOOL = re.compile(rf"({tables.MESSAGE_ID})-([DH])\n".encode())
_SPOOL_NAME = re.compile(rf"(?:^|/){tables.MESSAGE_ID}-(?P<part>[DH])(?=\.\w+$|$)")
_SPOOL_FIELD = re.compile(rb"(\d{3,9})([A-Z* ]) ")  # Exim specification, "Format of the -H file"
_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:|[ \t]")  # RFC 5322 2.2: a field, or the rest of one that is folded
_KNOWN = re.compile(
    rb"(?i)(?:Received|Return-Path|Delivered-To|From|Sender|To|Cc|Date|Subject|Message-ID|MIME-Version"
    rb"|Content-Type|DKIM-Signature|Envelope-to)[ \t]*:"
)


class ContentError(ValueError):
    """A message file cannot be measured; the message says which, why and what to do."""


def read_content(*paths: str | os.PathLike[str]) -> pd.DataFrame:
    """Measure message files: RFC 5322 with LF or CRLF, or files of Exim's spool, plain or compressed.

    A file is read in pieces, whatever its size. Of Exim's spool a ``-D`` file is the body and the ``-H`` file
    beside it the header: the two are one message, and one row. Where one of them is missing, the `data_size`
    is unknown.

    Returns
    -------
    DataFrame
        The table `content`: one row for each message, sizes and offsets in octets.

    Raises
    ------
    ContentError
        If a file cannot be opened, or is compressed and damaged.
    """
    named = [os.fspath(path) for path in paths]
    alone = [path for path in named if not is_header_of(path, set(named))]
    return tables.from_rows([_measure(path) for path in alone], "content")


def is_header_of(path: str, others: set[str]) -> bool:
    """Tell whether `path` is the ``-H`` file to a ``-D`` file among the others, and read with that one."""
    found = _SPOOL_NAME.search(path)
    return found is not None and found["part"] == "H" and _partner(path) in others


def _partner(path: str) -> str:
    """Return the name of the other file of a message in Exim's spool; `path` itself if it is none."""
    found = _SPOOL_NAME.search(path)
    if not found:
        return path
    return path[: found.start("part")] + ("D" if found["part"] == "H" else "H") + path[found.end("part") :]


def sniff(head: bytes) -> bool:
    """Tell whether the first bytes of a file are the header of a message, or a file of Exim's spool."""
    if _SPOOL.match(head):
        return True
    lines = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0].splitlines()
    return any(map(_KNOWN.match, lines)) and all(map(_HEADER.match, lines[:-1]))


def _measure(path: str) -> dict[str, Any]:
    measure = Measure()
    head = b""
    for piece in _pieces(path):
        if not head:
            head = piece
            if spool := _SPOOL.match(piece):
                return _measure_spool(path, spool[1].decode(), spool[2] == b"H")
        measure.feed(piece)
    measure.finish()
    row = measure.row() | {"file": path}
    return row | {"message_id": _id_by_name(path) or row["message_id"]}


def _measure_spool(path: str, message_id: str, is_header: bool) -> dict[str, Any]:
    """Measure the message that a -H and a -D file make; what is not there is left out."""
    other = _partner(path)
    whole = other != path and Path(other).is_file()
    header, body = (path, other) if is_header else (other, path)
    measure = Measure()
    if is_header or whole:
        measure.feed(_spool_header(header))
    if not is_header or whole:
        for piece in _after_first_line(_pieces(body)):
            measure.feed(piece)
    measure.finish()
    row = measure.row() | {"file": path, "message_id": message_id}
    return row if whole else row | {"data_size": None}


def _spool_header(path: str) -> bytes:
    """Return the header fields of a -H file, and the empty line after them; deleted ones left out."""
    kept, size = [], 0
    for piece in _pieces(path):
        kept.append(piece)
        size += len(piece)
        if size > _MOST_HEADER:
            break
    data = b"".join(kept)
    fields, at = [], data.find(b"\n\n") + 2
    while found := _SPOOL_FIELD.match(data, at):
        at = found.end() + int(found[1])
        if found[2] != b"*":
            fields.append(data[found.end() : at])
    return b"".join([*fields, b"\n"])


def _after_first_line(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield next(pieces, b"").partition(b"\n")[2]
    yield from pieces


def _pieces(path: str) -> Iterator[bytes]:
    try:
        with open_input(path) as file:
            yield from _read(file)
            damage = file.damage
    except OSError as error:
        raise ContentError(
            f"{path}: cannot be read ({error.strerror}); check name and permissions"
        ) from error
    if damage:
        raise ContentError(f"{path}: {damage}, so its size is not known; unpack it again")


def _read(file: BufferedIOBase) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


def _id_by_name(path: str) -> str | None:
    found = _NAME.fullmatch(Path(path).name.partition(".")[0])
    return found[1] if found else None
