"""A router in user space, on AF_PACKET sockets: delays, loses, and limits the size of packets.

The kernel of its namespace answers ARP and neighbour discovery and forwards nothing; every IP packet
for a host is read here and, if its path lets it, written to the interface of that host.
"""

import heapq
import ipaddress
import itertools
import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.namespaces import Host, Network

ETHERNET = 14  # octets of the link header
ETH_P_ALL = 3
ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}
MINIMUM_MTU = {4: 576, 6: 1280}  # an ICMP error is no longer than this (RFC 1812, RFC 4443)


@dataclass(frozen=True)
class Way:
    """What happens to packets on their way through the router, one direction."""

    mtu: int = 1500
    icmp: bool = True  # say so when a packet is too big
    delay: float = 0.012  # [s]
    loss: float = 0.0  # probability


@dataclass
class Port:
    """One interface of the router and the host behind it."""

    host: Host
    socket: socket.socket

    def send(self, packet: bytes) -> None:
        """Put an IP packet on the link to the host."""
        addresses = bytes.fromhex(self.host.mac.replace(":", "")) + self.socket.getsockname()[4]
        self.socket.send(addresses + ETHERTYPE[packet[0] >> 4] + packet)


@dataclass(order=True)
class Waiting:
    """A packet that is not yet due."""

    due: float
    number: int  # packets of one due time keep their order
    port: Port = field(compare=False)
    packet: bytes = field(compare=False)


class Router(threading.Thread):
    """Forwards between the hosts of a network within a `with` block; `counts` tells what it did."""

    def __init__(self, network: Network, ways: Mapping[tuple[str, str], Way], seed: int) -> None:
        super().__init__(daemon=True)
        self.ways = ways
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.random = random.Random(seed)
        self.waiting: list[Waiting] = []
        self.numbers = itertools.count()
        self.stopped = threading.Event()
        with network.inside("router"):
            self.ports = [_open(host) for host in network.hosts.values()]
        self.by_address = {ipaddress.ip_address(port.host.address).packed: port for port in self.ports}

    def run(self) -> None:
        """Forward until the block ends."""
        by_socket = {port.socket: port for port in self.ports}
        while not self.stopped.is_set():
            pause = min(0.2, self.waiting[0].due - time.monotonic()) if self.waiting else 0.2
            readable, _, _ = select.select(list(by_socket), [], [], max(0.0, pause))
            for ready in readable:
                frame, (_, _, kind, _, _) = ready.recvfrom(65535 + ETHERNET)
                if kind == socket.PACKET_HOST:
                    self._receive(by_socket[ready], frame)
            self._send_due()

    def __enter__(self) -> "Router":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.join()
        for port in self.ports:
            port.socket.close()

    def _receive(self, port: Port, frame: bytes) -> None:
        """Take a frame that is for one of the hosts, leave the rest to the kernel."""
        if frame[12:14] not in ETHERTYPE.values():
            return
        packet = _without_padding(frame[ETHERNET:])
        out = self.by_address.get(_destination(packet))
        if out is None or out is port:
            return
        self._forward(port, out, packet)

    def _forward(self, port: Port, out: Port, packet: bytes) -> None:
        """Do to a packet what its way says."""
        way = self.ways[port.host.role, out.host.role]
        if len(packet) > way.mtu:
            fate = "too big"
            if way.icmp:
                self._later(way.delay, port, packet_too_big(port.host.gateway, way.mtu, packet))
        elif self.random.random() < way.loss:
            fate = "lost"
        else:
            fate = "forwarded"
            self._later(way.delay, out, _one_hop_less(packet))
        self.counts[port.host.role, out.host.role, fate] += 1

    def _later(self, delay: float, port: Port, packet: bytes) -> None:
        heapq.heappush(self.waiting, Waiting(time.monotonic() + delay, next(self.numbers), port, packet))

    def _send_due(self) -> None:
        while self.waiting and self.waiting[0].due <= time.monotonic():
            due = heapq.heappop(self.waiting)
            due.port.send(due.packet)


def packet_too_big(router: str, mtu: int, packet: bytes) -> bytes:
    """Build the ICMP error for a packet above the MTU (RFC 1191 section 4, RFC 4443 section 3.2)."""
    source = ipaddress.ip_address(router).packed
    if packet[0] >> 4 == 4:
        quote = packet[: MINIMUM_MTU[4] - 28]
        message = _with_checksum(struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quote)
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 20 + len(message), 0, 0, 64, 1, 0, source, packet[12:16]
        )
        return _with_checksum(header, at=10) + message
    quote = packet[: MINIMUM_MTU[6] - 48]
    body = struct.pack("!BBHI", 2, 0, 0, mtu) + quote
    pseudo_header = source + packet[8:24] + struct.pack("!II", len(body), 58)
    message = _with_checksum(pseudo_header + body, at=len(pseudo_header) + 2)[len(pseudo_header) :]
    return struct.pack("!IHBB16s16s", 0x60000000, len(message), 58, 64, source, packet[8:24]) + message


def _open(host: Host) -> Port:
    """Open the router's end of the link to a host; call inside the router's namespace."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    port.bind((host.role, ETH_P_ALL))
    return Port(host, port)


def _without_padding(packet: bytes) -> bytes:
    (length,) = struct.unpack_from("!H", packet, 2 if packet[0] >> 4 == 4 else 4)
    return packet[: length if packet[0] >> 4 == 4 else 40 + length]


def _destination(packet: bytes) -> bytes:
    return packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]


def _one_hop_less(packet: bytes) -> bytes:
    if packet[0] >> 4 == 6:
        return packet[:7] + bytes([packet[7] - 1]) + packet[8:]
    header = 4 * (packet[0] & 15)
    fresh = packet[:8] + bytes([packet[8] - 1]) + packet[9:header]
    return _with_checksum(fresh, at=10) + packet[header:]


def _with_checksum(data: bytes, at: int = 2) -> bytes:
    """Set the Internet checksum (RFC 1071) of `data` at an offset."""
    data = data[:at] + b"\0\0" + data[at + 2 :]
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return data[:at] + struct.pack("!H", ~total & 0xFFFF) + data[at + 2 :]
