"""Network namespaces: hosts around one router, joined by veth pairs, removed when done."""

import contextlib
import ctypes
import ipaddress
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CLONE_NEWNET = 0x40000000
OFFLOADS = ("tso", "gso", "gro", "tx")  # tx: a router on AF_PACKET passes checksums on as it gets them
HOST_FILES = Path("/etc/netns")  # `ip netns exec` mounts what lies there over /etc
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Host:
    """A machine at the router: its role names the router's interface to it."""

    role: str
    name: str
    address: str
    advmss: int | None = None
    sysctl: Mapping[str, str] = field(default_factory=dict)
    nft: str = ""
    offload: bool = False

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.address).version

    @property
    def packed(self) -> bytes:
        """The address in network order."""
        return ipaddress.ip_address(self.address).packed

    @property
    def prefix(self) -> int:
        """Length of the network's prefix [bit]."""
        return 24 if self.version == 4 else 64

    @property
    def domain(self) -> str:
        """What its mail addresses end in."""
        return self.name.partition(".")[2]

    @property
    def mac(self) -> str:
        """A locally administered address that ends in the IP address."""
        return "02:00:" + self.packed[-4:].hex(":")

    @property
    def gateway(self) -> str:
        """The router's address on the host's network: the first one."""
        network = ipaddress.ip_interface(f"{self.address}/{self.prefix}").network
        return str(network.network_address + 1)


class Network:
    """Namespaces of one run; their names hold the process id, so runs do not meet."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = {host.role: host for host in hosts}
        self.made: list[str] = []

    def __enter__(self) -> "Network":
        try:
            self._add("router")
            for host in self.hosts.values():
                self._add(host.role)
                self._join(host)
                self._configure(host)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for role in self.made:
            for pid in self.pids(role):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            subprocess.run(["ip", "netns", "del", self.name(role)], check=False)
            shutil.rmtree(self.etc(role), ignore_errors=True)
        with contextlib.suppress(OSError):
            HOST_FILES.rmdir()  # only if empty, so not another's

    def name(self, role: str) -> str:
        """Name the namespace of a role."""
        return f"lab-{os.getpid()}-{role}"

    def etc(self, role: str) -> Path:
        """Name the folder whose contents a namespace sees in /etc."""
        return HOST_FILES / self.name(role)

    def command(self, role: str, *words: object) -> list[str]:
        """Give the command line that runs `words` in a namespace."""
        return ["ip", "netns", "exec", self.name(role), *map(str, words)]

    def run(self, role: str, *words: object) -> str:
        """Run a command in a namespace and return its output; a failure raises."""
        done = subprocess.run(self.command(role, *words), check=True, capture_output=True, text=True)
        return done.stdout

    def pids(self, role: str) -> set[int]:
        """List the processes in a namespace, all of them started by this run."""
        listed = subprocess.run(["ip", "netns", "pids", self.name(role)], capture_output=True, text=True)
        return {int(pid) for pid in listed.stdout.split()}

    @contextlib.contextmanager
    def inside(self, role: str) -> Iterator[None]:
        """Let this thread open its sockets in a namespace."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name(role)}") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def _add(self, role: str) -> None:
        _ip("netns", "add", self.name(role))
        self.made.append(role)
        # No link-local addresses: addresses are those of the plan, nothing else speaks.
        settings = (f"net.ipv6.conf.default.{each}" for each in ("accept_dad=0", "addr_gen_mode=1"))
        self.run(role, "sysctl", "-qw", *settings)
        self.run(role, "ip", "link", "set", "lo", "up")

    def _join(self, host: Host) -> None:
        if not host.offload:
            self._veth(host.role, "eth0", "router", host.role)
            return
        # A TCP super-packet is cut up on leaving the switch, behind the host's capture point.
        switch = f"switch-{host.role}"
        self._add(switch)
        self._veth(host.role, "eth0", switch, "port1", offload=True)
        self._veth(switch, "port2", "router", host.role)
        self.run(switch, "ip", "link", "add", "br0", "type", "bridge")
        for port in ("port1", "port2"):
            self.run(switch, "ip", "link", "set", port, "master", "br0")
        self.run(switch, "ip", "link", "set", "br0", "up")

    def _veth(self, one: str, end: str, other: str, far_end: str, offload: bool = False) -> None:
        _ip("link", "add", end, "netns", self.name(one), "type", "veth",
            "peer", "name", far_end, "netns", self.name(other))  # fmt: skip
        for role, interface in ((one, end), (other, far_end)):
            if not offload:
                switches = [word for name in OFFLOADS for word in (name, "off")]
                self.run(role, "ethtool", "-K", interface, *switches)
            self.run(role, "ip", "link", "set", interface, "up")

    def _configure(self, host: Host) -> None:
        # The kernel answers ARP and neighbour discovery for the router; it forwards nothing.
        self.run(host.role, "ip", "link", "set", "eth0", "address", host.mac)
        self.run("router", "ip", "address", "add", f"{host.gateway}/{host.prefix}", "dev", host.role)
        self.run(host.role, "ip", "address", "add", f"{host.address}/{host.prefix}", "dev", "eth0")
        advmss = ("advmss", host.advmss) if host.advmss else ()
        self.run(host.role, "ip", f"-{host.version}", "route", "add", "default", "via", host.gateway, *advmss)
        for key, value in host.sysctl.items():
            self.run(host.role, "sysctl", "-qw", f"{key}={value}")
        if host.nft:
            self.run(host.role, "nft", host.nft)
        self._write_host_files(host)

    def _write_host_files(self, host: Host) -> None:
        """Names without a DNS, and without this machine's own name."""
        folder = self.etc(host.role)
        folder.mkdir(parents=True)
        names = [f"{each.address} {each.name}" for each in self.hosts.values()]
        (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
        (folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter the network namespace: run the lab as root")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
