"""Read a generated capture with smtpkit and with other tools, in turn; print a table of medians and ratios.

``python benchmarks/captures.py [--packets 1000000] [--rounds 5]``

Of each tool: the time per packet on the clock and on the processor, the largest memory it had, and how many
times as long as smtpkit's it took, inside a running process and as a process of its own. The clock counts,
but on a machine with other work to do the processor's time says more. tshark and the loop of dpkt read a
tenth of the packets. tcptrace, tshark and capinfos are Debian's.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from capture_traffic import WHOLE, Writer, write

HERE = Path(__file__).resolve()
SNAP = 96
SMALL = 10_000
FIELDS = (
    *("frame.number", "frame.time_epoch", "frame.len", "ip.src", "ip.dst", "ip.len", "ip.ttl", "ip.id"),
    *("ip.flags.df", "tcp.srcport", "tcp.dstport", "tcp.stream", "tcp.len", "tcp.seq_raw", "tcp.ack_raw"),
    *("tcp.flags", "tcp.window_size_value", "tcp.options.mss_val", "tcp.options.wscale.shift"),
    *("tcp.options.sack_le", "tcp.options.timestamp.tsval", "tcp.options.timestamp.tsecr"),
    *("tcp.analysis.retransmission", "tcp.analysis.fast_retransmission", "tcp.analysis.duplicate_ack"),
    *("tcp.analysis.out_of_order", "tcp.analysis.lost_segment"),
)
TSHARK = ["tshark", "-n", "-T", "fields", *(word for name in FIELDS for word in ("-e", name)), "-r"]
OURSELVES = [sys.executable, HERE]


class Run(NamedTuple):
    """One run: seconds on the clock and on the processor, bytes of memory (0: not measured)."""

    clock: float
    processor: float
    memory: int = 0


class Contender(NamedTuple):
    """Something to be timed on a number of packets, or lines."""

    name: str
    items: int
    run: Callable[[], Run]


# --- the works ------------------------------------------------------------------------------------------


def table(path: str) -> Any:
    """Do our work: the table with the classes of retransmissions."""
    from smtpkit.capture import read_capture  # the process that starts all others stays small
    from smtpkit.tcp import analysis

    return analysis(read_capture(path))


def work(path: str) -> None:
    """Do our work again for each line of standard input; print the times, and first of all the memory."""
    kept(path)
    for _ in sys.stdin:
        gc.collect()
        clock, processor = time.perf_counter(), time.process_time()
        table(path)
        print(time.perf_counter() - clock, time.process_time() - processor, flush=True)


def kept(path: str) -> None:
    """Print the bytes that the table keeps per packet, by the system's account and by pandas'."""
    table(path)
    gc.collect()
    before = resident()
    packets = table(path)
    gc.collect()
    named = packets.memory_usage(deep=True).sum()
    print((resident() - before) / len(packets), named / len(packets), flush=True)


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def dpkt_loop(path: str) -> int:
    """Do as scripts do: take what a table would hold of each packet."""
    import dpkt

    rows = []
    with open(path, "rb") as file:
        for stamp, frame in dpkt.pcap.Reader(file):
            ip = dpkt.ethernet.Ethernet(frame).data
            if isinstance(tcp := ip.data, dpkt.tcp.TCP):
                options = dpkt.tcp.parse_opts(tcp.opts)
                ends = ip.src, ip.dst, tcp.sport, tcp.dport
                rows.append((stamp, *ends, tcp.seq, tcp.ack, tcp.flags, tcp.win, len(tcp.data), options))
    return len(rows)


# --- their times ----------------------------------------------------------------------------------------


class Inside:
    """A process that does our work whenever it is asked to."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [*OURSELVES, "--work", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.resident, self.named = self._numbers()

    def _numbers(self) -> list[float]:
        assert self._process.stdout
        return [float(word) for word in self._process.stdout.readline().split()]

    def __call__(self) -> Run:
        """Time it once."""
        assert self._process.stdin
        print(file=self._process.stdin, flush=True)
        return Run(*self._numbers())

    def end(self) -> None:
        """Let the process go."""
        self._process.communicate()


