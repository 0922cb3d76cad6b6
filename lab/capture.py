"""tcpdump, or dumpcap for pcapng, in a namespace."""

import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.namespaces import Network

# Keeps ICMP and the later fragments, which have no ports.
FILTER = "tcp port 25 or tcp port 587 or icmp or icmp6 or (ip[6:2] & 0x1fff != 0) or ip6 proto 44"


@dataclass(frozen=True)
class Point:
    """Where and how a capture is taken."""

    role: str = "sender"
    interface: str = "eth0"
    filter: str = FILTER
    snap_length: int = 262144
    link_type: str | None = None
    nanoseconds: bool = False
    file: str = "capture.pcap"  # compressed if it ends in .gz; .pcapng is written by dumpcap


class Capture:
    """A running capture, from construction until `stop`."""

    def __init__(self, network: Network, point: Point, file: Path) -> None:
        link_type = ("-y", point.link_type) if point.link_type else ()
        common = ("-i", point.interface, "-s", point.snap_length, *link_type, "-w", file)
        if ".pcapng" in point.file:
            words = ("dumpcap", "-q", *common, "-f", point.filter)
        else:
            precision = ("--time-stamp-precision=nano",) if point.nanoseconds else ()
            words = ("tcpdump", "-n", *common, *precision, "-B", 8192, "-Z", "root", point.filter)
        self.process = subprocess.Popen(
            network.command(point.role, *words), stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr
        said = ""
        while not re.search("listening on|^File:", said):
            if self.process.poll() is not None:
                raise RuntimeError(f"no capture on {point.interface} of {point.role}: {said}")
            said = self.process.stderr.readline()

    def stop(self) -> int:
        """End the capture; the number of packets that it missed."""
        self.process.send_signal(signal.SIGINT)
        _, rest = self.process.communicate()
        tcpdump = re.findall(r"(\d+) packets? dropped", rest)
        dumpcap = re.findall(r"received/dropped on interface .*: \d+/(\d+)", rest)
        return sum(map(int, tcpdump + dumpcap))
