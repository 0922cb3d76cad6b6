"""Read a capture: one file or a rotation of files, with one numbering of connections."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pandas as pd

from smtpkit import forms, tables
from smtpkit.capture import columns, decoder
from smtpkit.capture.account import Account
from smtpkit.capture.containers import Batch, CaptureError, CaptureFile
from smtpkit.capture.inner import inner_ip
from smtpkit.capture.known import Fragments, Known
from smtpkit.files import size

INTERPRETED_FRAMES = 30_000  # so many are read before numba is worth its loading, or even its compiling
LARGE = 32 << 20  # bytes of files that are not worth being begun interpreted


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


class Knowledge:
    """What a reader takes from one file of a rotation to the next; it can be pickled."""

    def __init__(self) -> None:
        self.known, self.fragments, self.account = Known(), Fragments(), Account()

    def copy(self) -> Knowledge:
        """Return one that goes on by itself."""
        knowledge = Knowledge()
        knowledge.known, knowledge.fragments = deepcopy(self.known), deepcopy(self.fragments)
        knowledge.account = self.account.copy()
        return knowledge

    def only(self, streams: np.ndarray) -> Knowledge:
        """Return a copy with what a file needs whose packets are of these connections."""
        knowledge = Knowledge()
        knowledge.known, knowledge.fragments = self.known.only(streams), deepcopy(self.fragments)
        return knowledge


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
    knowledge
        What was learnt from the files before these, to go on from.

    Attributes
    ----------
    captures : DataFrame
        Table `captures`, one row.
    skipped : DataFrame
        Table `skipped`: packets of the files that are no rows of `packets`, and damage, with the first place.
    """

    def __init__(
        self, *paths: str | os.PathLike[str], capture: int = 0, knowledge: Knowledge | None = None
    ) -> None:
        self.paths = [os.fspath(path) for path in paths]
        self.capture, self._before = capture, knowledge
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
        return table.frame(self.paths, self.knowledge.known.names)

    def _decoded(self) -> Iterator[columns.Rows]:
        self.knowledge = Knowledge() if self._before is None else self._before.copy()
        self._account = account = self.knowledge.account
        self._cells = np.empty((len(decoder.CELLS), 0), np.int64)
        self._bytes, self._read = sum(map(size, self.paths)), 0
        for path in in_order(self.paths):
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
        rows = form.decode(
            buffer, frames, count, form.view(self._cells), self.knowledge.known.memory(form, count)
        )
        cells = self._cells[:, :rows]
        self.knowledge.known.name_hosts()
        own = time[cells[decoder.INDEX]]
        self.knowledge.fragments.tie(cells, own)
        return columns.Rows(batch, cells, own, self.capture, self.paths.index(file.path))


def in_order(paths: Sequence[str]) -> Sequence[str]:
    """Return the files of a rotation in the order of their first packets."""
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
