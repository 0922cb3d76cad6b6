"""Captures become tables: pcap and pcapng files → `packets`, and the payload batch by batch."""

from smtpkit.capture.containers import CaptureError, sniff
from smtpkit.capture.look import Seen, look, together
from smtpkit.capture.payload import read_payload
from smtpkit.capture.reader import Knowledge, Reader, in_order, payload_of, read_capture

__all__ = [
    "read_capture",
    "read_payload",
    "Reader",
    "Knowledge",
    "payload_of",
    "in_order",
    "look",
    "together",
]
__all__ += ["Seen", "sniff", "CaptureError"]
