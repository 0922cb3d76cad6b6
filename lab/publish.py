"""Writes an incident: capture, log, messages, and the label with its README."""

import json
import shutil
from pathlib import Path

from lab.plan import Plan
from lab.run import Result
from lab.verify import abandoned_messages, failed_messages, limit, received_messages

PLACES = {"sender": "sender", "broken": "receiver"}
README = """\
# {title}

{story}

- `capture.pcap`: taken with tcpdump at the {place}, interface {interface}, snap length {snap_length}, filter
  `{filter}`.
- `mainlog`: Exim's main log at the {log_place}, zone {timezone}, as Exim wrote it.
{messages}- `truth.json`: the label, verified on the wire and in the log when this was made.

Made by `python3 -m lab {name}` with a real Exim and the kernel's own TCP in network namespaces; only
the router and the text of the messages are artificial. Timeouts are shortened so that a run takes about
a minute ({timeouts}; Exim's defaults are 5 and 10 minutes).
"""


MESSAGES = "- `messages/`: each message as Exim had it on its queue (`exim -Mvc`), named by its id.\n"


def publish(name: str, plan: Plan, result: Result, folder: Path) -> None:
    """Write the incident into `folder`, in the place of an earlier one."""
    if (folder / "truth.json").exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    shutil.copyfile(result.capture, folder / "capture.pcap")
    (folder / "mainlog").write_text(result.logs[plan.log])
    if plan.log == "sender":  # the receiver's ids are others
        _write_messages(result, folder / "messages")
    (folder / "truth.json").write_text(json.dumps(truth(plan, result), indent=2) + "\n")
    (folder / "README.md").write_text(readme(name, plan))


def _write_messages(result: Result, folder: Path) -> None:
    folder.mkdir()
    for message_id, sent in result.messages.items():
        (folder / f"{message_id}.eml").write_bytes(sent.content)


def truth(plan: Plan, result: Result) -> dict[str, object]:
    """Label a run, in the keys that the tests know."""
    peer = next(host.address for host in plan.hosts if host.role == "broken") if plan.cause else None
    affected, healthy = messages(plan, result)
    fault = {
        "cause": plan.cause,
        "peer": peer,
        "direction": plan.direction,
        "params": {"pmtu": limit(plan)},
        "affected": affected,
    }
    return {
        "cause": plan.cause,
        "peer": peer,
        "direction": plan.direction,
        "faults": [fault] if plan.cause else [],
        "affected": affected,
        "healthy": healthy,
        "acceptable": plan.acceptable,
        "control": plan.cause is None,
        "capture": {
            "file": "capture.pcap",
            "where": PLACES[plan.capture.role],
            "interface": plan.capture.interface,
            "filter": plan.capture.filter,
            "snap_length": plan.capture.snap_length,
        },
        "log": {
            "file": "mainlog",
            "where": PLACES[plan.log],
            "timezone": plan.exims[plan.log].main["timezone"],
        },
    }


def messages(plan: Plan, result: Result) -> tuple[list[str], list[str]]:
    """Give the ids with a failed attempt and those without, as the log that is kept has them."""
    log = result.logs[plan.log]
    if plan.log == "sender":
        failed = failed_messages(log)
        return sorted(failed), sorted(set(result.messages) - failed)
    return sorted(abandoned_messages(log)), sorted(received_messages(log))


def readme(name: str, plan: Plan) -> str:
    transport = plan.exims["sender"].transport
    return README.format(
        title=name,
        name=name,
        story=plan.story,
        place=PLACES[plan.capture.role],
        interface=plan.capture.interface,
        snap_length=plan.capture.snap_length,
        filter=plan.capture.filter,
        log_place=PLACES[plan.log],
        messages=MESSAGES if plan.log == "sender" else "",
        timezone=plan.exims[plan.log].main["timezone"],
        timeouts=", ".join(f"`{name} = {value}`" for name, value in transport.items() if "timeout" in name),
    )
