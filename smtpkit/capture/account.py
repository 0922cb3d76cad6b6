"""What was read of a capture, and what was skipped."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import NamedTuple

import numpy as np
import pandas as pd

from smtpkit import tables
from smtpkit.capture import decoder, names
from smtpkit.capture.containers import Batch, CaptureError, CaptureFile, Interface

UNLIMITED = 65535  # snap length from which on packets count as whole


class Read(NamedTuple):
    """A file that was read to its end, or to where it is damaged."""

    path: str
    interfaces: tuple[Interface, ...]
    dropped: tuple[int, ...]  # packets, by interface


class Account:
    """Counts what a capture has and what of it was skipped."""

    def __init__(self) -> None:
        self.errors: list[CaptureError] = []
        self.files: list[Read] = []
        self.packets = 0
        self._spans: list[tuple[int, int]] = []
        self._latest = np.empty(0, np.int64)  # time of the last packet that has one
        self._steps_back, self._largest_step_back = 0, 0
        self._skips: dict[tuple[str, str], tuple[int, str]] = {}

    def copy(self) -> Account:
        """Return one that goes on by itself; entries are never changed, so a thousand files cost little."""
        other = copy(self)
        other.errors, other.files, other._spans = [*self.errors], [*self.files], [*self._spans]
        other._skips = dict(self._skips)
        return other

    def skip(self, path: str, reason: str, where: str, count: int = 1) -> None:
        """Count what is skipped; the first place stays."""
        before, first = self._skips.get((path, reason), (0, where))
        self._skips[path, reason] = before + count, first

    def add_batch(self, file: CaptureFile, batch: Batch, time: np.ndarray) -> None:
        """Count the frames of a decoded batch, and the reasons of those without a row."""
        self.packets += batch.size
        valid = time[time != decoder.NAT]
        if len(valid):
            self._spans.append((int(valid.min()), int(valid.max())))
            steps = np.diff(valid, prepend=self._latest)
            self._latest = valid[-1:]
            self._steps_back += int((steps < 0).sum())
            self._largest_step_back = max(self._largest_step_back, -int(steps.min(initial=0)))
        kinds = batch.frames[decoder.KIND, : batch.size]
        skipped = kinds[kinds != decoder.KEPT]
        for kind in dict.fromkeys(skipped.tolist()):
            self._skip_kind(file, batch, kind, np.flatnonzero(kinds == kind))

    def _skip_kind(self, file: CaptureFile, batch: Batch, kind: int, where: np.ndarray) -> None:
        if kind != decoder.LINK_UNKNOWN:
            self.skip(file.path, names.reason(kind), f"frame {batch.first + where[0] + 1}", len(where))
            return
        links = np.array([i.link for i in file.interfaces])[batch.frames[decoder.INTERFACE, where]]
        for link in np.unique(links):
            own = where[links == link]
            reason = f"link layer {names.link_type(int(link))} is not read"
            self.skip(file.path, reason, f"frame {batch.first + own[0] + 1}", len(own))

    def add_file(self, file: CaptureFile) -> None:
        """Take note of a file that was read to its end, or to where it is damaged."""
        self.files.append(Read(file.path, tuple(file.interfaces), tuple(file.dropped.values())))
        for reason, where in file.damaged:
            self.skip(file.path, reason, where)

    def captures(self, number: int) -> pd.DataFrame:
        """Return the table `captures` of this one."""
        interfaces = [i for file in self.files for i in file.interfaces]
        snaps = [i.snap for i in interfaces if 0 < i.snap < UNLIMITED]
        dropped = [n for file in self.files for n in file.dropped]
        row: dict[str, object] = {
            "capture": number,
            "files": ", ".join(file.path for file in self.files),
            "link_type": _listed(names.link_type(i.link) for i in interfaces),
            "snap_length": min(snaps, default=None),
            "filter": _listed(i.filter for i in interfaces if i.filter),
            "dropped": sum(dropped) if dropped else None,
            "packets": self.packets,
            "steps_back": self._steps_back,
            "largest_step_back": self._largest_step_back / 10**9 if self._steps_back else None,
        }
        if self._spans:
            first, last = zip(*self._spans, strict=True)
            row |= {"first": pd.Timestamp(min(first), tz="UTC"), "last": pd.Timestamp(max(last), tz="UTC")}
        return tables.from_rows([row], "captures")

    def skipped(self) -> pd.DataFrame:
        """Return the table `skipped`."""
        rows = [
            {"file": file, "reason": reason, "count": count, "where": where}
            for (file, reason), (count, where) in self._skips.items()
        ]
        return tables.from_rows(rows, "skipped")


def _listed(words: Iterable[str]) -> str | None:
    return ", ".join(dict.fromkeys(words)) or None
