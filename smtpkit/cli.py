"""The command line: report, diagnose, tables, compare, redact."""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import ip_address
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

import smtpkit
from smtpkit import findings, redact, tables, terminal
from smtpkit.addresses import Address, prefix_preserving
from smtpkit.capture import CaptureError
from smtpkit.excerpt import excerpt
from smtpkit.files import STANDARD_INPUT, below, create, is_url, make_folder, normal, remove
from smtpkit.incident import Incident, InputError, check, save, to_tables
from smtpkit.printable import printable
from smtpkit.spool import Spool
from smtpkit.workers import Here, Workers

FILTERS = ("timezone", "peer", "host", "message", "since", "until")
SUFFIXES = {".pcap", ".pcapng", ".cap", ".log", ".gz", ".bz2", ".xz", ".zst", ".eml"}
MOST_UNSEARCHED = 100_000  # new objects before cycles are looked for: that took a tenth of the time
NESTED = "object"  # dtype of columns that hold lists and dicts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 done, whatever was found; 1 an INPUT named here could not be used; wrong usage exits with 2; 130
        interrupted.
    """
    parser = _parser()
    asked = parser.parse_args(arguments)
    gc.set_threshold(MOST_UNSEARCHED)
    atexit.register(gc.freeze)  # the last search, as Python ends, would take 0.4 s and free nothing of use
    try:
        return asked.run(asked)
    except InputError as error:
        parser.error(printable(error))
    except BrokenPipeError:
        # The reader of our output has seen enough; Python's own farewell to stdout must not fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"smtpkit: {printable(told)}; cannot go on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("smtpkit: interrupted; what was written so far is not whole", file=sys.stderr)
        return 130
    except Exception as error:
        # A fault of our own is no reason to show a postmaster a traceback.
        sentence = f"{type(error).__name__} ({error}): a fault of smtpkit; please report it with the input"
        print(f"smtpkit: {printable(sentence)}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="smtpkit", description="Why does mail to this server fail?")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, summary in (
        (_report, "write the report"),
        (_diagnose, "print the verdict"),
        (_tables, "write tables"),
    ):
        command = commands.add_parser(run.__name__.strip("_"), help=summary, description=summary)
        command.set_defaults(run=run)
        command.add_argument(
            "inputs",
            nargs="+",
            metavar="INPUT",
            help="captures, logs, messages, folders; - is standard input",
        )
        _add_options(command, run)
    command = commands.add_parser("compare", help="say whether a remedy worked", description=_compare.__doc__)
    command.set_defaults(run=_compare)
    for name in ("before", "after"):
        command.add_argument(name, metavar=name.upper(), help="capture, log, or a folder with all of it")
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="FILE.html or FILE.pdf")
    command = commands.add_parser("redact", help="write a capture for strangers", description=_redact.__doc__)
    command.set_defaults(run=_redact)
    command.add_argument("capture", metavar="CAPTURE", help="pcap or pcapng, plain or compressed")
    command.add_argument("-o", "--output", type=Path, metavar="FILE", required=True, help="pcapng to write")
    _add_discretion(command)
    return parser


def _add_options(command: argparse.ArgumentParser, run: Any) -> None:
    if run is _report:
        command.add_argument("-o", "--output", type=Path, metavar="FILE", help="FILE.html or FILE.pdf")
        command.add_argument("--show-payload", action="store_true", help="draw the bytes of a lost packet")
    if run is _diagnose:
        command.add_argument("--json", action="store_true", help="print JSON")
    if run is _tables:
        command.add_argument(
            "-o", "--output", metavar="DIR", required=True, help="folder for the tables, or a URL of one"
        )
        command.add_argument("--format", choices=("parquet", "csv"), default="parquet")
        command.add_argument("--cluster", metavar="ADDRESS", help="Dask scheduler, such as tcp://host:8786")
    command.add_argument("--redact", action="store_true", help="labels for all names and addresses")
    _add_discretion(command)
    group = command.add_argument_group("filters")
    for name, metavar in zip(FILTERS, ("ZONE", "ADDRESS", "NAME", "ID", "TIME", "TIME"), strict=True):
        group.add_argument(f"--{name}", metavar=metavar)


def _add_discretion(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("redaction")
    group.add_argument("--keep", metavar="ADDRESS", action="append", default=[], help="this one stays")
    group.add_argument("--key", type=Path, metavar="FILE", help="by default ~/.config/smtpkit/key; made once")


def _kept(asked: argparse.Namespace) -> set[Address]:
    try:
        return {ip_address(text) for text in asked.keep}
    except ValueError as error:
        raise InputError(f"--keep: {error}; give an address such as 192.0.2.1") from None


def _filters(asked: argparse.Namespace) -> dict[str, str | None]:
    return {name: getattr(asked, name) for name in FILTERS}


# --- commands -------------------------------------------------------------------------------------------


def _report(asked: argparse.Namespace) -> int:
    from smtpkit import report  # Jupyter is slow to load, and no other command needs it

    check(**_filters(asked))
    if asked.redact and asked.show_payload:
        raise InputError("--redact and --show-payload contradict each other; leave one out")
    output = _checked(asked.output)
    name = "redacted" if asked.redact else _name(asked.inputs[0])
    output = output or Path("report") / f"{name}.html"
    try:
        if asked.redact:
            document, inputs = _render_redacted(asked, output)
        else:
            payload = asked.show_payload
            document = report.render(asked.inputs, output, show_payload=payload, **_filters(asked))
            inputs = document["inputs"]
    except report.ReportError as error:
        if error.document:
            terminal.verdict(error.document, Console())
        print(f"smtpkit: {printable(error)}", file=sys.stderr)
        return 1
    terminal.verdict(document, Console())
    print(f"\nReport: {printable(output)}")
    return _status(inputs, asked.inputs)


def _checked(output: Path | None) -> Path | None:
    """Return the file of a report, if its name tells a format that there is."""
    if output and output.suffix.lower() not in (".html", ".pdf"):
        raise InputError(f"{output}: a report is a file that ends in .html or .pdf")
    return output


def _render_redacted(asked: argparse.Namespace, output: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write the report of an incident that is redacted here: its notebook sees pseudonyms only."""
    from smtpkit import report

    incident, inputs = _load(asked)
    with TemporaryDirectory() as folder:
        save(incident, Path(folder))
        return report.render([folder], output), inputs


