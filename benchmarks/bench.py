"""Compare smtpkit with other tools, side by side in one run: one table, with ratios.

``make bench``, or in short ``make bench BENCH="--packets 100000 --lines 100000 --rounds 1"``

All inputs are generated, the same for the same options. The tools take turns; each is a process of its own,
and each figure is the median of its rounds after one that only warms up. The ratios are to the first of each
group, for one packet or line; what is above 1 took longer. The clock counts, but on a machine with other work
to do the processor's time says more. The slow tools read a tenth or a hundredth, as their names tell.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import exim_log
from capture_traffic import WHOLE, Writer, write
from timing import Contender, Run, command, first_use, in_turn, tool

SNAP = 96
NOWHERE = "0AAAAA-000000-00"  # exigrep's fastest case: a message that is not there
PYTHON, SMTPKIT = sys.executable, Path(sys.executable).with_name("smtpkit")
WORKS = Path(__file__).with_name("works.py")
FIELDS = (
    *("frame.number", "frame.time_epoch", "frame.len", "ip.src", "ip.dst", "ip.len", "ip.ttl", "ip.id"),
    *("ip.flags.df", "tcp.srcport", "tcp.dstport", "tcp.stream", "tcp.len", "tcp.seq_raw", "tcp.ack_raw"),
    *("tcp.flags", "tcp.window_size_value", "tcp.options.mss_val", "tcp.options.wscale.shift"),
    *("tcp.options.sack_le", "tcp.options.timestamp.tsval", "tcp.options.timestamp.tsecr"),
    *("tcp.analysis.retransmission", "tcp.analysis.fast_retransmission", "tcp.analysis.duplicate_ack"),
    *("tcp.analysis.out_of_order", "tcp.analysis.lost_segment"),
)

Group = tuple[str, str, list[Contender]]  # what all of it do, to what, and who does


# --- the groups -----------------------------------------------------------------------------------------


def captures(folder: Path, asked: argparse.Namespace) -> Iterator[Group]:
    """Yield those who read a capture: whole packets, and four times as many that are cut."""
    for packets, snap in ((asked.packets, WHOLE), (4 * asked.packets, SNAP)):
        path, tenth, hundredth = (folder / name for name in ("capture", "tenth", "hundredth"))
        count, some, few = (
            deliveries(path=file, packets=packets // part, snap=snap)
            for file, part in ((path, 1), (tenth, 10), (hundredth, 100))
        )
        size = f"{path.stat().st_size / 1e6:.0f} MB"
        rivals = [
            Contender("smtpkit", count, work("packets", path)),
            Contender("tcptrace -n", count, tool("tcptrace", "-n", path, package="tcptrace")),
            Contender("tcptrace -l -n -r", count, tool("tcptrace", "-lnr", path, package="tcptrace")),
            Contender("tcpdump -n", count, tool("tcpdump", "-n", "-r", path, package="tcpdump")),
            Contender("capinfos -c", count, tool("capinfos", "-c", path, package="wireshark-common")),
            Contender("tshark, 27 fields (a tenth)", some, tshark(tenth)),
            Contender("dpkt loop (a tenth)", some, work("dpkt", tenth)),
            Contender("scapy loop (a hundredth)", few, work("scapy", hundredth)),
        ]
        yield f"{count:,} packets, snap length {snap}, {size}: table", "packet", rivals


def logs(folder: Path, asked: argparse.Namespace) -> Iterator[Group]:
    """Yield those who read a log."""
    log, packed, tenth = folder / "mainlog", folder / "mainlog.gz", folder / "tenth"
    for path, lines in ((log, asked.lines), (tenth, asked.lines // 10)):
        with open(path, "w") as file:
            file.writelines(f"{line}\n" for line in islice(exim_log.Writer(1).lines(), lines))
    with open(log, "rb") as plain, gzip.open(packed, "wb", compresslevel=6) as file:
        shutil.copyfileobj(plain, file)
    rivals = [
        Contender("smtpkit", asked.lines, work("lines", log)),
        Contender("exigrep", asked.lines, tool("exigrep", "--no-pager", NOWHERE, log, package="exim4-base")),
        Contender("eximstats", asked.lines, tool("eximstats", log, package="exim4-base")),
        Contender("regular expressions (a tenth)", asked.lines // 10, work("expressions", tenth)),
        Contender("smtpkit, gzip", asked.lines, work("lines", packed)),
        Contender("zcat", asked.lines, tool("zcat", packed, package="gzip")),
    ]
    yield f"{asked.lines:,} lines, {log.stat().st_size / 1e6:.0f} MB: table", "line", rivals


def whole(folder: Path, asked: argparse.Namespace) -> Iterator[Group]:
    """Yield the whole analysis from a cold start, beside printing the same packets."""
    capture, log = folder / "capture", folder / "mainlog"
    count = deliveries(path=capture, log=log, size=asked.megabytes * 1_000_000)
    report = partial(command, SMTPKIT, "report", capture, log, "-o", folder / "report.html")
    rivals = [
        Contender("smtpkit diagnose", count, diagnose(capture, log)),
        Contender("tshark, 27 fields", count, tshark(capture)),
        Contender("smtpkit report", count, report),
    ]
    size = f"{capture.stat().st_size / 1e6:.0f} MB"
    yield f"{count:,} packets, {size}, and their log: all of it", "packet", rivals


def start(folder: Path, asked: argparse.Namespace) -> Iterator[Group]:
    """Yield what it takes to begin: importing, and a first small input."""
    capture, log = folder / "capture", folder / "mainlog"
    deliveries(path=capture, log=log, deliveries=10)
    rivals = [
        Contender("import smtpkit", 1, partial(command, PYTHON, "-c", "import smtpkit")),
        Contender("import pandas", 1, partial(command, PYTHON, "-c", "import pandas")),
        Contender("smtpkit diagnose, 10 deliveries", 1, diagnose(capture, log)),
        Contender("the same, first use ever", 1, partial(first_use, SMTPKIT, "diagnose", capture, log)),
    ]
    yield "start", "start", rivals


def growth(folder: Path, asked: argparse.Namespace) -> Iterator[Group]:
    """Yield 1, 4 and 16 times the work."""
    rivals = []
    for times in (1, 4, 16):
        capture, log = folder / f"capture{times}", folder / f"mainlog{times}"
        count = deliveries(path=capture, log=log, deliveries=times * asked.deliveries // 16)
        rivals.append(Contender(f"{times} × the work: {count:,} packets", count, diagnose(capture, log)))
    yield "smtpkit diagnose, growth", "packet", rivals


def large(folder: Path, asked: argparse.Namespace) -> Iterator[Group]:
    """Yield captures of which the larger is far beyond what is held in memory: that is what to look at."""
    rivals = []
    for megabytes in (asked.large // 10, asked.large):
        capture, log = folder / f"capture{megabytes}", folder / f"mainlog{megabytes}"
        count = deliveries(path=capture, log=log, size=megabytes * 1_000_000)
        rivals.append(Contender(f"{megabytes:,} MB", count, diagnose(capture, log)))
    yield "smtpkit diagnose, memory", "packet", rivals


def workers(folder: Path, asked: argparse.Namespace) -> Iterator[Group]:
    """Yield one core and two, for four captures of different hosts."""
    paths = [folder / f"capture-{name}" for name in "abcd"]
    count = sum(
        deliveries(path=path, deliveries=asked.deliveries // 16, seed=seed) for seed, path in enumerate(paths)
    )
    rivals = [
        Contender(f"{cores} core", count, partial(command, SMTPKIT, "diagnose", *paths, cores=cores))
        for cores in (1, 2)
    ]
    yield "smtpkit diagnose, four captures", "packet", rivals


def sick(folder: Path, asked: argparse.Namespace) -> Iterator[Group]:
    """Yield one sick server among many healthy ones, beside the same host without it."""
    rivals, twentieth = [], max(asked.deliveries // 20, 1)
    for name, every in (("all healthy", 0), ("20 of them into a black hole", twentieth)):
        capture, log = folder / f"capture{every}", folder / f"mainlog{every}"
        count = deliveries(path=capture, log=log, deliveries=asked.deliveries, sick_every=every)
        rivals.append(Contender(name, count, diagnose(capture, log)))
    yield f"smtpkit diagnose, {asked.deliveries:,} deliveries", "packet", rivals


GROUPS: dict[str, Callable[[Path, argparse.Namespace], Iterator[Group]]] = {
    group.__name__: group for group in (captures, logs, whole, start, growth, large, workers, sick)
}


# --- what they do ---------------------------------------------------------------------------------------


def deliveries(*, path: Path, log: Path | None = None, snap: int = WHOLE, **limits: float) -> int:
    """Write a capture, and its log; return the number of packets."""
    with open(path, "wb") as capture, open(log or "/dev/null", "w") as lines:
        writer = Writer(capture, lines, snap)
        write(writer, **limits)  # type: ignore[arg-type]
    return writer.packets


def work(name: str, path: Path) -> Callable[[], Run]:
    """Return what times one of the works."""
    return partial(command, PYTHON, WORKS, name, path)


def diagnose(*paths: Path) -> Callable[[], Run]:
    """Return what times the whole of ``smtpkit diagnose``."""
    return partial(command, SMTPKIT, "diagnose", *paths)


def tshark(path: Path) -> Callable[[], Run] | str:
    """Return what times tshark as it prints the fields that a table has."""
    fields = (word for name in FIELDS for word in ("-e", name))
    return tool("tshark", "-n", "-T", "fields", *fields, "-r", path, package="tshark")


# --- the table ------------------------------------------------------------------------------------------


def table(title: str, item: str, rivals: list[Contender], rounds: int) -> None:
    """Time a group, and print its rows."""
    print(f"| **{title}** | | | | | |")
    first: Run | None = None
    for rival, run in zip(rivals, in_turn(rivals, rounds), strict=True):
        if isinstance(run, str):
            print(f"| {rival.name} | {run} | | | | |")
            continue
        one = Run(run.clock / rival.items, run.processor / rival.items, run.memory)
        first = first or one
        figures = (
            *(f"{_time(one.clock)} a {item}", f"{_time(one.processor)}", f"{run.memory / 1e6:.0f} MB"),
            *(f"{one.clock / first.clock:.2f} ×", f"{one.processor / first.processor:.2f} ×"),
        )
        print(f"| {rival.name} | {' | '.join(figures)} |", flush=True)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds > 0.01 else f"{seconds * 1e9:,.0f} ns"


def main() -> None:
    """Print the table, or some groups of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("groups", nargs="*", help=f"some of {', '.join(GROUPS)}; else all")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--megabytes", type=int, default=100, help="of the capture that is analysed whole")
    parser.add_argument("--large", type=int, default=5_000, help="megabytes of the largest capture")
    parser.add_argument("--deliveries", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if unknown := set(asked.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    print(f"Medians of {asked.rounds} rounds.\n")
    print("| | clock | processor | memory | × clock | × processor |\n| --- | --: | --: | --: | --: | --: |")
    for name in asked.groups or GROUPS:
        with TemporaryDirectory(prefix="smtpkit-benchmark-") as folder:
            for group in GROUPS[name](Path(folder), asked):
                table(*group, asked.rounds)


if __name__ == "__main__":
    main()
