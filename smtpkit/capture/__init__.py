"""Captures become tables: pcap and pcapng files → `packets`, and the payload batch by batch."""

from smtpkit.capture.containers import CaptureError, sniff
from smtpkit.capture.payload import read_payload
from smtpkit.capture.reader import Reader, payload_of, read_capture

__all__ = ["read_capture", "read_payload", "Reader", "payload_of", "sniff", "CaptureError"]
