"""What Exim's main logs say, read without smtpkit."""

import re

ID = r"[\w-]{16,23}"
BEFORE_ID = r"^[\d-]+ \S+ (?:[+-]\d+ )?(?:\[\d+\] )?"
SKIPPED = r"defer \(-5[234]\)|retry time not reached"  # no attempt was made
LOST = r"SMTP (?:command|data) timeout|(?:SMTP )?connection .*lost|unexpected disconnection"


def failed(log: str, peer: str) -> set[str]:
    """Ids with a failed attempt at a peer's address, in a sender's log."""
    lines = re.findall(rf"{BEFORE_ID}({ID}) ((?:==|\*\*|H=|TLS ).*)$", log, re.MULTILINE)
    return {name for name, rest in lines if f"[{peer}]" in rest and not re.search(SKIPPED, rest)}


def troubled(log: str) -> set[str]:
    """Ids with any deferral, failure or host line of an attempt, in a sender's log."""
    return _ids(log, rf"(?!.*(?:{SKIPPED}))(?:==|\*\*|H=|TLS ).*")


def completed(log: str) -> set[str]:
    """Ids that Exim was done with."""
    return _ids(log, r"Completed(?: .*)?")


def received(log: str) -> set[str]:
    """Ids with an arrival line."""
    return _ids(log, "<= .*")


def abandoned(log: str, client: str) -> set[str]:
    """Ids in a receiver's log of messages of a client begun and never ended; Exim gives not all an id."""
    lines = re.findall(rf"{BEFORE_ID}({ID}) (.*(?:{LOST}).*)$", log, re.MULTILINE)
    return {name for name, rest in lines if f"[{client}]" in rest}


def _ids(log: str, rest: str) -> set[str]:
    return set(re.findall(rf"{BEFORE_ID}({ID}) {rest}$", log, re.MULTILINE))
