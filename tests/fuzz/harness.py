"""What must hold for a capture of any bytes."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from smtpkit.capture import CaptureError, Reader, account, columns, reader

sys.path.insert(0, str(Path(__file__).parent.parent))
from capture_seeds import FILES

__all__ = ["FILES", "check", "reader"]

# The tables around the columns are pandas' matter, and would take most of the time.
reader.tables = SimpleNamespace(empty=lambda _: None)
account.tables = SimpleNamespace(from_rows=lambda rows, _: list(rows))
FILE = os.memfd_create("capture")
PATH = f"/proc/self/fd/{FILE}"


def check(data: bytes) -> None:
    """Read a file of `data`; each packet must be a row or counted, and payload lie in its buffer."""
    os.truncate(FILE, 0)
    os.pwrite(FILE, data, 0)
    capture, rows = Reader(PATH), 0
    try:
        for decoded in capture._decoded():
            piece = columns.piece(decoded)
            columns.sack(decoded)
            rows += len(piece["frame"])
            payload = piece.get("payload_offset", np.empty(0))
            if (payload >= len(decoded.batch.buffer)).any() or (np.diff(piece["frame"]) <= 0).any():
                raise AssertionError("payload outside of its buffer, or frames out of order")
    except CaptureError as error:
        if not str(error).startswith(f"{PATH}: byte "):
            raise AssertionError("an error without its place") from error
        return
    lost = [row for row in capture.skipped if row["where"].startswith("frame")]
    rows += sum(row["count"] for row in lost if ", kept " not in row["reason"])
    if rows != capture.captures[0]["packets"]:
        raise AssertionError("a packet is neither a row nor counted")
