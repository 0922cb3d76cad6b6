"""Labels are verified, not assumed: a run that is not as labelled is thrown away."""

from lab import mainlog
from lab.claims import affected
from lab.plan import Fault
from lab.run import Result


def problems(result: Result) -> list[str]:
    """Why the run does not show what its label says; empty if it does."""
    plan = result.plan
    found = [f"the captures missed {result.missed} packets"] if result.missed else []
    found += [f"Exim panicked: {result.panics}"] if result.panics else []
    found += _outcomes(result)
    for fault in (*plan.faults, *([plan.looks_like] if plan.looks_like else [])):
        found += [f"{fault.cause}: {wrong}" for claim in fault.shows for wrong in claim(result, fault)]
    return found


def _outcomes(result: Result) -> list[str]:
    """Hold the messages that failed against those that had to fail."""
    plan = result.plan
    found = []
    hit: set[str] = set()
    for fault in plan.faults:
        failed = affected(result, fault)
        hit |= failed
        if fault.hits is not None and failed != (expected := _expected(result, fault)):
            found.append(f"{fault.cause} hit {sorted(failed)}, not {sorted(expected)}")
        if not failed:
            found.append(f"{fault.cause} hit nothing")
    roles = {sent.mail.by for sent in result.messages.values()}
    completed = set().union(*(mainlog.completed(result.log(role)) for role in roles))
    troubled = set().union(*(mainlog.troubled(result.log(role)) for role in roles))
    if plan.looks_like is None and troubled - hit:
        found.append(f"trouble without a fault: {sorted(troubled - hit)}")
    if set(result.messages) - hit - completed:
        found.append(f"not delivered: {sorted(set(result.messages) - hit - completed)}")
    return found


def _expected(result: Result, fault: Fault) -> set[str]:
    """Ids of messages to the fault's peer that it must hit."""
    assert fault.hits
    domain = result.plan.host(fault.peer).domain
    return {
        name
        for name, sent in result.messages.items()
        if sent.mail.by == fault.client
        and fault.hits(sent)
        and domain in {result.plan.host(role).domain for role in sent.mail.to}
    }
