"""The payload of a packet, read once more: tables do not keep it."""

from __future__ import annotations

import pandas as pd

from smtpkit.capture.reader import Reader, payload_of


def read_payload(packets: pd.DataFrame) -> bytes:
    """Return the captured TCP payload of a packet; empty if there is none.

    The capture is read from its beginning up to the packet.

    Parameters
    ----------
    packets
        Rows that name packets by `file` and `frame`, as of `packets` or `stalls`; the first one counts.

    Raises
    ------
    CaptureError
        If the file can no longer be read as a capture.
    OSError
        If the file cannot be opened.
    """
    for file, frame in packets[["file", "frame"]].head(1).itertuples(index=False):
        for batch, payload in Reader(file):
            found = batch[batch["frame"] == frame]
            if len(found):
                return payload_of(found, payload)[0]
    return b""
