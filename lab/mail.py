"""Exim on the hosts: configuration, submission, delivery, and what it keeps of a message."""

import shutil
import smtplib
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from pathlib import Path

from lab.certificates import make_certificate
from lab.namespaces import Host, Network
from lab.syslog import Syslog

USER = "Debian-exim"
CLIENT = "crm.example.org"  # hands the messages in

COMMON = """\
primary_hostname = {host.name}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog{syslog}
exim_user = {user}
exim_group = {user}
keep_environment =
daemon_smtp_ports = {settings.port}
{options}
"""
SENDER = """\
local_interfaces = <; {host.address}
queue_only
begin routers
bounces:
  driver = accept
  domains = {host.domain}
  transport = mailbox
partners:
  driver = manualroute
  route_list = {routes}
  transport = remote_smtp
begin transports
remote_smtp:
  driver = smtp
  {transport}
mailbox:
  driver = appendfile
  file = /dev/null
  user = {user}
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
    """One host's Exim."""

    main: Mapping[str, str] = field(default_factory=dict)  # options
    transport: Mapping[str, str] | None = None  # options of its smtp transport; None: it only receives
    port: int = 25
    key: str = ""  # kind of key for TLS such as "rsa:4096"; without one STARTTLS is not offered
    syslog: bool = False  # logs to syslog, too


class Exim:
    """The Exim of one host, with a spool and a log of its own, running as a daemon."""

    def __init__(self, network: Network, host: Host, settings: Settings, folder: Path) -> None:
        self.network, self.host, self.settings, self.folder = network, host, settings, folder
        for made in (folder, folder / "spool"):
            made.mkdir()
            shutil.chown(made, USER, USER)
        self.syslog = Syslog(host.name.partition(".")[0], folder) if settings.syslog else None
        self._configure()
        self.daemon = subprocess.Popen(self._exim("-bdf"), stderr=subprocess.DEVNULL)
        self._wait_for_daemon()

    def stop(self) -> None:
        """End what this class itself started; the namespace ends the rest."""
        if self.syslog:
            self.syslog.stop()

    def received(self, sender: str, recipients: list[str]) -> int:
        """Count the octets of the Received header that this Exim puts before a message."""
        port = "port=12345 " if "+incoming_port" in self.settings.main.get("log_selector", "") else ""
        return len(
            f"Received: from [{self.host.address}] ({port}helo={CLIENT})\r\n"
            f"\tby {self.host.name} with esmtp (Exim {self.version})\r\n"
            f"\t(envelope-from <{sender}>)\r\n"
            "\tid 1xV9zI-0002tG-3B"
            + (f"\r\n\tfor {recipients[0]}" if len(recipients) == 1 else "")
            + f";\r\n\t{formatdate()}\r\n"
        )

    def submit(self, sender: str, recipients: list[str], message: bytes) -> str:
        """Hand a message in by SMTP on the host itself; its Exim id."""
        with self.network.inside(self.host.role):
            client = smtplib.SMTP(self.host.address, self.settings.port, local_hostname=CLIENT)
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

    def run_queue(self, together: bool = False) -> None:
        """Try all on the queue, retry times or not; if together, mail for one host on one connection."""
        subprocess.run(self._exim("-qqff" if together else "-qff"), check=True, stderr=subprocess.DEVNULL)

    def deliver(self, message_id: str) -> None:
        """Start the first delivery, as Exim does on arrival unless told to queue."""
        subprocess.Popen(self._exim("-Mc", message_id), stderr=subprocess.DEVNULL)

    def log(self, name: str = "main") -> str:
        """Read the main or the panic log, or what syslog got; empty if Exim wrote none."""
        file = self.folder / f"{name}log"
        return file.read_text() if file.exists() else ""

    @cached_property
    def version(self) -> str:
        """Exim's version, as in a Received header."""
        said = subprocess.run(["exim4", "-bV"], check=True, capture_output=True, text=True).stdout
        return said.split()[2]

    def _wait_for_daemon(self) -> None:
        for _ in range(100):
            if "daemon started" in self.log():
                return
            time.sleep(0.1)
        raise RuntimeError(f"the Exim of {self.host.name} does not start: {self.log('panic')}")

    def _exim(self, *words: str) -> list[str]:
        before = self.syslog.before() if self.syslog else []
        return self.network.command(self.host.role, *before, "exim4", *words)

    def _configure(self) -> None:
        """As the host's /etc/exim4, since with -C Exim gives up its privileges in some processes."""
        folder = self.network.etc(self.host.role) / "exim4"
        folder.mkdir()
        (folder / "exim4.conf").write_text(self._configuration())

    def _configuration(self) -> str:
        settings, places = self.settings, {"host": self.host, "folder": self.folder, "user": USER}
        options = _options({"acl_smtp_rcpt": "accept", **settings.main, **self._tls()}, "\n")
        syslog = " : syslog" if settings.syslog else ""
        text = COMMON.format(settings=settings, options=options, syslog=syslog, **places)
        if settings.transport is None:
            return text + RECEIVER.format(**places)
        transport = _options(settings.transport, "\n  ")
        return text + SENDER.format(routes=self._routes(), transport=transport, **places)

    def _routes(self) -> str:
        """Send mail for a domain to its hosts, in their order."""
        domains: dict[str, list[str]] = {}
        for host in self.network.hosts.values():
            if host is not self.host:
                domains.setdefault(host.domain, []).append(host.name)
        return " ; ".join(f"{domain} {':'.join(names)} byname" for domain, names in domains.items())

    def _tls(self) -> dict[str, str]:
        if not self.settings.key:
            return {"tls_advertise_hosts": ""}
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        make_certificate(self.host.name, self.settings.key, key, certificate)
        for file in (key, certificate):
            shutil.chown(file, USER, USER)
        return {"tls_advertise_hosts": "*", "tls_certificate": str(certificate), "tls_privatekey": str(key)}


def _options(options: Mapping[str, str], separator: str) -> str:
    return separator.join(f"{name} = {value}" for name, value in options.items())
