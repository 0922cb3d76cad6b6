"""How many cores there are, and how processes come to use them."""

from __future__ import annotations

import sys
import threading


def cores() -> int:
    """Return the number of cores that this process may use, a container's limits included."""
    from loky import cpu_count  # of no use where there is little to read

    return int(cpu_count())


def may_fork() -> bool:
    """Say whether a process may be forked: not beside threads, whose locks nobody would open in the copy.

    Other ways to start one have it load pandas again, which takes as long as to read 50 MB.
    """
    return sys.platform == "linux" and threading.active_count() == 1
