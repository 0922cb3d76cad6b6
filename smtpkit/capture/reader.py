"""Read a capture: one file or a rotation of files, with one numbering of connections."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import numpy as np
import pandas as pd

from smtpkit import forms, tables
from smtpkit.capture import columns, decoder, names
from smtpkit.capture.containers import Batch, CaptureError, CaptureFile
from smtpkit.capture.inner import inner_ip
from smtpkit.capture.known import Fragments, Known
from smtpkit.files import located

INTERPRETED_FRAMES = 30_000  # so many are read before numba is worth its loading, or even its compiling
LARGE = 32 << 20  # bytes of files that are not worth being begun interpreted
UNLIMITED = 65535  # snap length from which on packets count as whole


def read_capture(*paths: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a capture as the table `packets`.

    Parameters
    ----------
    *paths
        Capture files (pcap or pcapng, plain or gzip, bzip2, xz, zstd), ``-`` for standard input; several are
        one rotation.

    Returns
    -------
    DataFrame
        Table `packets`: one row for each TCP or ICMP packet and each later fragment. `payload_offset` is
        ``<NA>``: a `Reader` gives the payload too, and says what was skipped.

    Raises
    ------
    CaptureError
        If no file can be read as a capture.
    OSError
        If a file cannot be opened.
    """
    reader = Reader(*paths)
    table = columns.Columns()
    for rows in reader._decoded():
        rows.cells[decoder.PAYLOAD_OFFSET] = -1
        table.append(rows, reader._expected(table.rows + rows.cells.shape[1]))
    return reader._frame(table)


def payload_of(packets: pd.DataFrame, payload: memoryview) -> list[bytes]:
    """Return the captured TCP payload of each row of one batch, empty where none was captured.

    What the snap length cut off is missing at the end: compare the length with `tcp_len`.
    """
    start = packets["payload_offset"].fillna(0).to_numpy(np.int64)
    size = packets["tcp_len"].fillna(0).to_numpy(np.int64)
    size = np.maximum(size - (packets["frame_len"] - packets["captured_len"]).to_numpy(np.int64).clip(0), 0)
    size[packets["payload_offset"].isna()] = 0
    return [bytes(payload[a : a + n]) for a, n in zip(start.tolist(), size.tolist(), strict=True)]


class Reader:
    """Reads one capture in batches.

    Iterating yields ``(packets, payload)``: the next rows of the table `packets`, and the buffer that their
    `payload_offset` points into (see `payload_of`). Memory is bounded by a batch and by what is known of
    addresses and connections. After the iteration `captures` and `skipped` are complete.

    Parameters
    ----------
    *paths
        Capture files as for `read_capture`; several are one rotation and are read in order of time.
    capture
        Number of this capture point, for the column of that name.

    Attributes
    ----------
    captures : DataFrame
        Table `captures`, one row.
    skipped : DataFrame
        Table `skipped`: packets of the files that are no rows of `packets`, and damage, with the first place.
    """

    def __init__(self, *paths: str | os.PathLike[str], capture: int = 0) -> None:
        self.paths = [os.fspath(path) for path in paths]
        self.capture = capture
        self.captures, self.skipped = tables.empty("captures"), tables.empty("skipped")

    def __iter__(self) -> Iterator[tuple[pd.DataFrame, memoryview]]:
        """Read from the beginning.

        Raises
        ------
        CaptureError
            If no file can be read as a capture. One that cannot, beside others that can, is in `skipped`.
        OSError
            If a file cannot be opened.
        """
        for rows in self._decoded():
            table = columns.Columns()
            table.append(rows, rows.cells.shape[1])
            yield self._frame(table), memoryview(rows.batch.buffer)  # type: ignore[arg-type]

    def _frame(self, table: columns.Columns) -> pd.DataFrame:
        return table.frame(self.paths, self._known.names)

    def _decoded(self) -> Iterator[columns.Rows]:
        self._known, self._fragments = Known(), Fragments()
        self._account = account = Account()
        self._cells = np.empty((len(decoder.CELLS), 0), np.int64)
        self._bytes, self._read = sum(os.path.getsize(located(path)) for path in self.paths), 0
        for path in _in_order(self.paths):
            file, before = CaptureFile(path), self._read
            try:
                for batch in file.batches(self._form):
                    self._read = before + file.position
                    time = columns.times(self._form(), batch, file.interfaces)
                    yield self._decode(file, batch, time)
                    account.add_batch(file, batch, time)
            except CaptureError as error:
                account.errors.append(error)
                account.skip(path, "no capture", str(error))
            else:
                account.add_file(file)
        if account.errors and not account.files:
            raise account.errors[0]
        self.captures, self.skipped = account.captures(self.capture), account.skipped()

    def _form(self) -> SimpleNamespace:
        large = self._bytes >= LARGE or self._account.packets >= INTERPRETED_FRAMES
        return (forms.compiled if large else forms.interpreted)(decoder)

    def _expected(self, rows: int) -> int:
        """Return how many rows there will be if the rest of the files is like what gave these."""
        return int(1.1 * rows * self._bytes / self._read)

    def _decode(self, file: CaptureFile, batch: Batch, time: np.ndarray) -> columns.Rows:
        form, count = self._form(), batch.size
        buffer, frames = form.view(batch.buffer), form.view(batch.frames)
        links = form.view(np.array([i.link for i in file.interfaces], np.int64))
        if form.locate(buffer, frames, count, links):
            _unwrap(batch)
        if self._cells.shape[1] < count:
            self._cells = np.empty((len(decoder.CELLS), count), np.int64)
        self._cells.fill(-1)
        rows = form.decode(buffer, frames, count, form.view(self._cells), self._known.memory(form, count))
        cells = self._cells[:, :rows]
        self._known.name_hosts()
        own = time[cells[decoder.INDEX]]
        self._fragments.tie(cells, own)
        return columns.Rows(batch, cells, own, self.capture, self.paths.index(file.path))


