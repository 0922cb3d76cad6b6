import pytest

from smtpkit.printable import endpoint, printable


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("mx.example.org", "mx.example.org"),
        ("Zürich Москва 東京 😀", "Zürich Москва 東京 😀"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("two\r\nlines\tand\0nul", r"two\r\nlines\tand\x00nul"),
        ("exe.\u202etxt\u202c", r"exe.\u202etxt\u202c"),
        ("no\u00a0break\u2028line\u200bzero\ufeffmark", r"no\xa0break\u2028line\u200bzero\ufeffmark"),
        ("\udce9t\u00e9", r"\udce9té"),
        ("<b>$x$ [/rich] =1+1 _a", "<b>$x$ [/rich] =1+1 _a"),
    ],
)
def test_what_cannot_be_seen_is_written_out(hostile, shown):
    assert printable(hostile) == shown


def test_an_ipv6_address_stands_in_brackets():
    assert endpoint("192.0.2.1", 25) == "192.0.2.1:25"
    assert endpoint("2001:db8::1", 25) == "[2001:db8::1]:25"
