"""A small capture of just the connections of a finding, headers only, to hand over."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from smtpkit.capture.rewriting import redact_capture
from smtpkit.incident import Incident
from smtpkit.tables import KEY, among


def excerpt(incident: Incident, finding: dict[str, Any]) -> bytes:
    """Return the packets of a finding's connections, and the ICMP errors and fragments that belong to them.

    Parameters
    ----------
    incident : Incident
        Its captures are read again.
    finding
        Row of table `findings`.

    Returns
    -------
    bytes
        A pcapng file, a section for each capture file; empty if no packets are known. Packets end with their
        TCP header and keep their lengths; link-layer addresses and unknown options are blanked.

    Raises
    ------
    CaptureError, OSError
        If a capture is gone.
    """
    packets = incident.packets
    mine = packets[among(packets, pd.DataFrame(finding["connections"], columns=KEY))]
    sections = []
    with TemporaryDirectory() as folder:
        for path, rows in mine.groupby("file", observed=True):
            section = Path(folder, "section.pcapng")
            redact_capture(str(path), section, lambda address: address, set(rows["frame"]))
            sections.append(section.read_bytes())
    return b"".join(sections)
