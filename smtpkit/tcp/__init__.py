"""From packets to TCP: analysis flags, connections, stalls.

All functions obey f(a + b) = f(a) + f(b) where a and b share no connection. Of SMTP they know its ports only,
which tell the server where the capture holds no SYN.
"""

from smtpkit.tcp.connection import connections, vantage
from smtpkit.tcp.related import is_too_big
from smtpkit.tcp.stall import stalls
from smtpkit.tcp.tracking import analysis

__all__ = ["analysis", "connections", "is_too_big", "stalls", "vantage"]
