"""Exim on the hosts: configuration, submission, delivery, and what it keeps of a message."""

import shutil
import smtplib
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.namespaces import Host, Network

USER = "Debian-exim"
RECEIVED = 230  # octets of the Received header that the sender's Exim adds

COMMON = """\
primary_hostname = {host.name}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
exim_user = {user}
exim_group = {user}
keep_environment =
acl_smtp_rcpt = accept
daemon_smtp_ports = {settings.port}
{options}
"""
SENDER = """\
local_interfaces = <; {address}
queue_only
begin routers
partners:
  driver = manualroute
  route_list = {routes}
  transport = remote_smtp
begin transports
remote_smtp:
  driver = smtp
  {transport}
begin retry
* * F,2h,10m
"""
RECEIVER = """\
begin routers
local:
  driver = accept
  transport = mailbox
begin transports
mailbox:
  driver = appendfile
  file = /dev/null
  user = {user}
"""


@dataclass(frozen=True)
class Settings:
    """One host's Exim: main options, options of its smtp transport, port, kind of key for TLS."""

    main: Mapping[str, str] = field(default_factory=dict)
    transport: Mapping[str, str] = field(default_factory=dict)
    port: int = 25
    key: str = ""  # such as "rsa:4096"; without one STARTTLS is not offered


class Exim:
    """The Exim of one host, with a spool and a log of its own, running as a daemon."""

    def __init__(self, network: Network, host: Host, settings: Settings, folder: Path) -> None:
        self.network, self.host, self.settings, self.folder = network, host, settings, folder
        for made in (folder, folder / "spool"):
            made.mkdir()
            shutil.chown(made, USER, USER)
        self._configure()
        self.daemon = subprocess.Popen(self._exim("-bdf"), stderr=subprocess.DEVNULL)
        self._wait_for_daemon()

    def submit(self, sender: str, recipients: list[str], message: bytes) -> str:
        """Hand a message in by SMTP on the host itself; its Exim id."""
        with self.network.inside(self.host.role):
            client = smtplib.SMTP(self.host.address, self.settings.port, local_hostname="crm.example.org")
        with client:
            client.ehlo()
            client.mail(sender)
            for recipient in recipients:
                client.rcpt(recipient)
            code, reply = client.data(message)
        if code != 250:
            raise RuntimeError(f"{self.host.name} did not take a message: {code} {reply.decode()}")
        return reply.decode().rpartition("id=")[2]

    def message(self, message_id: str) -> bytes:
        """Read a message on the queue as Exim holds it, header and body."""
        return subprocess.run(self._exim("-Mvc", message_id), check=True, capture_output=True).stdout

    def run_queue(self) -> None:
        """Try all that is on the queue again, retry times or not."""
        subprocess.run(self._exim("-qff"), check=True, stderr=subprocess.DEVNULL)

    def deliver(self, message_id: str) -> None:
        """Start the first delivery, as Exim does on arrival unless told to queue."""
        subprocess.Popen(self._exim("-Mc", message_id), stderr=subprocess.DEVNULL)

    def log(self, name: str = "main") -> str:
        """Read the main or the panic log; empty if Exim wrote none."""
        file = self.folder / f"{name}log"
        return file.read_text() if file.exists() else ""

    def _wait_for_daemon(self) -> None:
        for _ in range(100):
            if "daemon started" in self.log():
                return
            time.sleep(0.1)
        raise RuntimeError(f"the Exim of {self.host.name} does not start: {self.log('panic')}")

    def _exim(self, *words: str) -> list[str]:
        return self.network.command(self.host.role, "exim4", *words)

    def _configure(self) -> None:
        """As the host's /etc/exim4, since with -C Exim gives up its privileges in some processes."""
        folder = self.network.etc(self.host.role) / "exim4"
        folder.mkdir()
        (folder / "exim4.conf").write_text(self._configuration())

    def _configuration(self) -> str:
        settings = self.settings
        options = _options({**settings.main, **self._tls()}, "\n")
        text = COMMON.format(
            host=self.host, folder=self.folder, user=USER, settings=settings, options=options
        )
        if self.host.role != "sender":
            return text + RECEIVER.format(user=USER)
        peers = [host for host in self.network.hosts.values() if host is not self.host]
        return text + SENDER.format(
            address=self.host.address,
            routes=" ; ".join(f"{peer.domain} {peer.name} byname" for peer in peers),
            transport=_options(settings.transport, "\n  "),
        )

    def _tls(self) -> dict[str, str]:
        if not self.settings.key:
            return {"tls_advertise_hosts": ""}
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        make_certificate(self.host.name, self.settings.key, key, certificate)
        return {"tls_advertise_hosts": "*", "tls_certificate": str(certificate), "tls_privatekey": str(key)}


def make_certificate(name: str, kind: str, key: Path, certificate: Path) -> None:
    """Make a self-signed certificate; `kind` is what `openssl req -newkey` takes."""
    curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else []
    words = ["openssl", "req", "-x509", "-newkey", kind, *curve, "-nodes", "-days", "365",
             "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    subprocess.run(words, check=True, capture_output=True)
    for file in (key, certificate):
        shutil.chown(file, USER, USER)


def _options(options: Mapping[str, str], separator: str) -> str:
    return separator.join(f"{name} = {value}" for name, value in options.items())
