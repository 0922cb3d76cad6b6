"""Writes an incident: captures, logs, messages, and the label with its README."""

import gzip
import json
import re
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path

from lab import mainlog
from lab.capture import Point
from lab.claims import affected
from lab.mail import Settings
from lab.plan import Fault, Log, Plan
from lab.run import Result

PLACES = {"sender": "sender", "broken": "receiver", "healthy": "receiver"}
README = """\
# {plan.title}

{plan.story}

{files}
- `truth.json`: the label, verified on the wire and in the log when this was made.

{made}
"""
MADE = (
    "Made by `python3 -m lab {name}` with a real Exim and the kernel's own TCP in network namespaces; "
    "only what the story tells of is artificial. {timeouts}"
)


INDEX = """\
# Sample incidents

Made by `lab/` (`make samples`): a real Exim, the kernel's own TCP, a misbehaving router or server. A folder
has what a postmaster would have, and is named after what is seen; `truth.json` and the README alone tell the
cause. smtpkit never reads `truth.json`.

| incident | what is seen | cause |
| --- | --- | --- |
{rows}
"""


def publish_index(plans: Mapping[str, Plan], folder: Path) -> None:
    """Write the list of all incidents."""
    rows = [
        f"| [{name}]({name}/) | {_headline(plan)} | {_causes(plan)} |" for name, plan in sorted(plans.items())
    ]
    (folder / "README.md").write_text(INDEX.format(rows="\n".join(rows)))


def _headline(plan: Plan) -> str:
    return plan.title.removeprefix("Nobody complained: ")


def _causes(plan: Plan) -> str:
    if plan.looks_like:
        return f"none; looks like `{plan.looks_like.cause}`"
    return ", ".join(
        f"`{fault.cause}`{f' ({fault.direction})' if fault.direction else ''}" for fault in plan.faults
    )


def publish(name: str, result: Result, folder: Path) -> None:
    """Write the incident into `folder`, in the place of an earlier one."""
    if (folder / "truth.json").exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    plan = result.plan
    for point in plan.captures:
        _keep(result.folder / point.file.removesuffix(".gz"), folder / point.file)
    for log in plan.logs:
        settings = plan.servers[log.role]
        syslog = isinstance(settings, Settings) and settings.syslog
        _keep(result.folder / log.role / ("syslog" if syslog else "mainlog"), folder / log.file)
    if plan.messages:
        (folder / "messages").mkdir()
        for message_id, sent in result.messages.items():
            (folder / "messages" / f"{message_id}.eml").write_bytes(sent.content)
    (folder / "truth.json").write_text(json.dumps(truth(result), indent=2) + "\n")
    (folder / "README.md").write_text(readme(name, plan))


def _keep(source: Path, target: Path) -> None:
    data = source.read_bytes()
    target.write_bytes(gzip.compress(data, mtime=0) if target.suffix == ".gz" else data)


def truth(result: Result) -> dict[str, object]:
    """Label a run, in the keys that the design knows."""
    plan = result.plan
    faults = [_fault(result, fault) for fault in plan.faults]
    first = faults[0] if faults else {"cause": None, "peer": None, "direction": None}
    hit = {name for fault in plan.faults for name in _ids(result, fault)}
    return {
        **{key: first[key] for key in ("cause", "peer", "direction")},
        "faults": faults,
        "affected": sorted(hit),
        "healthy": sorted(_logged(result) - hit),
        "acceptable": plan.acceptable or [fault.cause for fault in plan.faults],
        "control": not plan.faults,
        "looks_like": plan.looks_like.cause if plan.looks_like else None,
        "capture": _capture(plan.captures[0]) if plan.captures else None,
        "further_captures": [_capture(point) for point in plan.captures[1:]],
        "log": _log(plan, plan.logs[0]) if plan.logs else None,
        "further_logs": [_log(plan, log) for log in plan.logs[1:]],
    }


def _fault(result: Result, fault: Fault) -> dict[str, object]:
    return {
        "cause": fault.cause,
        "peer": result.plan.host(fault.peer).address,
        "direction": fault.direction,
        "severity": fault.severity,
        "params": fault.params,
        "affected": sorted(_ids(result, fault)),
    }


def _ids(result: Result, fault: Fault) -> set[str]:
    """Ids with a failed attempt, as the logs that are kept have them."""
    logs = result.plan.logs
    if any(log.role == "sender" for log in logs):
        return affected(result, fault)
    client = result.plan.host(fault.client).address
    return set().union(*(mainlog.abandoned(result.log(log.role), client) for log in logs))


def _logged(result: Result) -> set[str]:
    """Ids of all messages, as the first log that is kept has them."""
    logs = result.plan.logs
    if not logs:
        return set()
    return set(result.messages) if logs[0].role == "sender" else mainlog.received(result.log(logs[0].role))


def _capture(point: Point) -> dict[str, object]:
    return {
        "file": point.file,
        "where": PLACES.get(point.role, "between"),
        "interface": point.interface,
        "filter": point.filter,
        "snap_length": point.snap_length,
    }


def _log(plan: Plan, log: Log) -> dict[str, object]:
    settings = plan.servers[log.role]
    assert isinstance(settings, Settings)
    return {"file": log.file, "where": PLACES.get(log.role, "sender"), "timezone": settings.main["timezone"]}


def readme(name: str, plan: Plan) -> str:
    """Tell what the files are and how they were made."""
    files = [
        f"- `{point.file}`: captured at the {PLACES.get(point.role, 'router')}, interface {point.interface}, "
        f"snap length {point.snap_length}, filter\n  `{point.filter}`."
        for point in plan.captures
    ]
    files += [
        f"- `{log.file}`: Exim's main log at the {PLACES.get(log.role, 'sender')}, "
        f"zone {_log(plan, log)['timezone']}, as Exim wrote it."
        for log in plan.logs
    ]
    if plan.messages:
        files.append(
            "- `messages/`: each message as Exim had it on its queue (`exim -Mvc`), named by its id."
        )
    made = textwrap.fill(MADE.format(name=name, timeouts=_timeouts(plan)), 110, break_on_hyphens=False)
    return README.format(plan=plan, files="\n".join(files), made=made)


def _timeouts(plan: Plan) -> str:
    settings = plan.servers["sender"]
    assert isinstance(settings, Settings)
    options = {**settings.main, **(settings.transport or {})}
    shortened = [f"`{option} = {value}`" for option, value in options.items() if re.search("timeout", option)]
    if not shortened:
        return "Timeouts are Exim's defaults."
    return f"Timeouts are shortened: {', '.join(shortened)} (Exim's defaults are 5 and 10 minutes)."
