"""Strangers without a key: connections and headers that cost neither time nor connections of others."""

import resource
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Final

import pytest

from tallystick.domain.limits import HEADER_BYTES_MAX
from tests.api.client import Client
from tests.api.server import Server
from tests.attack.conftest import IDLE_SECONDS, PER_ADDRESS
from tests.attack.length import LENGTH
from tests.attack.wire import (
    HELD_UP_SECONDS_MAX,
    WAIT_SECONDS_MAX,
    Target,
    ask,
    ask_at_once,
    connect,
    get,
    processes_of,
    read,
    seconds_of,
)
from tests.waiting import wait_for

CLOSED_SECONDS_MAX: Final = 20.0
IDLE_CONNECTIONS: Final = 500 * LENGTH
OWN_DESCRIPTORS_MAX: Final = 150


def test_connections_that_say_nothing_more_are_closed(strict: Server) -> None:
    sent = [
        b"",
        b"GET /heal",
        b"GET /healthz HTTP/1.1\r\nHost: ledger\r\nA: ",
        b"GET /healthz HTTP/1.1\r\nHost: ledger\r\n\r\n",
    ]
    for one, (_, seconds) in zip(sent, ask_at_once(strict, sent), strict=True):
        assert IDLE_SECONDS / 2 < seconds < CLOSED_SECONDS_MAX, one


@pytest.mark.parametrize(
    "headers",
    [
        [b"A: " + b"x" * (4 * HEADER_BYTES_MAX)],
        [b"A: x"] * 4_000,
        [b"A: " + b"x" * 1_000] * 99 + [b"B: " + b"x" * HEADER_BYTES_MAX],
    ],
)
def test_headers_are_bounded(strict: Target, headers: Sequence[bytes]) -> None:
    answer = ask(strict, get(b"/healthz", *headers))
    assert answer.startswith(b"HTTP/1.1 431 ") or answer == b""


@pytest.mark.parametrize("header", [b"A: x", b"A: " + b"x" * 60_000, b"Cookie: " + b"a=b; " * 10_000])
def test_floods_of_headers_hold_nothing_up(strict: Target, header: bytes) -> None:
    """As many as a request may have, in all connections that an address may have, none of them ended."""
    begun = b"GET /healthz HTTP/1.1\r\nHost: ledger\r\n" + (header + b"\r\n") * (
        1 if len(header) > 1_000 else 90
    )
    for _ in range(LENGTH):
        with ExitStack() as attack:
            for _ in range(PER_ADDRESS // 2):
                attack.enter_context(connect(strict, begun))
            assert seconds_of(strict) < HELD_UP_SECONDS_MAX


def test_thousands_of_idle_connections_take_no_more_than_their_share(strict: Server) -> None:
    """The descriptors of the server stay bounded, and others are served.

    Those beyond the share are closed after a moment. The others say something now and then, and may stay.
    """
    with ExitStack() as attack:
        connections = [
            attack.enter_context(connect(strict, source="127.0.0.3"))
            for _ in range(min(IDLE_CONNECTIONS, descriptors_that_we_may_have() // 2))
        ]
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while (count := descriptors_of(strict)) > PER_ADDRESS + OWN_DESCRIPTORS_MAX:
            assert time.monotonic() < deadline, f"{count} descriptors"
            for connection in connections:
                with suppress(ConnectionError):
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: ledger\r\n\r\n")
            time.sleep(IDLE_SECONDS / 4)
        assert seconds_of(strict) < HELD_UP_SECONDS_MAX


def descriptors_that_we_may_have() -> int:
    """All that the system allows: the attacker's connections take some, too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def descriptors_of(server: Server) -> int:
    """How many files and connections the busiest of the processes that serve has open."""
    return max(one.num_fds() for one in processes_of(server))


def test_an_address_has_so_many_connections(strict: Server) -> None:
    def times_said() -> int:
        return strict.log_path.read_text().count("too many connections")

    said_before = times_said()
    with ExitStack() as attack:
        first = [attack.enter_context(connect(strict)) for _ in range(PER_ADDRESS // 2)]
        # It speaks now and then, so that it is not silent for long.
        for connection in first:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: ledger\r\n\r\n")
        for _ in range(3 * PER_ADDRESS):
            attack.enter_context(connect(strict))
        wait_for(lambda: times_said() > said_before, "some are closed", WAIT_SECONDS_MAX)
        # 127.0.0.2 is another address.
        with connect(strict, get(b"/healthz"), source="127.0.0.2") as other:
            assert read(other).startswith(b"HTTP/1.1 200 ")
        for connection in first:
            # They were there first: they are still answered.
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "target",
    [b"//healthz", b"/v1%2faccounts", b"/v1%2Faccounts", b"/v1//accounts", b"/\\healthz", b"/v1%5caccounts"],
)
def test_paths_that_may_mean_another_are_unknown(client: Client, target: bytes) -> None:
    assert client.raw_request("GET", target).refused()[:2] == (404, "path_not_found")


@pytest.mark.parametrize("target", [b"/healthz", b"/%68ealthz", b"http://ledger/healthz"])
def test_other_forms_of_a_path_mean_what_they_say(server: Server, target: bytes) -> None:
    assert ask(server, get(target)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("target", [b"/healthz", b"/v1/assets"])
def test_http_1_0_is_answered(server: Server, target: bytes) -> None:
    answer = ask(server, get(target, version=b"1.0"))
    assert answer.startswith((b"HTTP/1.0 200 ", b"HTTP/1.0 401 "))
