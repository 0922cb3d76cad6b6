"""What the terminal shows: the verdict first, then why, then what next.

All text of others is printed as text: no markup, no escape sequence. Commands stay on one line, to be copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from smtpkit.printable import printable

_STYLES = {"error": "bold red", "warn": "bold yellow", "note": "bold cyan", "chat": "bold"}
_STATES = {
    **dict.fromkeys(("new", "remains"), "bold red"),
    **{"undecided": "bold yellow", "harmless": "bold cyan", "gone": "bold green"},
}
_INDENT = "  "
NARROWEST = 20  # columns
MOST_FINDINGS = 20  # that are told in full, the others in a line
MOST_HEALTHY = 20  # servers that are named


def verdict(document: dict[str, Any], console: Console) -> None:
    """Print what was found, a few lines for each finding.

    Parameters
    ----------
    document
        As `smtpkit.findings.document` returns it.
    console
        Where to.
    """
    told, others = _parted(document)
    for finding in told:
        _head(finding, console)
        _command("Next test: ", finding["next_test"], console)
        for remedy in finding["remedies"][:1]:
            _paragraph(f"{_INDENT}Remedy:    ", _text(remedy), console)
        console.print()
    _end(document, others, console)


def page(document: dict[str, Any], console: Console) -> None:
    """Print what was found, with all that speaks for and against it, what to test and what to do.

    Parameters
    ----------
    document
        As `smtpkit.findings.document` returns it.
    console
        Where to.
    """
    told, others = _parted(document)
    for finding in told:
        _head(finding, console)
        _section("Why", "+", map(_told, finding["evidence"]), console)
        _section("Against it", "-", map(_told, finding["against"]), console)
        _section("Not to be seen", "?", map(_text, finding["not_observable"]), console)
        ruled_out = (_text(f"{one['cause']}: {one['sentence']}") for one in finding["ruled_out"])
        _section("What it is not", "x", ruled_out, console)
        _title("What next", console)
        _command("Test:      ", finding["next_test"], console)
        for number, remedy in enumerate(finding["remedies"], 1):
            _paragraph(f"{_INDENT}Remedy {number}:  ", _text(remedy), console)
        _command("Wireshark: ", finding["display_filter"], console)
        console.print()
    _end(document, others, console)


def changes(changes: Sequence[Mapping[Any, Any]], console: Console) -> None:
    """Print what became of each fault.

    Parameters
    ----------
    changes
        Rows of the table `changes` (`smtpkit.compare.compare`).
    console
        Where to.
    """
    for change in changes:
        title = f"{change['state'].upper()}: {change['cause']} at {change['peer']}"
        console.print(Text(printable(title), _STATES[change["state"]]), soft_wrap=True)
        _paragraph(_INDENT, _text(change["sentence"]), console)
    if not changes:
        console.print("Neither of the two has a fault: there is nothing to compare.", soft_wrap=True)


def _head(finding: dict[str, Any], console: Console) -> None:
    console.print(_name(finding), soft_wrap=True)
    _paragraph(_INDENT, _text(finding["sentence"], "bold"), console)


def _name(finding: dict[str, Any], at: str = "") -> Text:
    count = len(finding["messages"])
    affected = f"; {count} message{'s' * (count != 1)} affected" if count else ""
    title = f"{finding['severity'].upper()}: {finding['cause']}{at} ({finding['confidence']}{affected})"
    return _text(title, _STYLES[finding["severity"]])


def _section(title: str, sign: str, items: Iterable[Text], console: Console) -> None:
    """Print a title and a list; nothing where the list is empty."""
    for number, item in enumerate(items):
        if not number:
            _title(title, console)
        _paragraph(f"{_INDENT}{sign} ", item, console)


def _title(title: str, console: Console) -> None:
    console.print()
    console.print(Text(_INDENT).append(title, "underline"))


def _told(said: dict[str, Any]) -> Text:
    source = f"  [{printable(said['source'])}]" if said["source"] else ""
    return _text(said["sentence"]).append(source, "dim")


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style)


def _paragraph(start: str, text: Text, console: Console) -> None:
    """Print a text in lines as wide as the terminal, the later ones indented like the first."""
    for number, line in enumerate(text.wrap(console, max(console.width - len(start), NARROWEST))):
        line.rstrip()
        console.print(Text(" " * len(start) if number else start).append_text(line), soft_wrap=True)


def _command(name: str, command: str, console: Console) -> None:
    console.print(Text(f"{_INDENT}{name}").append(printable(command), "green"), soft_wrap=True)


def _parted(document: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the findings that are told in full, the first ones and those of no server, and the others."""
    first, more = document["findings"][:MOST_FINDINGS], document["findings"][MOST_FINDINGS:]
    return first + [one for one in more if not one["peer"]], [one for one in more if one["peer"]]


def _end(document: dict[str, Any], others: list[dict[str, Any]], console: Console) -> None:
    for finding in others:
        console.print(_name(finding, f" at {finding['peer']}"), soft_wrap=True)
    if others:
        console.print("--json tells these in full, and --peer ADDRESS those of one server.\n", soft_wrap=True)
    if not document["findings"]:
        nothing = (
            "Nothing failed, and no path shows a defect, as far as these inputs tell."
            if document["healthy"]
            else "There is nothing to judge: no delivery and no SMTP connection was found in what was read."
        )
        console.print(nothing, soft_wrap=True)
    if document["healthy"]:
        healthy, more = document["healthy"][:MOST_HEALTHY], len(document["healthy"]) - MOST_HEALTHY
        rest = f" and {more} more" if more > 0 else ""
        console.print(Text(f"Healthy: {', '.join(healthy)}{rest}"), soft_wrap=True)
