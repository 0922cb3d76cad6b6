"""python3 -m lab NAME -o FOLDER: make one incident, as root."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from lab.incidents import PLANS
from lab.publish import publish
from lab.run import play
from lab.verify import problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lab", description="Make one mail incident; needs root.")
    parser.add_argument("name", choices=PLANS, metavar="NAME", help=f"one of: {', '.join(PLANS)}")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that namespaces are removed then, too
    plan = PLANS[arguments.name]
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        result = play(plan, Path(folder))
        found = problems(plan, result)
        if not found:
            publish(arguments.name, plan, result, arguments.output)
    for problem in found:
        print(f"lab: {arguments.name}: thrown away, not as labelled: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
