"""What the cells of a notebook show: the JSON document and tables, as HTML and as plain text.

By default no subject, mailbox, free text of a log or payload is shown: of an error its class and reply code.
"""

from __future__ import annotations

import base64
import html
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from smtpkit import phrases, plot, tables
from smtpkit.capture import CaptureError
from smtpkit.excerpt import excerpt
from smtpkit.incident import Incident, log_time
from smtpkit.printable import endpoint, printable
from smtpkit.tables import ENDS, KEY

DOCUMENT = "application/vnd.smtpkit.findings+json"  # where the verdict carries what the command line prints
MOST_ROWS = 500  # of a table
MOST_FINDINGS = 20  # that are told in full
MOST_EMBEDDED = 1 << 19  # bytes of a capture inside the page
_PATH = ["capture", "client", "server"]


@dataclass(frozen=True)
class Shown:
    """HTML for the output of a cell; its `repr` is the same in plain text."""

    html: str
    document: dict[str, Any] | None = None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle = {"text/html": self.html, "text/plain": repr(self)}
        return bundle if self.document is None else bundle | {DOCUMENT: self.document}

    def __repr__(self) -> str:
        text = html.unescape(re.sub(r"<[^>]*>", " ", self.html))
        return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


class Example(NamedTuple):
    """What the figures draw: one connection, the packet sizes on its path, and what decides."""

    packets: pd.DataFrame
    stalls: pd.DataFrame
    connections: pd.DataFrame
    sessions: pd.DataFrame
    transactions: pd.DataFrame
    dialogue: pd.DataFrame
    sizes: pd.DataFrame
    path_mtu: pd.DataFrame
    loss_rates: pd.DataFrame
    threshold: tuple[int, int] | None
    suspects: list[bytes]

    @property
    def dying(self) -> pd.DataFrame:
        """The longest stall whose segment was captured: its row names the packet."""
        seen = self.stalls[~self.stalls["missing"].fillna(False).astype(bool)]
        return seen.sort_values("duration", ascending=False).head(1)


def verdict(document: dict[str, Any]) -> Shown:
    """Return what was found, two sentences a finding, of very many a row; `document` goes with it."""
    others = [
        [one["severity"], one["cause"].replace("_", " "), one["confidence"], one["peer"], one["messages"]]
        for one in document["findings"][MOST_FINDINGS:]
        if one["peer"]
    ]
    rows = [[*words, str(len(messages))] for *words, messages in others]
    return Shown(_part("verdict", _told(document), rows), document)