def command(words: list[str | Path], **environment: str) -> Run:
    """Time a process."""
    clock = time.perf_counter()
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    clock = time.perf_counter() - clock
    if status:
        raise SystemExit(f"{words[0]} failed")
    return Run(clock, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def first_use(path: Path) -> Run:
    """Time a process that finds nothing compiled."""
    with TemporaryDirectory() as cache:
        return command([*OURSELVES, "--table", path], NUMBA_CACHE_DIR=cache)


def contenders(inside: Inside, path: Path, tenth: Path, packets: int) -> list[Contender]:
    """Return all that read a capture, smtpkit's two first."""
    return [
        Contender("smtpkit, inside a process", packets, inside),
        Contender("smtpkit, whole process", packets, partial(command, [*OURSELVES, "--table", path])),
        Contender("tcptrace -n", packets, partial(command, ["tcptrace", "-n", path])),
        Contender("tcptrace -l -n -r", packets, partial(command, ["tcptrace", "-l", "-n", "-r", path])),
        Contender("capinfos -c", packets, partial(command, ["capinfos", "-c", path])),
        Contender("tshark, 27 fields", packets // 10, partial(command, [*TSHARK, tenth])),
        Contender("dpkt loop", packets // 10, partial(command, [*OURSELVES, "--dpkt", tenth])),
    ]


def in_turn(rivals: list[Contender], rounds: int) -> list[Run]:
    """Return each one's medians; the first round only warms up, and counts for nothing."""
    runs: list[list[Run]] = [[] for _ in rivals]
    for _ in range(rounds + 1):
        for done, rival in zip(runs, rivals, strict=True):
            done.append(rival.run())
    return [Run(*map(statistics.median, zip(*done[1:], strict=True))) for done in runs]


def report(title: str, rivals: list[Contender], rounds: int) -> None:
    """Time the contenders in turn, and print them beside smtpkit."""
    medians = in_turn(rivals, rounds)
    ours = [run.clock / rival.items for run, rival in zip(medians, rivals, strict=True)][:2]
    print(f"\n{title}: medians of {rounds} rounds")
    print(f"{'':26}{'clock':>11}{'processor':>13}{'memory':>9}{'inside':>10}{'whole':>8}")
    for rival, run in zip(rivals, medians, strict=True):
        clock, processor = run.clock / rival.items, run.processor / rival.items
        ratios = "".join(f"{clock / own:8.2f}×" for own in ours)
        memory = f"{run.memory / 1e6:6.0f} MB" if run.memory else f"{'':9}"
        print(f"{rival.name:26}{clock * 1e9:8.0f} ns{processor * 1e9:10.0f} ns{memory}{ratios}", flush=True)


def compare(folder: Path, packets: int, snap: int, rounds: int) -> None:
    """Generate a capture, and print its table."""
    path, tenth = folder / "capture", folder / "tenth"
    generate(path, packets, snap)
    generate(tenth, packets // 10, snap)
    inside = Inside(path)
    title = f"{packets:,} packets, snap length {snap}, {path.stat().st_size / 1e6:.0f} MB"
    report(title, contenders(inside, path, tenth, packets), rounds)
    print(f"kept per packet: {inside.resident:.0f} byte resident, {inside.named:.0f} by pandas' account")
    inside.end()


def generate(path: Path, packets: int, snap: int) -> None:
    """Write a capture."""
    with open(path, "wb") as file:
        write(Writer(file, snap=snap), packets=packets)


def main() -> None:
    """Compare; or do one of the works, as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--table", metavar="CAPTURE", help="only make smtpkit's table")
    parser.add_argument("--work", metavar="CAPTURE", help="make it once for each line of standard input")
    parser.add_argument("--dpkt", metavar="CAPTURE", help="only run the loop of dpkt")
    asked = parser.parse_args()
    for name, do in (("table", table), ("work", work), ("dpkt", dpkt_loop)):
        if path := getattr(asked, name):
            do(path)
            return
    with TemporaryDirectory(prefix="smtpkit-benchmark-") as folder:
        for snap in (WHOLE, SNAP):
            compare(Path(folder), asked.packets, snap, asked.rounds)
        small = Path(folder, "small")
        generate(small, SMALL, WHOLE)
        first = Contender("first use ever", SMALL, partial(first_use, small))
        report(f"{SMALL:,} packets", [first], asked.rounds)


if __name__ == "__main__":
    main()
