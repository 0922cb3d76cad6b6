"""Feed mutated captures to the interpreted decoder, guided by coverage.

    python tests/fuzz/capture.py FOLDER [-runs=N] [-max_total_time=SECONDS] [-seed=N]

The options are libFuzzer's. Inputs that reach new code are kept in FOLDER. One that breaks the reader is
written to the working directory as crash-*; with its name in place of FOLDER it is run again. The memory of
atheris itself grows with the runs, so a long campaign is a loop over short ones.
"""

import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["smtpkit.capture"]):
    from harness import FILES, check, reader


def main() -> None:
    """Put the hand-made captures into the folder, and run libFuzzer."""
    reader.INTERPRETED_FRAMES = sys.maxsize
    for folder in filter(os.path.isdir, sys.argv[1:2]):
        for name, data in FILES.items():
            Path(folder, name).write_bytes(data)
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
