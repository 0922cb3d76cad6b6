"""What is timed beside other tools, as a process of its own: ``python benchmarks/works.py WORK FILE``."""

from __future__ import annotations

import re
import sys

FIELDS = ("H", "I", "P", "X", "CV", "S", "id", "R", "T", "C", "QT", "DT", "F", "U", "A")


def packets(path: str) -> int:
    """Make smtpkit's table of a capture, with the classes of retransmissions."""
    from smtpkit.capture import read_capture
    from smtpkit.tcp import analysis

    return len(analysis(read_capture(path)))


def lines(path: str) -> int:
    """Make smtpkit's table of a log, with all fields of all lines."""
    from smtpkit.exim import Reader

    return len(Reader(path, timezone="UTC").log_lines())


def dpkt(path: str) -> int:
    """Do as scripts do: take what a table would hold of each packet."""
    import dpkt

    rows = []
    with open(path, "rb") as file:
        for stamp, frame in dpkt.pcap.Reader(file):
            ip = dpkt.ethernet.Ethernet(frame).data
            if isinstance(tcp := ip.data, dpkt.tcp.TCP):
                options = dpkt.tcp.parse_opts(tcp.opts)
                ends = ip.src, ip.dst, tcp.sport, tcp.dport
                rows.append((stamp, *ends, tcp.seq, tcp.ack, tcp.flags, tcp.win, len(tcp.data), options))
    return len(rows)


def scapy(path: str) -> int:
    """Do the same with scapy."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6
    from scapy.utils import PcapReader

    rows = []
    with PcapReader(path) as reader:
        for packet in reader:
            if TCP in packet:
                ip, tcp = packet[IP] if IP in packet else packet[IPv6], packet[TCP]
                ends = ip.src, ip.dst, tcp.sport, tcp.dport
                rest = tcp.seq, tcp.ack, tcp.flags, tcp.window, len(tcp.payload), tcp.options
                rows.append((packet.time, *ends, *rest))
    return len(rows)


def expressions(path: str) -> int:
    """Do as scripts do with a log: a regular expression for each field of each line."""
    start = re.compile(r"^(\S+ \S+) (?:([\w-]{16,23}) (?:(<=|=>|->|==|\*\*) (\S+))?)?")
    fields = {name: re.compile(rf' {name}=("(?:[^"\\]|\\.)*"|\S+)') for name in FIELDS}
    rows = 0
    with open(path) as file:
        for line in file:
            found = start.match(line)
            row = [found and found.groups(), *(field.search(line) for field in fields.values())]
            rows += len(row) > 0
    return rows


WORKS = {work.__name__: work for work in (packets, lines, dpkt, scapy, expressions)}

if __name__ == "__main__":
    WORKS[sys.argv[1]](sys.argv[2])
