"""Bodies that do not come, come slowly or are cut off: nothing waits for ever, and no part is the whole."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import product

import pytest

from tests.api.books import Books
from tests.api.client import Client, new_key
from tests.api.server import Installation, Server
from tests.attack.conftest import IDLE_SECONDS, PER_ADDRESS
from tests.attack.length import LENGTH
from tests.attack.wire import HELD_UP_SECONDS_MAX, ask, ask_at_once, connect, read, request, seconds_of

LENGTHS = [b"Content-Length: 1000", b"Transfer-Encoding: chunked"]


@pytest.fixture(scope="module")
def victim(installation: Installation, strict: Server) -> Iterator[Client]:
    with Client(strict.url, installation.make_key("victim").key) as caller:
        yield caller


@pytest.fixture
def shop(victim: Client) -> Books:
    books = Books(victim)
    books.open("""
        alice  USD  100
        shop   USD    0
    """)
    return books


def headers(caller: Client, *more: bytes) -> tuple[bytes, ...]:
    """What a caller who is known sends."""
    known = f"Authorization: Bearer {caller.api_key}".encode()
    return known, f"Idempotency-Key: {new_key()}".encode(), b"Content-Type: application/json", *more


def test_a_stranger_is_not_waited_for(strict: Server) -> None:
    """The framework waits for the first part of a body before it looks at the key."""
    asked = list(
        product(
            [
                (b"POST", b"/v1/transfers", b"401"),
                (b"POST", b"/nothing", b"404"),
                (b"GET", b"/healthz", b"200"),
            ],
            LENGTHS,
        )
    )
    sent = [request(method, target, length) for (method, target, _), length in asked]
    for ((method, target, status), length), (answer, _) in zip(asked, ask_at_once(strict, sent), strict=True):
        assert answer.startswith(b"HTTP/1.1 " + status), (method, target, length)


@pytest.mark.slow
def test_bodies_that_do_not_come_are_refused_and_closed(strict: Server, victim: Client) -> None:
    asked = list(product(LENGTHS, [b"", b"1\r\n{\r\n"], [(), (b"Expect: 100-continue",)]))
    sent = [
        request(b"POST", b"/v1/transfers", *headers(victim, length, *more), body=begun)
        for length, begun, more in asked
    ]
    for case, (answered, _) in zip(asked, ask_at_once(strict, sent), strict=True):
        answer = answered.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 408 "), case
        assert b"body_timeout" in answer, case


def test_a_body_that_comes_byte_by_byte_is_refused(strict: Server, victim: Client) -> None:
    """Each byte comes in time. The whole does not."""
    sent = request(b"POST", b"/v1/transfers", *headers(victim, LENGTHS[0]))
    started = time.monotonic()
    answer = b""
    with connect(strict, sent) as connection:
        connection.settimeout(IDLE_SECONDS / 10)
        while not answer and time.monotonic() - started < 30 * IDLE_SECONDS:
            with suppress(TimeoutError):
                connection.sendall(b" ")
                answer = connection.recv(65_536)
                assert answer, "closed without a word"
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_many_half_bodies_hold_nothing_up(strict: Server, victim: Client) -> None:
    for _ in range(LENGTH):
        with ExitStack() as attack:
            for number in range(PER_ADDRESS // 2):
                sent = request(
                    b"POST", b"/v1/transfers", *headers(victim, LENGTHS[number % 2]), body=b"1\r\n{"
                )
                attack.enter_context(connect(strict, sent))
            assert seconds_of(strict) < HELD_UP_SECONDS_MAX


def hang_up(connection: socket.socket) -> None:
    connection.close()


def send_no_more(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    assert read(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("leave", [hang_up, send_no_more])
@pytest.mark.parametrize(
    ("length", "begun"),
    [
        (b"Content-Length: 14", b""),
        (b"Content-Length: 14", b"{}"),
        (b"Content-Length: 14", b"{"),
        (b"Transfer-Encoding: chunked", b""),
        (b"Transfer-Encoding: chunked", b"2\r\n{}\r\n"),
        (b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n"),
    ],
)
def test_a_body_that_was_cut_off_moves_nothing(
    strict: Server, shop: Books, leave: Callable[[socket.socket], None], length: bytes, begun: bytes
) -> None:
    """`{"amount":"5"}` begins with nothing, and nothing is a right body: it captures all that is left."""
    hold = shop.hold("alice", "shop", 10).ok()["id"]
    target = f"/v1/holds/{hold}/capture".encode()
    with connect(strict, request(b"POST", target, *headers(shop.client, length), body=begun)) as connection:
        leave(connection)
    assert shop.capture(hold, 3).ok()["captured"] == "3"
    shop.check("""
        alice  USD  97  held 7
        shop   USD   3
    """)


@pytest.mark.parametrize(
    "chunk",
    [b"-1", b"+0", b"0x0", b"0;a=b\n", b"0\n", b"10000000000000000", b"g", b"2\r\n{}X0", b"2\r\n{}\r\n-1"],
)
def test_chunks_that_are_none_are_the_clients_fault(strict: Server, shop: Books, chunk: bytes) -> None:
    hold = shop.hold("alice", "shop", 10).ok()["id"]
    target = f"/v1/holds/{hold}/capture".encode()
    body = chunk + b"\r\n\r\n"
    sent = request(b"POST", target, *headers(shop.client, b"Transfer-Encoding: chunked"), body=body)
    answer = ask(strict, sent)
    assert answer.startswith(b"HTTP/1.1 400 ")
    shop.check("alice  USD  100  held 10")
