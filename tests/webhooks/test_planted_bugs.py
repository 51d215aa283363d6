"""Each defence of the network behind the server is taken away once, and a test of names and addresses sees it."""

import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import aiohttp
import pytest

from tallystick.followers.webhooks import public_addresses
from tallystick.followers.webhooks.addresses import AddressInfo, AddressRules
from tallystick.followers.webhooks.names import NameResolver
from tallystick.followers.webhooks.sending import Sender
from tests.webhooks import test_names
from tests.webhooks.receiver import Receiver

CAUGHT = (AssertionError, pytest.fail.Exception)


@pytest.fixture
def server() -> Iterator[str]:
    with test_names.name_server() as address:
        yield address


@pytest.fixture
async def senders(server: str) -> AsyncIterator[tuple[Sender, Sender]]:
    """One that may send to this machine, and one with the usual rules, but for http."""
    rules = (AddressRules(allow_http=True, allow_private=True), AddressRules(allow_http=True))
    made = (Sender(rules[0], names=NameResolver([server])), Sender(rules[1], names=NameResolver([server])))
    yield made
    for sender in made:
        await sender.close()


async def test_a_connection_to_any_address_is_seen(
    senders: tuple[Sender, Sender], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchecked(_rules: AddressRules, address: AddressInfo) -> socket.socket:
        return socket.socket(*address[:3])

    monkeypatch.setattr(AddressRules, "open_socket", unchecked)
    _, strict = senders
    with pytest.raises(CAUGHT):
        await test_names.test_it_is_the_address_connected_to_that_counts(strict, receiver)


async def test_an_endpoint_at_any_address_is_seen(
    senders: tuple[Sender, Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AddressRules, "check", lambda _rules, _host: None)
    _, strict = senders
    with pytest.raises(CAUGHT):
        await test_names.test_one_private_address_is_enough_to_refuse_an_endpoint(strict)
    with pytest.raises(CAUGHT):
        await test_names.test_the_hosts_file_is_read(strict)


def posting_with(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    """Have each message posted with other options."""
    post: Callable[..., Any] = aiohttp.ClientSession.post

    def other(session: aiohttp.ClientSession, url: str, **options: Any) -> Any:
        return post(session, url, **{**options, **changed})

    monkeypatch.setattr(aiohttp.ClientSession, "post", other)


async def test_a_redirect_that_is_followed_is_seen(
    senders: tuple[Sender, Sender], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    posting_with(monkeypatch, allow_redirects=True)
    lenient, _ = senders
    with pytest.raises(CAUGHT):
        await test_names.test_a_redirect_is_not_followed(lenient, receiver)


async def test_a_proxy_that_is_asked_is_seen(
    senders: tuple[Sender, Sender], receivers: list[Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = aiohttp.ClientSession.__init__

    def trusting(session: aiohttp.ClientSession, **options: Any) -> None:
        begin(session, **{**options, "trust_env": True})

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", trusting)
    lenient, _ = senders
    with pytest.raises(CAUGHT):
        await test_names.test_no_proxy_is_asked(lenient, receivers, monkeypatch)


def try_all(test: Callable[[str], None], addresses: Iterable[str]) -> None:
    for address in addresses:
        test(address)


TABLES = ("_NOT_PUBLIC_IPV4", "_NOT_PUBLIC_IPV6")


@pytest.mark.parametrize(
    ("table", "network"), [(table, one) for table in TABLES for one in getattr(public_addresses, table)]
)
def test_each_network_that_is_forgotten_is_seen(
    monkeypatch: pytest.MonkeyPatch, table: str, network: IPv4Network | IPv6Network
) -> None:
    left = tuple(one for one in getattr(public_addresses, table) if one != network)
    monkeypatch.setattr(public_addresses, table, left)
    with pytest.raises(CAUGHT):
        try_all(test_names.test_addresses_that_are_not_public, test_names.NOT_PUBLIC)


@pytest.mark.parametrize("network", public_addresses._CARRYING_IPV4)
def test_each_way_to_carry_an_address_that_is_forgotten_is_seen(
    monkeypatch: pytest.MonkeyPatch, network: IPv6Network
) -> None:
    """Then the addresses in it are refused, also those that may be sent to."""
    left = tuple(one for one in public_addresses._CARRYING_IPV4 if one != network)
    monkeypatch.setattr(public_addresses, "_CARRYING_IPV4", left)
    with pytest.raises(OSError, match="not a public address"):
        try_all(test_names.test_addresses_that_are_public, ("::ffff:8.8.8.8", "64:ff9b::8.8.8.8"))


def test_addresses_that_carry_any_other_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in them is looked at, not that they are public themselves."""
    monkeypatch.setattr(public_addresses, "_CARRYING_IPV4", ())
    monkeypatch.setattr(public_addresses, "_PUBLIC_IPV6", IPv6Network("::/0"))
    with pytest.raises(CAUGHT):
        try_all(test_names.test_addresses_that_are_not_public, test_names.NOT_PUBLIC)