def _diagnose(asked: argparse.Namespace) -> int:
    incident, inputs = _load(asked)
    document = findings.document(incident, smtpkit.diagnose(incident))
    if asked.json:
        print(json.dumps(document, indent=1))
    else:
        terminal.page(document, Console())
    return _status(inputs, asked.inputs)


def _tables(asked: argparse.Namespace) -> int:
    make_folder(asked.output)
    if asked.cluster:
        return _tables_of_cluster(asked)
    with TemporaryDirectory(dir=None if is_url(asked.output) else asked.output) as folder:
        # What is redacted is redacted as a whole: what has no room is left out, and said to be.
        spool = None if asked.redact else Spool(Path(folder))
        incident, inputs = _load(asked, mapped=True, workers=Here(spool))
        return _write_tables(asked, incident, inputs, partial(_write, spool))


def _tables_of_cluster(asked: argparse.Namespace) -> int:
    if asked.redact or asked.format == "csv":
        raise InputError(
            "--cluster writes Parquet, a partition at a time, and --redact must see all names at once; "
            "leave --redact and --format csv out"
        )
    try:
        from smtpkit.cluster import Cluster
    except ImportError:
        raise InputError("--cluster needs Dask; install smtpkit-notebooks[cluster]") from None
    logging.disable()  # Dask logs tracebacks; what is wrong is told in a sentence
    try:
        cluster = Cluster(asked.cluster)
    except OSError as error:
        raise InputError(f"--cluster {asked.cluster}: {error.strerror}") from None
    with cluster:
        incident, inputs = _load(asked, workers=cluster)
        large = cluster.tables()

        def write(name: str, frame: Any, path: str) -> None:
            cluster.write(name, path) if name in large else _write(None, name, frame, path)

        return _write_tables(asked, incident, inputs, write)


def _write_tables(
    asked: argparse.Namespace,
    incident: Incident,
    inputs: list[dict[str, Any]],
    write: Callable[[str, Any, str], None],
) -> int:
    """Write all tables by `write`, which is given name, rows and file of each, and the findings' packets."""
    found = smtpkit.diagnose(incident)
    for name, frame in _frames(incident, found):
        path = below(asked.output, f"{name}.{asked.format}")
        remove(path)  # a cluster writes a folder of this name
        write(name, frame, path)
    if not asked.redact:
        _excerpts(incident, found, asked.output)
    print(f"Tables: {printable(asked.output)}")
    return _status(inputs, asked.inputs)


def _write(spool: Spool | None, name: str, frame: Any, path: str) -> None:
    """Write a table: what the incident holds of it, and what it has no room for."""
    with create(path) as file:
        (_write_csv if path.endswith(".csv") else _write_parquet)(
            frame, spool.pieces(name) if spool else iter(()), file
        )


def _write_csv(frame: Any, more: Iterator[Any], file: Any) -> None:
    for number, rows in enumerate(chain([frame], more)):
        _harmless(rows).to_csv(file, index=False, mode="wb", header=not number)


