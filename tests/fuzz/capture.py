"""Feed mutated captures to the interpreted decoder, guided by coverage.

    python tests/fuzz/capture.py FOLDER [-runs=N] [-max_total_time=SECONDS] [-seed=N]

The options are libFuzzer's. Inputs that reach new code are kept in FOLDER. One that breaks the reader is
written to the working directory as crash-*; with its name in place of FOLDER it is run again.
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import atheris
import numpy as np

with atheris.instrument_imports(include=["smtpkit.capture"]):
    from smtpkit.capture import CaptureError, Reader, reader

sys.path.insert(0, str(Path(__file__).parent.parent))
from capture_seeds import FILES

# The tables around the columns are pandas' matter, and would take most of the time.
reader.tables = SimpleNamespace(empty=lambda _: None, from_rows=lambda rows, _: list(rows))
reader.INTERPRETED_FRAMES = sys.maxsize
FILE = os.memfd_create("capture")
PATH = f"/proc/self/fd/{FILE}"


def check(data: bytes) -> None:
    """Read a file of `data`; each packet must be a row or counted, and payload lie in its buffer."""
    os.truncate(FILE, 0)
    os.pwrite(FILE, data, 0)
    capture, rows = Reader(PATH), 0
    try:
        for piece, batch in capture._pieces():
            rows += len(piece["frame"])
            payload = piece["payload_offset"][~piece["payload_offset?"]]
            if (payload >= len(batch.buffer)).any() or (np.diff(piece["frame"]) <= 0).any():
                raise AssertionError("payload outside of its buffer, or frames out of order")
    except CaptureError as error:
        if not str(error).startswith(f"{PATH}: byte "):
            raise AssertionError("an error without its place") from error
        return
    lost = [row for row in capture.skipped if row["where"].startswith("frame")]
    rows += sum(row["count"] for row in lost if ", kept " not in row["reason"])
    if rows != capture.captures[0]["packets"]:
        raise AssertionError("a packet is neither a row nor counted")


def main() -> None:
    """Put the hand-made captures into the folder, and run libFuzzer."""
    for folder in filter(os.path.isdir, sys.argv[1:2]):
        for name, data in FILES.items():
            Path(folder, name).write_bytes(data)
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
