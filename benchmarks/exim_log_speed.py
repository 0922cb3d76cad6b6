"""Read a generated main log with smtpkit and with other tools, in turn; print a table of medians and ratios.

``python benchmarks/exim_log_speed.py [--lines 1000000] [--rounds 5]``; with 5000000 lines it has 0.9 GB.

Of each tool, as a process of its own: the time per line on the clock and on the processor, the largest memory
it had, and how many times as long as smtpkit's it took. The clock counts, but on a machine with other work to
do the processor's time says more. The regular expressions read a tenth of the lines. exigrep and eximstats
come with Debian's exim4-base; exigrep is asked for a message that is not there, its fastest case.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import sys
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from captures import Contender, Run, command, in_turn
from exim_log import Writer

OURSELVES = [sys.executable, Path(__file__).resolve()]
SMALL = 1_000
PATH = f"{os.environ['PATH']}:/usr/sbin"
NOWHERE = "0AAAAA-000000-00"
FIELDS = ("H", "I", "P", "X", "CV", "S", "id", "R", "T", "C", "QT", "DT", "F", "U", "A")


# --- the works ------------------------------------------------------------------------------------------


def table(path: str) -> int:
    """Do our work: the table with all fields of all lines."""
    from smtpkit.exim import Reader  # the process that starts all others stays small

    return len(Reader(path, timezone="UTC").log_lines())


def loop(path: str) -> int:
    """Do as scripts do: a regular expression for each field of each line."""
    start = re.compile(r"^(\S+ \S+) (?:([\w-]{16,23}) (?:(<=|=>|->|==|\*\*) (\S+))?)?")
    fields = {name: re.compile(rf' {name}=("(?:[^"\\]|\\.)*"|\S+)') for name in FIELDS}
    rows = 0
    with open(path) as file:
        for line in file:
            found = start.match(line)
            row = [found and found.groups(), *(field.search(line) for field in fields.values())]
            rows += len(row) > 0
    return rows


# --- their times ----------------------------------------------------------------------------------------


def ours(path: Path) -> partial[Run]:
    """Return what times our work."""
    return partial(command, [*OURSELVES, "--table", path])


def debians(*words: str | Path) -> partial[Run]:
    """Return what times one of Debian's tools."""
    tool = shutil.which(words[0], path=PATH)
    if tool is None:
        raise SystemExit(f"{words[0]} is missing; apt install exim4-base")
    return partial(command, [tool, *words[1:]])


def first_use(path: Path) -> Run:
    """Time a process that finds nothing compiled."""
    with TemporaryDirectory() as cache:
        return command([*OURSELVES, "--table", path], NUMBA_CACHE_DIR=cache)


def contenders(folder: Path, lines: int) -> list[Contender]:
    """Return all that read the log, smtpkit first."""
    log, packed, tenth = folder / "mainlog", folder / "mainlog.gz", folder / "tenth"
    return [
        Contender("smtpkit", lines, ours(log)),
        Contender("exigrep", lines, debians("exigrep", "--no-pager", NOWHERE, log)),
        Contender("eximstats", lines, debians("eximstats", log)),
        Contender("regular expressions", lines // 10, partial(command, [*OURSELVES, "--loop", tenth])),
        Contender("smtpkit, gzip", lines, ours(packed)),
        Contender("zcat", lines, debians("zcat", packed)),
    ]


def report(title: str, rivals: list[Contender], rounds: int) -> None:
    """Time the contenders in turn, and print them beside the first, smtpkit."""
    medians = in_turn(rivals, rounds)
    own = medians[0].clock / rivals[0].items
    print(f"\n{title}: medians of {rounds} rounds")
    print(f"{'':22}{'clock':>11}{'processor':>13}{'memory':>11}{'ratio':>9}{'whole':>10}")
    for rival, run in zip(rivals, medians, strict=True):
        clock, processor = run.clock / rival.items, run.processor / rival.items
        print(
            f"{rival.name:22}{clock * 1e9:8.0f} ns{processor * 1e9:10.0f} ns{run.memory / 1e6:8.0f} MB"
            f"{clock / own:8.2f}×{run.clock:8.2f} s",
            flush=True,
        )


def generate(path: Path, lines: int) -> None:
    """Write a log."""
    with open(path, "w") as file:
        file.writelines(f"{line}\n" for line in islice(Writer(1).lines(), lines))


def compare(folder: Path, lines: int, rounds: int) -> None:
    """Generate a log, and print its table."""
    log = folder / "mainlog"
    generate(log, lines)
    generate(folder / "tenth", lines // 10)
    with open(log, "rb") as plain, gzip.open(folder / "mainlog.gz", "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed)
    rivals = contenders(folder, lines)
    rivals[0].run()  # compiles, if this version was not compiled before
    report(f"{lines:,} lines, {log.stat().st_size / 1e6:.0f} MB", rivals, rounds)


def main() -> None:
    """Compare; or do one of the works, as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--table", metavar="LOG", help="only make smtpkit's table")
    parser.add_argument("--loop", metavar="LOG", help="only run the loop of regular expressions")
    asked = parser.parse_args()
    for name, do in (("table", table), ("loop", loop)):
        if path := getattr(asked, name):
            do(path)
            return
    with TemporaryDirectory(prefix="smtpkit-benchmark-") as folder:
        compare(Path(folder), asked.lines, asked.rounds)
        small = Path(folder, "small")
        generate(small, SMALL)
        first = [
            Contender("first use ever", SMALL, partial(first_use, small)),
            Contender("next", SMALL, ours(small)),
        ]
        report(f"{SMALL:,} lines", first, asked.rounds)


if __name__ == "__main__":
    main()
