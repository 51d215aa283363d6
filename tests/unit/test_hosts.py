"""Hosts and ports are read the same with every Python."""

import pytest

from tallystick.domain.hosts import split_host


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Host", ("host", None)),
        ("host:", ("host", None)),
        ("192.0.2.1:65535", ("192.0.2.1", 65535)),
        ("[2001:DB8::1]", ("2001:db8::1", None)),
        ("[fe80::1%25eth0]:1", ("fe80::1%25eth0", 1)),
        ("[::ffff:192.0.2.1]:1", ("::ffff:192.0.2.1", 1)),
    ],
)
def test_a_host(text: str, expected: tuple[str, int | None]) -> None:
    assert split_host(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a host"),
        (":1", "a host"),
        ("::1", "a host"),
        ("user@host", "a host"),
        ("host name", "a host"),
        ("host/path", "a host"),
        ("host:port", "a host"),
        ("host:+1", "a host"),
        ("host:\u0661", "a host"),
        ("[::1", "a host"),
        ("::1]", "a host"),
        ("[::1]x:2", "a host"),
        ("x[::1]:2", "a host"),
        ("[]:2", "a host"),
        ("[v1.a]", "an IPv6 address"),
        ("[192.0.2.1]:2", "an IPv6 address"),
        ("[host]", "an IPv6 address"),
        ("host:0", "a port from 1 to 65535"),
        ("host:65536", "a port from 1 to 65535"),
    ],
)
def test_what_is_no_host(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^expected {says}"):
        split_host(text)
