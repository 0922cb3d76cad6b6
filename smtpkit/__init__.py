"""smtpkit: packet captures and Exim logs become tables, findings and a report.

import smtpkit
incident = smtpkit.load("capture.pcap", "mainlog", "messages/")
smtpkit.diagnose(incident)
"""

from smtpkit.capture import read_capture
from smtpkit.content import read_content
from smtpkit.exim import read_log
from smtpkit.findings import diagnose
from smtpkit.incident import Incident, load

__all__ = ["load", "diagnose", "read_capture", "read_log", "read_content", "Incident"]