def _write_parquet(frame: Any, more: Iterator[Any], file: Any) -> None:
    first = next(more, None)
    if first is None:
        frame.to_parquet(file)
        return
    texts = dict.fromkeys(frame.select_dtypes("category"), "string")  # those of two pieces would differ
    schema = pa.Schema.from_pandas(frame.astype(texts), preserve_index=False)
    with pq.ParquetWriter(file, schema) as writer:
        for rows in chain([frame, first], more):
            writer.write_table(pa.Table.from_pandas(rows.astype(texts), schema=schema, preserve_index=False))


def _excerpts(incident: Incident, found: Any, folder: str) -> None:
    """Write the packets of each finding; where a folder of tables is read, its captures may be gone."""
    for number, finding in enumerate(found.to_dict("records"), 1):
        try:
            packets = excerpt(incident, finding)
        except (CaptureError, OSError) as error:
            print(f"smtpkit: finding-{number}.pcapng is not written: {printable(error)}", file=sys.stderr)
            continue
        if packets:
            with create(below(folder, f"finding-{number}.pcapng")) as file:
                file.write(packets)


def _compare(asked: argparse.Namespace) -> int:
    """Hold two incidents side by side: which faults are gone, which remain, which are new."""
    from smtpkit.compare import compare

    output, named = _checked(asked.output), (asked.before, asked.after)
    before, after = (smtpkit.load(path) for path in named)
    terminal.changes(compare(before, after).to_dict("records"), Console())
    status = _status([*findings.inputs(before), *findings.inputs(after)], named)
    if output is None:
        return status
    from smtpkit import report  # Jupyter is slow to load

    try:
        report.render_comparison(asked.before, asked.after, output)
    except report.ReportError as error:
        print(f"smtpkit: {printable(error)}", file=sys.stderr)
        return 1
    print(f"\nReport: {printable(output)}")
    return status


def _redact(asked: argparse.Namespace) -> int:
    """Write a capture without payload and with other addresses, which other programs read the same way."""
    from smtpkit.capture.rewriting import redact_capture

    kept, mapped = _kept(asked), prefix_preserving(redact.read_key(asked.key))
    if asked.output.exists() and asked.output.samefile(asked.capture):
        raise InputError(f"{asked.output}: is the capture itself; name another file")
    try:
        count = redact_capture(
            asked.capture, asked.output, lambda address: address if address in kept else mapped(address)
        )
    except CaptureError as error:
        print(f"smtpkit: {printable(error)}", file=sys.stderr)
        return 1
    print(f"Capture: {printable(asked.output)} ({count} packets)")
    return 0


def _load(
    asked: argparse.Namespace, *, mapped: bool = False, workers: Workers | None = None
) -> tuple[Incident, list[dict[str, Any]]]:
    """Return the incident, redacted if asked for, and its inputs under their own names."""
    kept = {str(address) for address in _kept(asked)}
    key = redact.read_key(asked.key) if asked.redact else b""
    incident = smtpkit.load(*asked.inputs, **_filters(asked), workers=workers)
    inputs = findings.inputs(incident)
    return redact.redact(incident, key, keep=kept, mapped=mapped) if asked.redact else incident, inputs


def _frames(incident: Incident, found: Any) -> Iterator[tuple[str, Any]]:
    from smtpkit.observations import failures, observations

    yield from to_tables(incident).items()
    yield "failures", failures(incident)
    yield "observations", _flat(observations(incident), "observations")
    yield "findings", _flat(found, "findings")


def _flat(frame: Any, table: str) -> Any:
    """Write nested cells as JSON."""
    nested = [column.name for column in tables.TABLES[table] if column.dtype == NESTED]
    return frame.assign(**{name: frame[name].map(_json) for name in nested})


def _json(cell: Any) -> Any:
    return json.dumps(cell) if isinstance(cell, list | dict) else None


def _harmless(frame: Any) -> Any:
    """Keep a spreadsheet from taking text of others for a formula."""
    text = frame.select_dtypes(["string", "category", "object"]).astype("string")
    return frame.assign(
        **{name: text[name].str.replace(r"^([=+\-@\t\r])", r"'\1", regex=True) for name in text}
    )


# --- what is printed ------------------------------------------------------------------------------------


def _status(inputs: list[dict[str, Any]], named: Sequence[str]) -> int:
    """Say what could not be used, a line each; files met inside a folder do not count."""
    paths = set(map(normal, named))
    failed = [entry for entry in inputs if entry["path"] in paths and entry["kind"] == "other"]
    for entry in failed:
        print(f"smtpkit: {printable(entry['skipped'][0]['reason'])}", file=sys.stderr)
    return 1 if failed else 0


def _name(path: str) -> str:
    """Return the name of an input without what tells its format."""
    if path == STANDARD_INPUT:
        return "standard-input"
    name = Path(path).resolve()
    while name.suffix in SUFFIXES:
        name = name.with_suffix("")
    return name.name
