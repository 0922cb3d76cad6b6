"""Keys and certificates from the openssl command."""

import ssl
import subprocess
import tempfile
from pathlib import Path


def make_certificate(name: str, kind: str, key: Path, certificate: Path, octets: int = 0) -> None:
    """Make a key and its self-signed certificate, or a chain above it that is at least `octets` long.

    `kind` is what `openssl req -newkey` takes, such as "rsa:4096", or "ec". The chain is counted as it is
    sent, in DER, and its root is sent too, as many servers do.
    """
    with tempfile.TemporaryDirectory() as folder:
        chain: list[str] = []
        issuer: tuple[Path, Path] | None = None
        while sum(len(ssl.PEM_cert_to_DER_cert(each)) for each in chain) < octets:
            files = (Path(folder, f"key-{len(chain)}"), Path(folder, f"certificate-{len(chain)}"))
            _certify(f"Example Trust Services CA {len(chain) + 1}", kind, files, issuer)
            chain.insert(0, files[1].read_text())
            issuer = files
        _certify(name, kind, (key, certificate), issuer)
        certificate.write_text(certificate.read_text() + "".join(chain))


def _certify(name: str, kind: str, files: tuple[Path, Path], issuer: tuple[Path, Path] | None) -> None:
    """Make a key and a certificate for it, signed by the issuer's key or by itself."""
    curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else []
    signing = ["-CAkey", str(issuer[0]), "-CA", str(issuer[1])] if issuer else []
    words = ["openssl", "req", "-x509", "-newkey", kind, *curve, "-nodes", "-days", "365", *signing,
             "-subj", f"/CN={name}", "-keyout", str(files[0]), "-out", str(files[1])]  # fmt: skip
    subprocess.run(words, check=True, capture_output=True)
