"""Labels are verified, not assumed: what the wire and the log of a run say, read without smtpkit."""

import ipaddress
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.plan import Plan
from lab.run import Result, Sent

ETHERNET = 14
TCP_HEADERS = {4: 52, 6: 72}  # octets of IP and TCP with timestamps, before the data
FINAL_DOT = 3
REPEATS = 4  # sendings of one segment that make a stall
ABANDONED = r"SMTP (?:command|data) timeout"  # a receiver's line for a message that did not come
TOO_BIG = {(1, 3, 4), (58, 2, 0)}  # protocol, ICMP type, code


def problems(plan: Plan, result: Result) -> list[str]:
    """Why the run does not show what its label says; empty if it does."""
    source, target = ("broken", "sender") if plan.direction == "reverse" else ("sender", "broken")
    too_long = _too_long(plan, result, source, target, seen_by=source)
    arrived = _too_long(plan, result, source, target, seen_by=target)
    sendings = Counter(packet.key for packet in too_long if packet.key)
    stuck = {key[:2] for key, times in sendings.items() if times >= REPEATS}
    icmp = any(packet.icmp in TOO_BIG for packet in read(result.witnesses["sender"]))
    lost = any(fate == "lost" for _, _, fate in result.counts)
    expected = {name for name, sent in result.messages.items() if should_fail(plan, sent)}
    affected = failed_messages(result.logs["sender"])
    completed = completed_messages(result.logs["sender"])
    checks = {
        f"tcpdump missed {result.missed} packets": result.missed == 0,
        f"Exim panicked: {result.panics}": not result.panics,
        f"{len(arrived)} packets above the path MTU arrived": not arrived,
        f"{len(stuck)} connections stuck": len(stuck) >= len(expected) if plan.stuck else not stuck,
        f"ICMP packet too big at the sender: {icmp}": icmp == plan.icmp_seen,
        f"packets lost at random: {lost}": lost == any(way.loss for way in plan.ways.values()),
        f"failed {sorted(affected)}, expected {sorted(expected)}": affected == expected,
        "a healthy message was not delivered": set(result.messages) - expected <= completed,
        "the receiver's log has not one timeout for each": plan.log == "sender"
        or len(re.findall(ABANDONED, result.logs["broken"])) == len(expected),
    }
    return [problem for problem, fine in checks.items() if not fine]


def limit(plan: Plan) -> int:
    """Give the path MTU between sender and broken peer."""
    return min(plan.forward.mtu, plan.reverse.mtu)


def should_fail(plan: Plan, sent: Sent) -> bool:
    """Whether the plan's fault must stop a message."""
    if plan.cause is None or "broken" not in sent.peers:
        return False
    wire = len(sent.content) + sent.content.count(b"\n") + FINAL_DOT + TCP_HEADERS[plan.hosts[0].version]
    return plan.direction == "reverse" or wire > limit(plan)


def failed_messages(log: str) -> set[str]:
    """Ids with a host line, a deferral or a failure in a sender's log."""
    return _ids(log, r"(?:==|\*\*|H=|TLS) ")


def completed_messages(log: str) -> set[str]:
    """Ids that Exim was done with."""
    return _ids(log, "Completed$")


def abandoned_messages(log: str) -> set[str]:
    """Ids in a receiver's log of messages begun and never ended; Exim gives not all of them an id."""
    return _ids(log, ABANDONED)


def received_messages(log: str) -> set[str]:
    """Ids with an arrival line."""
    return _ids(log, "<= ")


def _ids(log: str, what: str) -> set[str]:
    return set(
        re.findall(rf"^[\d-]+ \S+ (?:[+-]\d+ )?(?:\[\d+\] )?([\w-]{{16,23}}) {what}", log, re.MULTILINE)
    )


def _too_long(plan: Plan, result: Result, source: str, target: str, seen_by: str) -> list["Packet"]:
    """Packets above the path MTU from one end of the path to the other, as seen by one of them."""
    address = {host.role: host.address for host in plan.hosts}
    ends = (address[source], address[target])
    packets = read(result.witnesses[seen_by])
    return [each for each in packets if (each.source, each.destination) == ends and each.length > limit(plan)]


@dataclass(frozen=True)
class Packet:
    """What a label needs to know of an IP packet."""

    source: str
    destination: str
    length: int  # of the IP packet
    icmp: tuple[int, int, int] | None  # protocol, type, code
    key: tuple[int, int, int] | None  # TCP ports and sequence number


def read(file: Path) -> Iterator[Packet]:
    """Read the IPv4 and IPv6 packets of an Ethernet capture as this machine's tcpdump writes it."""
    data = file.read_bytes()
    at = 24
    while at < len(data):
        (captured,) = struct.unpack_from("=I", data, at + 8)
        frame = data[at + 16 : at + 16 + captured]
        at += 16 + captured
        if frame[12:14] == b"\x08\x00":
            yield _packet(frame[ETHERNET:], 4)
        elif frame[12:14] == b"\x86\xdd":
            yield _packet(frame[ETHERNET:], 6)


def _packet(data: bytes, version: int) -> Packet:
    if version == 4:
        header, protocol, addresses = 4 * (data[0] & 15), data[9], (data[12:16], data[16:20])
        length = struct.unpack_from("!H", data, 2)[0]
    else:
        header, protocol, addresses = 40, data[6], (data[8:24], data[24:40])
        length = 40 + struct.unpack_from("!H", data, 4)[0]
    source, destination = (str(ipaddress.ip_address(address)) for address in addresses)
    icmp = (protocol, data[header], data[header + 1]) if protocol in (1, 58) else None
    key = struct.unpack_from("!HHI", data, header) if protocol == 6 else None
    return Packet(source, destination, length, icmp, key)
