"""The causes that smtpkit knows, one file each."""

from smtpkit.causes import pmtu_black_hole
from smtpkit.causes.cause import Case, Cause

CAUSES: tuple[Cause, ...] = (pmtu_black_hole.CAUSE,)

__all__ = ["CAUSES", "Case", "Cause"]
