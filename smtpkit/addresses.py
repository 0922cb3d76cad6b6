"""IP addresses: of which version they are, and others in their place."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

KEY_SIZE = 32  # bytes: AES-128 key and padding of Crypto-PAn
IPV6_LABEL = " (IPv6)"  # ends the label that stands for an IPv6 address

Address = IPv4Address | IPv6Address


def is_ipv6(address: str) -> bool:
    """Say whether an address, or the label that stands for it, is of IPv6."""
    return ":" in address or address.endswith(IPV6_LABEL)


def is_address(text: str) -> bool:
    """Say whether text of others is an IP address and no more; Python lets a zone of any text follow `%`."""
    try:
        return "%" not in text and bool(ip_address(text).packed)
    except ValueError:
        return False


def stays(address: Address) -> bool:
    """Say whether an address tells of nobody: loopback, unspecified, link-local, multicast."""
    return address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast


def prefix_preserving(key: bytes) -> Callable[[Address], Address]:
    """Return a map of addresses, one to one, under which just as many leading bits of two of them agree.

    Private and documentation addresses are mapped like others; those that tell of nobody stay.

    Parameters
    ----------
    key : bytes
        32 bytes; who has them can lead every address back.

    References
    ----------
    Xu, Fan, Ammar, Moon: Prefix-Preserving IP Address Anonymization (Crypto-PAn), ICNP 2002.
    """
    from yacryptopan import CryptoPAn  # loads a library of ciphers

    cipher = CryptoPAn(key)

    def mapped(address: Address) -> Address:
        other = int(address) if stays(address) else cipher.anonymize_bin(int(address), address.version)
        return type(address)(other)

    return mapped
