"""Names that are looked up slowly hold up nobody else; what a name leads to is checked when it is connected to."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from tallystick.domain import limits
from tallystick.domain.webhooks import Secret
from tallystick.followers.errors import UrlRefusedError
from tallystick.followers.webhooks.addresses import AddressRules
from tallystick.followers.webhooks.messages import Attempt, Message
from tallystick.followers.webhooks.names import NameResolver
from tallystick.followers.webhooks.sending import Sender
from tests.webhooks.receiver import Receiver

SLOW_NAMES = 150
_A, _AAAA = 1, 28
_HEADER = struct.Struct("!6H")
_ANSWERED, _NO_SUCH_NAME = 0x8180, 0x8183

ADDRESSES = {
    "quick.test": ["127.0.0.1"],
    "both.test": ["93.184.215.14", "127.0.0.1"],
    "inside.test": ["10.0.0.1", "fd00::1"],
}


@contextmanager
def name_server() -> Iterator[str]:
    """A name server that knows some names, denies others, and says nothing of those that begin with `slow`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.05)
        ending = threading.Event()

        def serve() -> None:
            while not ending.is_set():
                try:
                    question, asker = server.recvfrom(4_096)
                except TimeoutError:
                    continue
                if (answer := _answer(question)) is not None:
                    server.sendto(answer, asker)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "{}:{}".format(*server.getsockname())
        finally:
            ending.set()
            thread.join()


def _answer(question: bytes) -> bytes | None:
    """The answer to one question (RFC 1035, 4.1)."""
    (number, *_), rest = _HEADER.unpack_from(question), question[_HEADER.size :]
    labels = []
    while rest[0]:
        labels.append(rest[1 : rest[0] + 1].decode().lower())
        rest = rest[rest[0] + 1 :]
    asked = question[_HEADER.size : len(question) - len(rest) + 5]
    (kind,) = struct.unpack_from("!H", rest, 1)
    name = ".".join(labels)
    if name.startswith("slow"):
        return None
    if name not in ADDRESSES:
        return _HEADER.pack(number, _NO_SUCH_NAME, 1, 0, 0, 0) + asked
    family = {_A: socket.AF_INET, _AAAA: socket.AF_INET6}.get(kind)
    found = [
        socket.inet_pton(family, one)
        for one in ADDRESSES[name]
        if family is not None and (":" in one) == (family == socket.AF_INET6)
    ]
    rows = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(one)) + one for one in found)
    return _HEADER.pack(number, _ANSWERED, 1, len(found), 0, 0) + asked + rows


@pytest.fixture
def server() -> Iterator[str]:
    with name_server() as address:
        yield address


@pytest.fixture
async def sender(server: str) -> AsyncIterator[Sender]:
    made = Sender(AddressRules(allow_http=True, allow_private=True), names=NameResolver([server]))
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def strict(server: str) -> AsyncIterator[Sender]:
    """One with the rules that everybody has, but for http."""
    made = Sender(AddressRules(allow_http=True), names=NameResolver([server]))
    try:
        yield made
    finally:
        await made.close()


async def send(sender: Sender, url: str) -> Attempt:
    return await sender.send(url, Message("one", b"{}"), [Secret(b"x" * 32)])


@pytest.mark.slow
async def test_slow_names_hold_up_no_other(sender: Sender, receiver: Receiver) -> None:
    port = receiver.url.rsplit(":", 1)[1]
    slow = [asyncio.create_task(send(sender, f"http://slow{number}.test/")) for number in range(SLOW_NAMES)]
    await asyncio.sleep(0.5)
    # Also what needs the threads that all share. It is done before any of those that wait.
    await asyncio.to_thread(time.monotonic)
    assert (await send(sender, f"http://quick.test:{port}/")).status == 200
    assert await sender.check_url("http://quick.test/")
    assert not any(task.done() for task in slow)
    attempts = await asyncio.gather(*slow)
    assert {one.error for one in attempts} == {"the name does not resolve"}
    assert max(one.seconds for one in attempts) < 3 * limits.WEBHOOK_RESOLVE_SECONDS_MAX


async def test_a_name_that_is_not_there(sender: Sender) -> None:
    assert (await send(sender, "http://nothing.test/")).error == "the name does not resolve"
    for url in ("http://nothing.test/", f"http://{'a' * 70}.test/", "http://a..test/"):
        with pytest.raises(UrlRefusedError, match="does not resolve"):
            await sender.check_url(url)


async def test_the_hosts_file_is_read(strict: Sender) -> None:
    with pytest.raises(UrlRefusedError, match="not a public address"):
        await strict.check_url("http://localhost/")


async def test_one_private_address_is_enough_to_refuse_an_endpoint(strict: Sender) -> None:
    for name in ("both.test", "inside.test"):
        with pytest.raises(UrlRefusedError, match="not a public address") as refused:
            await strict.check_url(f"http://{name}/")
        # How names inside are resolved is nobody's business.
        assert "10.0.0.1" not in str(refused.value)


async def test_it_is_the_address_connected_to_that_counts(strict: Sender, receiver: Receiver) -> None:
    """A name that led elsewhere when the endpoint was made."""
    port = receiver.url.rsplit(":", 1)[1]
    for name in ("quick.test", "inside.test"):
        attempt = await send(strict, f"http://{name}:{port}/")
        assert attempt.error == "not sent: not a public address"
    assert not receiver.received


async def test_a_redirect_is_not_followed(sender: Sender, receiver: Receiver) -> None:
    """It would be another request, to where no endpoint may be."""
    receiver.behave = lambda number: "ok" if number else "redirect"
    attempt = await send(sender, f"{receiver.url}/hook")
    assert attempt.error == "answered 307: redirects are not followed"
    assert [one.path for one in receiver.received] == ["/hook"]


async def test_no_proxy_is_asked(
    sender: Sender, receivers: list[Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would look the name up for itself, and connect to an address that was not checked."""
    proxy, receiver, _ = receivers
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    attempt = await send(sender, f"{receiver.url}/hook")
    assert (attempt.status, len(receiver.received), len(proxy.received)) == (200, 1, 0)


NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.2", "169.254.169.254", "172.31.255.255",
    "192.0.0.9", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1",
    "64:ff9b:1::808:808", "100::1", "2001:db8::1", "2002:a00:1::", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "fc00::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1",
    "100.127.255.255", "168.63.129.16", "192.0.0.192", "192.88.99.1", "::ffff:168.63.129.16",
    "64:ff9b::a83f:8110", "64:ff9b::7f00:1", "2001::1", "2001:1::1", "2001:2::1", "2001:20::1",
    "2001:1ff:ffff::1", "2001:0:808:808::1", "2002::1", "2002:808:808::1", "3fff::1", "3fff:fff:ffff::1",
    "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    with pytest.raises(OSError, match="not a public address"):
        AddressRules().check(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.1", "168.63.129.17", "172.32.0.1", "192.31.196.1",
        "192.175.48.1", "223.255.255.254", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:200::1",
        "2001:4860:4860::8888", "2003::1", "2606:2800:21f:cb07::1", "2620:4f:8000::1", "3fff:1000::1",
    ],
)  # fmt: skip
def test_addresses_that_are_public(address: str) -> None:
    AddressRules().check(address)
