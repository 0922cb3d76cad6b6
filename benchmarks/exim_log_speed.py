"""Read one generated main log with smtpkit, exigrep, eximstats and a loop of regular expressions, in turn.

    python benchmarks/exim_log_speed.py [--lines 5000000] [--rounds 5]

Prints the median time of each, its peak memory, and how many times as long as smtpkit's it is. exigrep and
eximstats come with Debian's exim4-base. exigrep is asked for a message that is not there, its fastest case.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
READ = (
    "import sys; from smtpkit.exim import Reader; print(len(Reader(sys.argv[1], timezone='UTC').log_lines()))"
)
FIELDS = ("H", "I", "P", "X", "CV", "S", "id", "R", "T", "C", "QT", "DT", "F", "U", "A")


def loop(path: str) -> None:
    """Read a log as scripts do it: a regular expression for each field of each line."""
    start = re.compile(r"^(\S+ \S+) (?:([\w-]{16,23}) (?:(<=|=>|->|==|\*\*) (\S+))?)?")
    fields = {name: re.compile(rf' {name}=("(?:[^"\\]|\\.)*"|\S+)') for name in FIELDS}
    rows = 0
    with open(path) as file:
        for line in file:
            found = start.match(line)
            row = [found and found.groups(), *(field.search(line) for field in fields.values())]
            rows += len(row) > 0
    print(rows)


def measured(command: list[str]) -> tuple[float, int]:
    """Run `command`; return its time in seconds and its peak memory in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} failed")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", metavar="LOG", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.loop:
        loop(asked.loop)
        return
    with tempfile.TemporaryDirectory() as folder:
        log = f"{folder}/mainlog"
        subprocess.run([sys.executable, HERE / "exim_log.py", str(asked.lines), log], check=True)
        subprocess.run(["gzip", "-k", log], check=True)
        path = f"/usr/sbin:{os.environ['PATH']}"
        commands = {
            "smtpkit": [sys.executable, "-c", READ, log],
            "exigrep": [
                shutil.which("exigrep", path=path) or "exigrep",
                "--no-pager",
                "0AAAAA-000000-00",
                log,
            ],
            "eximstats": [shutil.which("eximstats", path=path) or "eximstats", log],
            "loop": [sys.executable, __file__, "--loop", log],
            "smtpkit, gzip": [sys.executable, "-c", READ, f"{log}.gz"],
            "zcat": ["zcat", f"{log}.gz"],
        }
        results: dict[str, list[tuple[float, int]]] = {name: [] for name in commands}
        measured(commands["smtpkit"])  # compiles, if this version was not compiled before
        for _ in range(asked.rounds):
            for name, command in commands.items():
                results[name].append(measured(command))
    ours = statistics.median(seconds for seconds, _ in results["smtpkit"])
    print(f"{asked.lines:,} lines, medians of {asked.rounds} rounds")
    for name, runs in results.items():
        seconds = statistics.median(seconds for seconds, _ in runs)
        peak = max(memory for _, memory in runs) / 1e6
        print(f"{name:14} {seconds:7.2f} s  {peak:6.0f} MB  {seconds / ours:5.2f} x smtpkit's time")


if __name__ == "__main__":
    main()
