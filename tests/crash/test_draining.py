"""Servers that stop: they say so first, finish what they have, and clients of two servers notice a restart of both at
most by a retry."""

import http.client
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from tests.crash.api_server import ApiServer, Client
from tests.crash.databases import ShardDatabase
from tests.crash.payers import PROBE_SECONDS, Balancer, Books, Payers
from tests.waiting import wait_for
from tests.whole import WHOLE

pytestmark = pytest.mark.timeout(300)

DRAIN_SECONDS: Final = 2
ROUNDS: Final = 2 if WHOLE else 1


@contextmanager
def running(folder: Path, database: ShardDatabase, *options: str) -> Iterator[ApiServer]:
    folder.mkdir()
    server = ApiServer(folder, database, options=options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def two_running(folder: Path, database: ShardDatabase, *options: str) -> Iterator[list[ApiServer]]:
    with ExitStack() as cleanup:
        yield [cleanup.enter_context(running(folder / name, database, *options)) for name in ("one", "two")]


def restart_each(servers: Sequence[ApiServer], payers: Payers) -> None:
    """A rolling restart: the next server only when the one before is back, and payments go on in between."""
    for server in servers:
        payers.go_on()
        server.ask_to_stop()
        assert server.wait_for_end() == 0
        server.start()
        time.sleep(3 * PROBE_SECONDS)


def test_a_server_that_is_told_to_stop_says_so_and_serves_on(database: ShardDatabase, tmp_path: Path) -> None:
    with running(
        tmp_path / "one", database, "--drain-seconds", str(DRAIN_SECONDS), "--workers", "2"
    ) as server:
        books = Books(server)
        server.ask_to_stop()
        told_at = time.monotonic()
        client = Client(server)
        wait_for(lambda: not server.ready("/readyz"), "a probe is bad")
        assert time.monotonic() - told_at < 1
        answer = client.ask("GET", "/readyz")
        assert (answer.status, answer.document["status"]) == (503, "draining")
        assert client.ask("GET", "/healthz").status == 200
        paid = 0
        while time.monotonic() - told_at < DRAIN_SECONDS - 0.5:
            assert books.pay(client, uuid4().hex) == 201
            paid += 1
        assert paid
        assert server.wait_for_end() == 0
        assert DRAIN_SECONDS <= time.monotonic() - told_at < DRAIN_SECONDS + 5
        server.start()
        assert books.paid(server) == paid


def test_clients_are_asked_to_go(database: ShardDatabase, tmp_path: Path) -> None:
    with running(tmp_path / "one", database, "--drain-seconds", str(DRAIN_SECONDS)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        assert not answer.will_close
        server.ask_to_stop()
        wait_for(lambda: not server.ready("/readyz"), "a probe is bad")
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        assert answer.will_close
        connection.close()


def test_a_second_signal_ends_the_wait(database: ShardDatabase, tmp_path: Path) -> None:
    with running(tmp_path / "one", database, "--drain-seconds", "600") as server:
        server.ask_to_stop()
        wait_for(lambda: not server.ready("/readyz"), "a probe is bad")
        server.ask_to_stop()
        assert server.wait_for_end() == 0


def test_behind_a_load_balancer_a_rolling_restart_fails_no_request(
    database: ShardDatabase, tmp_path: Path
) -> None:
    with two_running(tmp_path, database, "--drain-seconds", str(DRAIN_SECONDS)) as servers:
        books = Books(servers[0])
        with Balancer(servers) as balancer, Payers(books, servers, balancer.choose) as payers:
            for _ in range(ROUNDS):
                restart_each(servers, payers)
        assert payers.failed == []
        assert payers.attempts == {1: payers.count}
        assert books.paid(servers[0]) == payers.count


@pytest.mark.parametrize("drain_seconds", [0, DRAIN_SECONDS])
def test_without_one_a_retry_with_the_same_key_at_the_other_server_is_enough(
    database: ShardDatabase, tmp_path: Path, drain_seconds: int
) -> None:
    with two_running(tmp_path, database, "--drain-seconds", str(drain_seconds)) as servers:
        books = Books(servers[0])

        def choose(number: int) -> list[ApiServer]:
            return [servers[number % 2], servers[1 - number % 2]]

        with Payers(books, servers, choose) as payers:
            for _ in range(ROUNDS):
                restart_each(servers, payers)
        assert payers.failed == []
        assert payers.attempts[2]
        assert payers.attempts.keys() <= {1, 2}
        # Nothing was done twice.
        assert books.paid(servers[0]) == payers.count
