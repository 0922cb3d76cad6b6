"""Text for people: that of others (names, replies, file names) made harmless to look at, and addresses."""

from __future__ import annotations

from smtpkit.addresses import is_ipv6


def printable(text: object) -> str:
    r"""Return `text` with all that cannot be seen written out, as in ``\x1b`` or ``\u202e``.

    Control characters (line ends too), escape sequences and marks that turn the direction of writing then
    neither act on a terminal nor hide what stands beside them. Markup of a certain kind (HTML, math) is the
    business of those who write that kind.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def endpoint(address: str, port: object) -> str:
    """Return ADDRESS:PORT, with an IPv6 address in brackets (RFC 5952 6)."""
    return f"[{address}]:{port}" if is_ipv6(address) else f"{address}:{port}"
