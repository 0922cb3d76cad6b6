"""A syslog daemon for one host: writes a file as rsyslog's traditional format has it (RFC 3164)."""

import re
import shutil
import socket
import threading
from pathlib import Path

# `ip netns exec` gives a mount namespace of its own: a /dev with just what Exim needs, and the socket.
DEV = """\
mount -t tmpfs -o mode=755 tmpfs /dev
mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/zero c 1 5
mknod -m 666 /dev/random c 1 8; mknod -m 666 /dev/urandom c 1 9
touch /dev/log; mount --bind "$1" /dev/log
shift; exec "$@"
"""


class Syslog:
    """Takes datagrams on a socket of its own, from construction until `stop`."""

    def __init__(self, host: str, folder: Path) -> None:
        self.host, self.path, self.file = host, folder / "devlog", folder / "syslog"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.path.chmod(0o666)
        threading.Thread(target=self._write, daemon=True).start()

    def before(self) -> list[str]:
        """Give the words that go before a command whose /dev/log shall be this."""
        shell = shutil.which("sh") or "/bin/sh"
        return [shell, "-ec", DEV, "sh", str(self.path)]

    def stop(self) -> None:
        """End: an empty datagram tells the thread so."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"", str(self.path))

    def _write(self) -> None:
        with self.socket, self.file.open("w") as file:
            while data := self.socket.recv(65536):
                # <22>Nov 22 16:01:02 exim[1234]: text
                found = re.match(
                    r"<\d+>(\w{3} [ \d]\d [\d:]{8}) (.*)", data.decode(errors="replace").rstrip("\0\n")
                )
                if found:
                    print(found[1], self.host, found[2], file=file, flush=True)
