"""Time contenders in turn, each as a process of its own; the clock, the processor, the largest memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

PATH = f"{os.environ['PATH']}:/usr/sbin"  # where Debian has Exim's tools


class Run(NamedTuple):
    """One run: seconds on the clock and on the processor, bytes of memory."""

    clock: float
    processor: float
    memory: float


class Contender(NamedTuple):
    """Something to be timed on a number of packets, lines or the like."""

    name: str
    items: int
    run: Callable[[], Run] | str  # or why it cannot be


def command(*words: str | Path, cores: int | None = None, **environment: str) -> Run:
    """Time a process, on so many cores."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    clock = time.perf_counter()
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | environment,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    _, status, usage = os.wait4(process.pid, 0)
    clock = time.perf_counter() - clock
    if status:
        raise SystemExit(f"{words[0]} failed: {' '.join(map(str, words))}")
    return Run(clock, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def first_use(*words: str | Path) -> Run:
    """Time a process that finds nothing compiled."""
    with TemporaryDirectory() as cache:
        return command(*words, NUMBA_CACHE_DIR=cache)


def tool(*words: str | Path, package: str) -> Callable[[], Run] | str:
    """Return what times a tool of Debian's, or says what is missing."""
    found = shutil.which(words[0], path=PATH)
    return partial(command, found, *words[1:]) if found else f"not installed: apt install {package}"


def in_turn(rivals: list[Contender], rounds: int) -> list[Run | str]:
    """Return each one's medians, or why there are none; the first round counts for nothing, it warms up."""
    runs: list[list[Run]] = [[] for _ in rivals]
    for _ in range(rounds + 1):
        for done, rival in zip(runs, rivals, strict=True):
            done += [] if isinstance(rival.run, str) else [rival.run()]
    return [
        rival.run if isinstance(rival.run, str) else Run(*map(median, zip(*done[1:], strict=True)))
        for done, rival in zip(runs, rivals, strict=True)
    ]
