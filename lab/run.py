"""Plays a plan: hosts, router and captures up, messages through, everything down."""

import contextlib
import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.capture import Capture, Point
from lab.mail import Exim, Settings
from lab.messages import compose
from lab.namespaces import Host, Network
from lab.plan import Mail, Plan
from lab.router import Router
from lab.server import Server
from lab.wire import Connection, Wire

SENDERS = ("office", "m.berg", "shop", "k.lindt", "news", "accounts")
RECIPIENTS = ("info", "a.marsh", "orders", "p.duval", "library", "t.okafor")


@dataclass(frozen=True)
class Sent:
    """A message as the Exim that sends it has it."""

    mail: Mail
    number: int  # in the order of sending, from 0
    content: bytes

    @property
    def data(self) -> bytes:
        """As on the wire, without the final dot."""
        return self.content.replace(b"\n", b"\r\n")

    @property
    def name(self) -> bytes:
        """Its Message-ID line."""
        return next(line for line in self.content.split(b"\n") if line.startswith(b"Message-ID:"))


@dataclass(frozen=True)
class Result:
    """What a run left behind."""

    plan: Plan
    messages: dict[str, Sent]  # by the sender's Exim id
    folder: Path  # main logs and syslogs by role, captures by their points' files
    witnesses: dict[str, Path]  # by role: captures on the router's links, for verification alone
    panics: str
    missed: int  # packets that the captures missed
    stopped_by: Counter[str]  # packets that went no further, by kind of box

    def log(self, role: str = "sender") -> str:
        """Read a main log."""
        file = self.folder / role / "mainlog"
        return file.read_text() if file.exists() else ""

    @cached_property
    def wires(self) -> dict[tuple[str, str], Wire]:
        """What the witnesses saw, by the roles at the ends of a path."""
        host = self.plan.host
        return {
            (one, other): Wire(host(one), host(other), self.witnesses[one], self.witnesses[other])
            for one, other in self.plan.paths
        }

    def wire(self, peer: str = "broken", client: str = "sender") -> Wire:
        """Tell what went between a client and a server."""
        return self.wires[client, peer]

    def connections(self, message: str, peer: str = "broken") -> list[Connection]:
        """Find the connections in which a message was sent, in clear."""
        sent = self.messages[message]
        return self.wire(peer, sent.mail.by).holding(sent.name)


def play(plan: Plan, folder: Path) -> Result:
    """Run a plan with its files in an empty folder."""
    folder.chmod(0o755)  # Exim's own user passes through
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(Network(list(plan.hosts)))
        router = stack.enter_context(Router(network, plan.paths, plan.seed))
        exims = _start(plan, network, folder, stack)
        witnesses = {host.role: folder / f"witness-{host.role}.pcap" for host in plan.hosts}
        captures = [
            Capture(network, point, folder / point.file.removesuffix(".gz")) for point in plan.captures
        ]
        for role, file in witnesses.items():
            captures.append(Capture(network, Point("router", interface=role, filter="ip or ip6"), file))
        if plan.pings:
            _ping(network)
        messages = _send(plan, network, exims)
        time.sleep(plan.tail)
        missed = sum(capture.stop() for capture in captures)
        return Result(
            plan=plan,
            messages=messages,
            folder=folder,
            witnesses=witnesses,
            panics="".join(exim.log("panic") for exim in exims.values()),
            missed=missed,
            stopped_by=router.stopped_by,
        )


def _start(plan: Plan, network: Network, folder: Path, stack: contextlib.ExitStack) -> dict[str, Exim]:
    """Start the mail servers; the Exims among them by role."""
    exims = {}
    for role, settings in plan.servers.items():
        host = network.hosts[role]
        if isinstance(settings, Settings):
            exims[role] = Exim(network, host, settings, folder / role)
            stack.callback(exims[role].stop)
        else:
            server = Server(network, host, settings, 25, folder / role)
            stack.callback(server.stop)
    return exims


def _ping(network: Network) -> None:
    """Do what a puzzled postmaster does: ping the peer with the trouble, in the usual small size."""
    command = network.command("sender", "ping", "-q", "-c", 4, "-i", 9, network.hosts["broken"].address)
    subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _send(plan: Plan, network: Network, exims: dict[str, Exim]) -> dict[str, Sent]:
    """Hand in all messages, start their deliveries as they come, and wait for the last to end."""
    rng = random.Random(plan.seed)
    senders = {role: network.pids(role) for role in {mail.by for mail in plan.mails}}
    messages = {}
    for number, mail in enumerate(_shuffled(plan, rng)):
        exim = exims[mail.by]
        message_id = _submit(exim, mail, network.hosts, rng)
        messages[message_id] = Sent(mail, number, exim.message(message_id))
        if not plan.together:
            exim.deliver(message_id)
        time.sleep(rng.uniform(0.4, 1.6) * plan.gap)
    for turn in range(plan.together + plan.queue_runs):
        _wait_for_deliveries(network, senders)
        time.sleep(plan.rest if turn or not plan.together else 0)
        for role in senders:
            exims[role].run_queue(plan.together)
    _wait_for_deliveries(network, senders)
    return messages


def _submit(exim: Exim, mail: Mail, hosts: dict[str, Host], rng: random.Random) -> str:
    sender = f"{rng.choice(SENDERS)}@{exim.host.domain}"
    recipients = [f"{rng.choice(RECIPIENTS)}@{hosts[peer].domain}" for peer in mail.to]
    size = mail.size - exim.received(sender, recipients)
    return exim.submit(sender, recipients, compose(rng, sender, recipients, size, mail.body))


def _wait_for_deliveries(network: Network, idle: dict[str, set[int]]) -> None:
    while any(network.pids(role) - pids for role, pids in idle.items()):
        time.sleep(0.5)


def _shuffled(plan: Plan, rng: random.Random) -> list[Mail]:
    mails = list(plan.mails)
    rng.shuffle(mails)
    return mails
