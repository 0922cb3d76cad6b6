from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpkit.addresses import is_ipv6, prefix_preserving

# The sample key and trace of the Crypto-PAn distribution (Xu, Fan, Ammar, Moon).
PUBLISHED_KEY = bytes(
    [
        *(21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16),
        *(216, 152, 143, 131, 121, 121, 101, 39, 98, 87, 76, 45, 42, 132, 34, 2),
    ]
)
PUBLISHED = {
    "128.11.68.132": "135.242.180.132",
    "129.118.74.4": "134.136.186.123",
    "130.132.252.244": "133.68.164.234",
    "141.223.7.43": "141.167.8.160",
    "141.233.145.108": "141.129.237.235",
    "152.163.225.39": "151.140.114.167",
    "156.29.3.236": "147.225.12.42",
    "165.247.96.84": "162.9.99.234",
    "166.107.77.190": "160.132.178.185",
    "192.102.249.13": "252.138.62.131",
    "195.205.63.100": "255.186.223.5",
}
MAPPED = prefix_preserving(bytes(range(32)))


@pytest.mark.parametrize(("original", "other"), PUBLISHED.items())
def test_the_published_vectors(original, other):
    assert str(prefix_preserving(PUBLISHED_KEY)(ip_address(original))) == other


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "0.0.0.0", "169.254.3.4", "224.0.0.251", "::1", "::", "fe80::1", "ff02::1"]
)
def test_an_address_that_tells_of_nobody_stays(address):
    assert str(MAPPED(ip_address(address))) == address


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.7.7", "192.0.2.1", "2001:db8::1", "fd00::1"])
def test_private_and_documentation_addresses_are_mapped_too(address):
    assert str(MAPPED(ip_address(address))) != address


@pytest.mark.parametrize(("kind", "bits"), [(IPv4Address, 32), (IPv6Address, 128)])
def test_just_as_many_leading_bits_agree(kind, bits):
    @given(
        st.integers(2 << bits - 4, (4 << bits - 4) - 1), st.integers(0, bits - 4), st.integers(min_value=0)
    )
    def leading_bits_agree(number, place, rest):
        other = number ^ (1 << place | rest % (1 << place))  # the first bit in which it differs
        mapped = int(MAPPED(kind(number))) ^ int(MAPPED(kind(other)))
        assert mapped.bit_length() == place + 1

    leading_bits_agree()


def test_labels_tell_their_version():
    assert is_ipv6("2001:db8::1")
    assert is_ipv6("server A (IPv6)")
    assert not is_ipv6("192.0.2.1")
    assert not is_ipv6("server A")
