"""Signatures as the reference library makes them, secrets that do not show themselves, and when to try again."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from tallystick.domain import limits
from tallystick.domain.webhooks import Secret, StoredSecret, WebhookEndpoint, retry_delay_seconds, signatures
from tallystick.followers.errors import AddressRefusedError
from tallystick.followers.webhooks.addresses import AddressRules

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
OLD, NEW = Secret(b"o" * 32), Secret(b"n" * 32)
STORED_OLD, STORED_NEW = StoredSecret(b"o" * 32, "key"), StoredSecret(b"n" * 32, None)


def endpoint(until: datetime | None) -> WebhookEndpoint:
    return WebhookEndpoint(
        "hook_1",
        1,
        "https://shop.example",
        (),
        None,
        "active",
        STORED_NEW,
        STORED_OLD if until else None,
        until,
        NOW,
        1,
        NOW,
    )


@pytest.mark.parametrize("body", [b"", b"{}", b'{"name":"\xc3\xa9"}'])
def test_a_signature_is_that_of_the_reference_library(body: bytes) -> None:
    expected = Webhook(NEW.text()).sign("msg_1", NOW, body.decode())
    assert NEW.signature("msg_1", int(NOW.timestamp()), body) == expected


def test_while_two_secrets_are_valid_both_sign() -> None:
    until = NOW + timedelta(seconds=1)
    assert endpoint(until).secrets(NOW) == [STORED_NEW, STORED_OLD]
    assert endpoint(until).secrets(until) == [STORED_NEW]
    assert endpoint(None).secrets(NOW) == [STORED_NEW]
    both = signatures([NEW, OLD], "msg_1", 1, b"{}")
    assert both == f"{NEW.signature('msg_1', 1, b'{}')} {OLD.signature('msg_1', 1, b'{}')}"


def test_a_secret_does_not_show_itself() -> None:
    hidden = NEW.text().removeprefix("whsec_")
    for shown in (repr(NEW), str(NEW), f"{endpoint(None)}", f"{endpoint(NOW)!r}"):
        assert hidden not in shown
        assert "nnn" not in shown


def test_attempts_come_less_and_less_often() -> None:
    delays = [retry_delay_seconds(attempts) for attempts in range(1, 200)]
    assert delays[:5] == [1, 2, 4, 8, 16]
    assert delays == sorted(delays)
    assert delays[-1] == limits.WEBHOOK_RETRY_DELAY_SECONDS_MAX == 3_600


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.0.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
        ),
        *("224.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1"),
        *("ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:a00:1::", "2001:db8::1"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    with pytest.raises(AddressRefusedError):
        AddressRules().check(address)
    AddressRules(allow_private=True).check(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"]
)
def test_public_addresses(address: str) -> None:
    assert ipaddress.ip_address(address)
    AddressRules().check(address)