class Account:
    """Counts what a capture has and what of it was skipped."""

    def __init__(self) -> None:
        self.errors: list[CaptureError] = []
        self.files: list[CaptureFile] = []
        self.packets = 0
        self._spans: list[tuple[int, int]] = []
        self._latest = np.empty(0, np.int64)  # time of the last packet that has one
        self._steps_back, self._largest_step_back = 0, 0
        self._skips: dict[tuple[str, str], tuple[int, str]] = {}

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
        self.files.append(file)
        for reason, where in file.damaged:
            self.skip(file.path, reason, where)

    def captures(self, number: int) -> pd.DataFrame:
        """Return the table `captures` of this one."""
        interfaces = [i for file in self.files for i in file.interfaces]
        snaps = [i.snap for i in interfaces if 0 < i.snap < UNLIMITED]
        dropped = [n for file in self.files for n in file.dropped.values()]
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


def _in_order(paths: list[str]) -> list[str]:
    return sorted(paths, key=_first_time) if len(paths) > 1 else paths


def _first_time(path: str) -> int:
    file, form = CaptureFile(path), forms.interpreted(decoder)
    try:
        batch = next(file.batches(lambda: form, 1), None)
    except CaptureError:
        return decoder.NAT
    return int(columns.times(form, batch, file.interfaces)[0]) if batch else decoder.NAT


def _unwrap(batch: Batch) -> None:
    """Let dpkt find the IP packet in the frames that the decoder declines."""
    kinds = batch.frames[decoder.KIND, : batch.size]
    for i in np.flatnonzero((kinds >= decoder.TUNNEL) | np.isin(kinds, decoder.WRAPPED)):
        frame = batch.frames[:, i]
        start, end = frame[decoder.NETWORK], frame[decoder.OFFSET] + frame[decoder.CAPTURED_LEN]
        found = inner_ip(int(frame[decoder.KIND]), batch.buffer[start:end].tobytes())
        if found:
            frame[decoder.OUTER_LEN], frame[decoder.KIND] = found
            frame[decoder.NETWORK] += found[0]
        elif frame[decoder.KIND] >= decoder.TUNNEL:
            frame[decoder.KIND] -= decoder.TUNNEL


def _listed(words: Iterable[str]) -> str | None:
    return ", ".join(dict.fromkeys(words)) or None
