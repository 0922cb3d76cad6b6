"""python3 -m lab [NAME...] -o FOLDER: make incidents, as root."""

import argparse
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.incidents import PLANS
from lab.publish import publish, publish_index
from lab.run import play
from lab.verify import problems

TRIES = 3  # chance may undo a plan: a loss too many, a slow moment of the machine


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lab", description="Make mail incidents; needs root.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PLANS)}; default: all")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="of all incidents")
    parser.add_argument("-j", "--jobs", type=int, default=4, help="how many at a time (default: 4)")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(PLANS)
    if unknown:
        parser.error(f"no such incident: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that namespaces are removed then, too
    names = arguments.names or sorted(PLANS)
    if len(names) == 1:
        return 0 if any(make(names[0], arguments.output) for _ in range(TRIES)) else 1
    done = in_parallel(names, arguments.output, arguments.jobs)
    if not arguments.names:
        publish_index(PLANS, arguments.output)
    return 0 if done else 1


def in_parallel(names: list[str], output: Path, jobs: int) -> bool:
    """Make each in a process of its own, since a network belongs to a process."""

    def one(name: str) -> int:
        return subprocess.run([sys.executable, "-m", "lab", name, "-o", output], check=False).returncode

    with ThreadPoolExecutor(jobs) as pool:
        return not any(pool.map(one, names))


def make(name: str, output: Path) -> bool:
    """Play a plan and publish the run, or throw it away and say why."""
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        result = play(PLANS[name], Path(folder))
        found = problems(result)
        if not found:
            publish(name, result, output / name)
    for problem in found:
        print(f"lab: {name}: thrown away, not as labelled: {problem}", file=sys.stderr)
    return not found


if __name__ == "__main__":
    sys.exit(main())
