"""Plays a plan: hosts, router and captures up, messages through, everything down."""

import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lab.capture import Capture, Point
from lab.mail import RECEIVED, Exim
from lab.messages import compose
from lab.namespaces import Network
from lab.plan import Plan
from lab.router import Router

SENDERS = ("office", "m.berg", "shop", "k.lindt", "news", "accounts")
RECIPIENTS = ("info", "a.marsh", "orders", "p.duval", "library", "t.okafor")
HEADERS = 128  # snap length of the witnesses


@dataclass(frozen=True)
class Sent:
    """A message as the sender's Exim has it, and the peers that it goes to."""

    peers: frozenset[str]
    content: bytes


@dataclass(frozen=True)
class Result:
    """What a run left behind."""

    messages: dict[str, Sent]  # by Exim id
    logs: dict[str, str]  # main logs by role
    panics: str
    capture: Path
    witnesses: dict[str, Path]  # by role: captures of packet headers, for `verify` alone
    missed: int  # packets that tcpdump dropped
    counts: Counter[tuple[str, str, str]]  # the router's: from, to, fate


def play(plan: Plan, folder: Path) -> Result:
    """Run a plan with its files in an empty folder."""
    folder.chmod(0o755)  # Exim's own user passes through
    with Network(list(plan.hosts)) as network, Router(network, plan.ways, plan.seed) as router:
        exims = {
            role: Exim(network, host, plan.exims[role], folder / role) for role, host in network.hosts.items()
        }
        witnesses = {role: folder / f"witness-{role}.pcap" for role in ("sender", "broken")}
        captures = [Capture(network, plan.capture, folder / "capture.pcap")]
        for role, file in witnesses.items():
            captures.append(Capture(network, Point(role, snap_length=HEADERS), file))
        if plan.pings:
            _ping(network)
        messages = _send(plan, network, exims["sender"])
        time.sleep(plan.tail)
        missed = sum(capture.stop() for capture in captures)
        return Result(
            messages=messages,
            logs={role: exim.log() for role, exim in exims.items()},
            panics="".join(exim.log("panic") for exim in exims.values()),
            capture=folder / "capture.pcap",
            witnesses=witnesses,
            missed=missed,
            counts=router.counts,
        )


def _ping(network: Network) -> None:
    """Do what a puzzled postmaster does: ping the peer with the trouble, in the usual small size."""
    command = network.command("sender", "ping", "-q", "-c", 4, "-i", 9, network.hosts["broken"].address)
    subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _send(plan: Plan, network: Network, exim: Exim) -> dict[str, Sent]:
    """Hand in all messages, start their deliveries as they come, and wait for the last to end."""
    rng = random.Random(plan.seed)
    idle = network.pids("sender")
    messages = {}
    for peers, size in _shuffled(plan, rng):
        sender = f"{rng.choice(SENDERS)}@{network.hosts['sender'].domain}"
        recipients = [f"{rng.choice(RECIPIENTS)}@{network.hosts[peer].domain}" for peer in peers]
        message_id = exim.submit(sender, recipients, compose(rng, sender, recipients, size - RECEIVED))
        messages[message_id] = Sent(frozenset(peers), exim.message(message_id))
        exim.deliver(message_id)
        time.sleep(rng.uniform(0.4, 1.6) * plan.gap)
    for _ in range(plan.queue_runs):
        _wait_for_deliveries(network, idle)
        exim.run_queue()
    _wait_for_deliveries(network, idle)
    return messages


def _wait_for_deliveries(network: Network, idle: set[int]) -> None:
    while network.pids("sender") - idle:
        time.sleep(0.5)


def _shuffled(plan: Plan, rng: random.Random) -> list[tuple[tuple[str, ...], int]]:
    messages = [
        *((("broken",), size) for size in plan.to_broken),
        *((("healthy",), size) for size in plan.to_healthy),
        *((("broken", "healthy"), size) for size in plan.to_both),
    ]
    rng.shuffle(messages)
    return messages