def _told(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the findings that are told in full: the first ones, and those of no server."""
    first, more = document["findings"][:MOST_FINDINGS], document["findings"][MOST_FINDINGS:]
    return document | {"findings": first + [finding for finding in more if not finding["peer"]]}


def scope(incident: Incident) -> Shown:
    """Return how much was read, and of what time."""
    times = pd.concat([incident.packets["time"], incident.log_lines["time"]]).dropna()
    if times.empty:
        return Shown(_part("sentence", "Neither packets nor log lines were read."))
    packets, lines = (
        incident.inputs.loc[incident.inputs["kind"] == k, "rows"].sum() for k in ("capture", "log")
    )
    counts = f"{packets:,} packets in {len(incident.connections):,} connections"
    counts += f", and {lines:,} log lines about {len(incident.messages):,} messages"
    span = " to ".join(f"{time:%Y-%m-%d %H:%M:%S}" for time in (times.min(), times.max()))
    labels = " For strangers, names and addresses are replaced by labels." if incident.redacted else ""
    return Shown(_part("sentence", f"From {span} UTC: {counts}.{labels}"))


def remedies(document: dict[str, Any]) -> Shown:
    """Return the next test and the remedies of each finding."""
    return Shown(_part("remedies", _told(document)))


def evidence(document: dict[str, Any]) -> Shown:
    """Return what speaks for each finding and what against it, with the sources."""
    return Shown(_part("evidence", _told(document)))


def ruled_out(document: dict[str, Any]) -> Shown:
    """Return the causes that do not hold, and why."""
    return Shown(_part("ruled_out", _told(document)))


def not_observable(document: dict[str, Any]) -> Shown:
    """Return what the inputs could not tell."""
    return Shown(_part("not_observable", _told(document)))


def display_filters(document: dict[str, Any], incident: Incident) -> Shown:
    """Return for each finding a Wireshark display filter, and its packets as a capture inside the page."""
    told = _told(document)
    captures = [_capture(incident, finding) for finding in told["findings"]]
    return Shown(_part("display_filters", told, captures))


def _capture(incident: Incident, finding: dict[str, Any]) -> str | None:
    """Return the packets of a finding in base64; None if there are none or too many, or files are gone."""
    if incident.redacted:
        return None
    try:
        packets = excerpt(incident, finding)
    except (CaptureError, OSError):
        return None
    return base64.b64encode(packets).decode() if 0 < len(packets) <= MOST_EMBEDDED else None


def figure(ax: plot.Axes, rows: pd.DataFrame | None = None) -> Shown:
    """Return the picture of `ax`, with the label of `ax` as its alternative text, and close it.

    `rows` go under it as a small table. Where nothing is drawn on `ax`, the label stands alone.
    """
    words, image = str(ax.get_label()), plot.png(ax)
    if not ax.has_data():
        return Shown(_part("sentence", words))
    drawn = Shown(_part("figure", words, base64.b64encode(image).decode()))
    under = table(rows, caption="In numbers").html if rows is not None and len(rows) else ""
    return Shown(drawn.html + under)


def table(frame: pd.DataFrame, *, caption: str, most_rows: int = MOST_ROWS) -> Shown:
    """Return `frame` as a table: its first `most_rows` rows, and how many are left out."""
    if frame.empty:
        return Shown(_part("sentence", f"{caption}: there are none."))
    rows = frame.head(most_rows).itertuples(index=False, name=None)
    cells = [[_cell(value) for value in row] for row in rows]
    return Shown(_part("table", caption, list(frame.columns), cells, len(frame) - most_rows))


def columns(name: str) -> Shown:
    """Return what the columns of the table `name` mean, and their units."""
    described = tables.describe(name)[["name", "meaning", "unit", "source"]]
    return table(described.rename(columns=str.capitalize), caption=f"The table {name}")


def attempts(incident: Incident) -> Shown:
    """Return a row for each message and server tried, in order of time.

    Where there are more than can be shown, those that did not deliver come first.
    """
    if incident.attempts.empty:
        return Shown(_part("sentence", "No log of delivery attempts was among the inputs."))
    rows = incident.attempts.sort_values("end", kind="stable")
    if len(rows) > MOST_ROWS:
        rows = rows.sort_values("outcome", key=lambda outcome: outcome == "delivered", kind="stable")
    zone = f"the log was read as {incident.timezone} ({incident.timezone_reason})"
    caption = f"Delivery attempts: times in UTC, sizes in bytes; {zone}"
    return table(_readable_attempts(rows, incident), caption=caption)


def skipped(incident: Incident) -> Shown:
    """Return what could not be read or was left out, and why; files that could not be used at all too."""
    unused = incident.inputs.dropna(subset="error").rename(columns={"path": "file", "error": "reason"})
    rows = tables.concat([incident.skipped, unused.assign(count=1)], "skipped")
    if rows.empty:
        return Shown(_part("sentence", "Nothing was skipped: every packet and every line was read."))
    return table(rows.rename(columns=str.capitalize), caption="Skipped, by file and reason")


def about(document: dict[str, Any]) -> Shown:
    """Return the versions of the programs and what the inputs were, with their SHA-256."""
    versions = {"Python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in ("smtpkit-notebooks", "pandas", "matplotlib")}
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    names = {"path": "File", "kind": "Kind", "rows": "Rows", "sha256": "SHA-256"}
    inputs = pd.DataFrame(document["inputs"], columns=list(names)).rename(columns=names)
    return table(inputs, caption=f"Read by {used}")


def example(incident: Incident, document: dict[str, Any]) -> Example:
    """Choose what the figures draw: the first stalled connection of the first finding that has one.

    Where none has one, it is a finding's first connection, else the busiest of all: there is no fault to draw
    then, but the packet sizes on its path still are of interest.
    """
    named = [(c["capture"], c["stream"]) for f in document["findings"] for c in f["connections"]]
    stalled = set(_keys(incident.stalls))
    busiest = _keys(incident.connections.sort_values("packets", ascending=False))
    key = next(iter([*filter(stalled.__contains__, named), *named, *busiest]), (-1, -1))
    parameters = [finding["parameters"] for finding in document["findings"]]
    return _example(incident, key, faulty=key in named, parameters=parameters)


def longest_stall(incident: Incident) -> Example:
    """Choose the connection with the longest stall; all is empty if none stalled."""
    longest = _keys(incident.stalls.sort_values("duration", ascending=False))
    return _example(incident, next(iter(longest), (-1, -1)), faulty=True, parameters=[])


def busiest(incident: Incident, peer: str | None = None) -> Example:
    """Choose the connection with most packets, of those to one server if it is given."""
    ends = incident.connections
    ends = ends if peer is None else ends[(ends["server"] == peer).fillna(False)]
    first = _keys(ends.sort_values("packets", ascending=False))
    return _example(incident, next(iter(first), (-1, -1)), faulty=False, parameters=[])


def _example(
    incident: Incident, key: tuple[int, int], *, faulty: bool, parameters: list[dict[str, Any]]
) -> Example:
    own = {name: _of(getattr(incident, name), key) for name in _OF_ONE}
    if not faulty:
        own |= {name: own[name].iloc[:0] for name in _OF_A_FAULT}
    longest = own["stalls"].sort_values("duration", ascending=False)["direction"]
    wanted = pd.DataFrame({"direction": [*longest, "forward"][:1]})
    path = incident.connections.merge(own["connections"][_PATH].drop_duplicates())
    sizes = incident.sizes.merge(path[KEY]).merge(wanted)
    path_mtu, loss_rates = (
        rows.merge(path[_PATH].drop_duplicates()).merge(wanted)
        for rows in (incident.path_mtu, incident.loss_rates)
    )
    suspects = [phrases.known_octets(found.get("pattern_hex")) for found in parameters]
    return Example(
        **own,
        sizes=sizes,
        path_mtu=path_mtu,
        loss_rates=loss_rates,
        threshold=_threshold(parameters),
        suspects=[octets for octets in suspects if octets],
    )


_OF_A_FAULT = ("stalls", "sessions", "transactions", "dialogue")
_OF_ONE = ("packets", "connections", *_OF_A_FAULT)


def _keys(frame: pd.DataFrame) -> list[tuple[int, int]]:
    return list(frame[KEY].itertuples(index=False, name=None))


def _of(frame: pd.DataFrame, key: tuple[int, int]) -> pd.DataFrame:
    return frame[(frame["capture"] == key[0]) & (frame["stream"] == key[1])]


def _threshold(parameters: list[dict[str, Any]]) -> tuple[int, int] | None:
    """Sizes by which a finding parts messages, if they are of the kind that the log tells."""
    for found in parameters:
        if found.get("size_measure") == "S" and found.get("size_low") and found.get("size_high"):
            return found["size_low"], found["size_high"]
    return None


def _readable_attempts(attempts: pd.DataFrame, incident: Incident) -> pd.DataFrame:
    known = incident.connections[[*KEY, *ENDS]]
    seen = attempts.merge(known, on=KEY, how="left", suffixes=("_logged", ""))
    for logged, name in zip(("client_logged", "client_port_logged", "peer", "peer_port"), ENDS, strict=True):
        seen[name] = seen[name].fillna(seen[logged])
    return pd.DataFrame(
        {
            "Logged at (UTC)": seen["end"],
            **({} if incident.timezone == "UTC" else {"Local time": seen["end"].map(log_time(incident))}),
            "Took [s]": (seen["end"] - seen["start"]).dt.total_seconds().round(1),
            "Message": seen["message_id"],
            "Client": seen[ENDS[:2]].apply(_end, axis="columns"),
            "Server": seen[ENDS[2:]].apply(_end, axis="columns"),
            "Outcome": seen["outcome"],
            "Last phase": seen["phase"],
            "Error": seen["smtp_code"].astype("string").fillna(seen["error"]),
            "Size": seen["size"],
            "Written": seen["bytes_written"],
            "Acknowledged": seen["bytes_acknowledged"],
            "Display filter": "tcp.stream==" + seen["stream"].astype("string"),
            "Found by": seen["matched_by"].str.replace("_", " "),
            "Log line": [
                f"{Path(file).name} {line}" for file, line in zip(seen["file"], seen["line"], strict=True)
            ],
        }
    )


def _end(end: pd.Series) -> str:
    address, port = end
    if pd.isna(address):
        return "this host"
    return address if pd.isna(port) else endpoint(address, port)


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, pd.Timestamp) else str(value)


def _lines(text: str) -> Markup:
    """Commands and filters: several lines stay several lines."""
    return Markup("\n").join(printable(line) for line in text.splitlines())


def _part(name: str, *values: Any) -> str:
    return str(getattr(_PARTS, name)(*values))


def _visible(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _parts() -> Any:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["lines"] = _lines
    return environment.get_template("parts.html.j2").module


_PARTS = _parts()
