"""Message files become `content`: how large they are, and what in them makes networks and servers stumble."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from smtpkit import tables
from smtpkit.files import open_input

PIECE = 1 << 16  # bytes read at once, and of a message's head

_NAME = re.compile(rf"({tables.MESSAGE_ID})(?:-D)?", re.ASCII)
_SPOOL = re.compile(rf"({tables.MESSAGE_ID})-D\n".encode())
_RECEIVED = re.compile(
    rf"^Received:(?:[^\n]|\n(?=[ \t]))*?\sid ({tables.MESSAGE_ID})(?=[\s;])".encode(),
    re.IGNORECASE | re.MULTILINE,
)
_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:|[ \t]")  # RFC 5322 2.2: a field, or the rest of one that is folded
_KNOWN = re.compile(
    rb"(?i)(?:Received|Return-Path|Delivered-To|From|Sender|To|Cc|Date|Subject|Message-ID|MIME-Version"
    rb"|Content-Type|DKIM-Signature|Envelope-to)[ \t]*:"
)


class ContentError(ValueError):
    """A message file cannot be measured; the message says which, why and what to do."""


def read_content(*paths: str | os.PathLike[str]) -> pd.DataFrame:
    """Measure message files: RFC 5322 with LF or CRLF, or ``-D`` files of Exim's spool, plain or compressed.

    A file is read in pieces, whatever its size. A ``-D`` file has no header, so that its `data_size` is
    unknown.

    Returns
    -------
    DataFrame
        The table `content`: one row for each file, sizes and offsets in octets.

    Raises
    ------
    ContentError
        If a file cannot be opened, or is compressed and damaged.
    """
    return tables.from_rows([_measure(os.fspath(path)) for path in paths], "content")


def sniff(head: bytes) -> bool:
    """Tell whether `head`, the first bytes of a file, is the header of a message (or Exim's ``-D`` file)."""
    if _SPOOL.match(head):
        return True
    lines = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0].splitlines()
    return any(map(_KNOWN.match, lines)) and all(map(_HEADER.match, lines[:-1]))


def _measure(path: str) -> dict[str, Any]:
    try:
        with open_input(path) as file:
            head = file.peek(PIECE)[:PIECE]
            row = _sizes(_lines(file))
            damage = file.damage
    except OSError as error:
        raise ContentError(
            f"{path}: cannot be read ({error.strerror}); check name and permissions"
        ) from error
    if damage:
        raise ContentError(f"{path}: {damage}, so its size is not known; unpack it again")
    if _SPOOL.match(head):
        row["data_size"] = None
    return row | {"file": path, "message_id": _message_id(path, head)}


def _message_id(path: str, head: bytes) -> str | None:
    """Return Exim's id by the file's name, else by the topmost Received field that has one."""
    if found := _NAME.fullmatch(Path(path).name.partition(".")[0]):
        return found[1]
    header = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    received = _SPOOL.match(head) or _RECEIVED.search(header)
    return received[1].decode() if received else None


class _Line(NamedTuple):
    length: int
    end: int  # octets of CRLF or LF, none at the end of a file that lacks it
    dot: bool
    nuls: int
    first_nul: int  # -1 if none


def _lines(file: BufferedIOBase) -> Iterator[_Line]:
    while piece := file.readline(PIECE):
        dot, length, nuls, first_nul, last = piece.startswith(b"."), 0, 0, -1, b""
        while piece:
            if nuls == 0 and b"\0" in piece:
                first_nul = length + piece.index(b"\0")
            nuls, length, last = nuls + piece.count(b"\0"), length + len(piece), last[-1:] + piece[-2:]
            piece = b"" if last.endswith(b"\n") else file.readline(PIECE)
        end = 2 if last.endswith(b"\r\n") else int(last.endswith(b"\n"))
        yield _Line(length - end, end, dot, nuls, first_nul)


def _sizes(lines: Iterator[_Line]) -> dict[str, Any]:
    row: dict[str, Any] = {"size": 0, "data_size": 0, "nul_count": 0, "first_nul": None, "longest_line": 0}
    for number, line in enumerate(lines, 1):
        if line.nuls and row["first_nul"] is None:
            row["first_nul"] = row["size"] + line.first_nul
        if line.length >= row["longest_line"] + (number > 1):
            row |= {"longest_line": line.length, "longest_line_number": number}
        row["size"] += line.length + line.end
        row["data_size"] += line.length + len(b"\r\n") + line.dot
        row["nul_count"] += line.nuls
    return row
