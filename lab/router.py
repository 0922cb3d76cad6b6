"""A router in user space, on AF_PACKET sockets: takes packets through the boxes of their path.

The kernel of its namespace answers ARP and neighbour discovery and forwards nothing; every IP packet
for a host is read here and, if its path lets it, written to the interface of that host.
"""

import copy
import heapq
import ipaddress
import itertools
import random
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.boxes.box import Box
from lab.namespaces import Host, Network
from lab.packet import Packet, without_padding

ETHERNET = 14  # octets of the link header
ETH_P_ALL = 3
ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}


@dataclass(frozen=True)
class Path:
    """What lies between two hosts; packets back meet the boxes in the other order."""

    boxes: tuple[Box, ...] = ()
    delay: float = 0.012  # one way [s]
    delay_back: float | None = None  # where the way back is another


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
    """Forwards between the hosts of a network within a `with` block; `stopped_by` counts what boxes kept."""

    def __init__(self, network: Network, paths: Mapping[tuple[str, str], Path], seed: int) -> None:
        super().__init__(daemon=True)
        self.paths = copy.deepcopy(dict(paths))
        self.stopped_by: Counter[str] = Counter()  # by kind of box
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
                if kind == socket.PACKET_HOST and frame[12:14] in ETHERTYPE.values():
                    self._receive(by_socket[ready], without_padding(frame[ETHERNET:]))
            self._send_due()

    def __enter__(self) -> "Router":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.join()
        for port in self.ports:
            port.socket.close()

    def _receive(self, port: Port, data: bytes) -> None:
        """Take a packet that is for one of the hosts through its path, leave the rest to the kernel."""
        out = self.by_address.get(Packet(data, True).target)
        if out is None or out is port:
            return
        forward = (port.host.role, out.host.role) in self.paths
        first, second = (port, out) if forward else (out, port)
        path = self.paths[first.host.role, second.host.role]
        ends = {True: second, False: first}
        boxes = path.boxes if forward else path.boxes[::-1]
        arriving = Packet(data, forward, port.host.gateway).one_hop_less()
        for packet in self._through(boxes, arriving):
            delay = path.delay if packet.forward or path.delay_back is None else path.delay_back
            due = time.monotonic() + delay + packet.delay
            heapq.heappush(self.waiting, Waiting(due, next(self.numbers), ends[packet.forward], packet.data))

    def _through(self, boxes: tuple[Box, ...], packet: Packet) -> list[Packet]:
        going, back = [packet], []
        for box in boxes:
            taken = [new for old in going for new in box.take(old, time.monotonic(), self.random)]
            back += [new for new in taken if new.forward != packet.forward]
            taken = [new for new in taken if new.forward == packet.forward]
            self.stopped_by[type(box).__name__] += max(0, len(going) - len(taken))
            going = taken
        return going + back

    def _send_due(self) -> None:
        while self.waiting and self.waiting[0].due <= time.monotonic():
            due = heapq.heappop(self.waiting)
            due.port.send(due.packet)


def _open(host: Host) -> Port:
    """Open the router's end of the link to a host; call inside the router's namespace."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    port.bind((host.role, ETH_P_ALL))
    return Port(host, port)
