"""Servers that stop: they say so first, finish what they have, and clients of two servers notice a restart of both at
most by a retry."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

import pytest

from tests.crash.api_server import ApiServer, Client
from tests.crash.databases import ShardDatabase
from tests.waiting import wait_for
from tests.whole import WHOLE

pytestmark = pytest.mark.timeout(300)

DRAIN_SECONDS: Final = 2
PAYERS: Final = 6
# Some payments are always on their way, and the servers have time for more than these.
PAUSE_SECONDS: Final = 0.03
ATTEMPTS_MAX: Final = 3
PROBE_SECONDS: Final = 0.2
FUNDS: Final = 1_000_000
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


class Books:
    """A payer with money, and whom it pays."""

    def __init__(self, server: ApiServer) -> None:
        client = Client(server)
        self.source = client.open_account("payer")
        self.destination = client.open_account("payee")
        funder = client.open_account("bank", kind="system")
        assert (
            client.ask("POST", "/v1/transfers", self._transfer(funder, self.source, FUNDS), "fund").status
            == 201
        )
        client.close()

    @staticmethod
    def _transfer(source: str, destination: str, amount: int) -> dict[str, str]:
        return {"source": source, "destination": destination, "amount": str(amount), "asset": "USD"}

    def pay(self, client: Client, key: str) -> int:
        """Pay 1; the status, or 0 if there was no answer."""
        try:
            answer = client.ask(
                "POST", "/v1/transfers", self._transfer(self.source, self.destination, 1), key
            )
        except (OSError, http.client.HTTPException):
            return 0
        return answer.status

    def paid(self, server: ApiServer) -> int:
        """How many payments are in the books."""
        client = Client(server)
        assert client.balance(self.source) == FUNDS - client.balance(self.destination)
        count = sum(1 for _ in client.history(self.destination))
        client.close()
        return count


class Payers:
    """Threads that pay again and again. Each payment is tried again with its key, at another server."""

    def __init__(
        self, books: Books, servers: Sequence[ApiServer], choose: Callable[[int], Sequence[ApiServer]]
    ) -> None:
        """`choose` names the servers for a payment, in the order in which they are tried."""
        self._books = books
        self._servers = servers
        self._choose = choose
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._pay_on) for _ in range(PAYERS)]
        self._lock = threading.Lock()
        self.attempts: Counter[int] = Counter()
        self.failed: list[list[int]] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        """How many payments were answered."""
        return sum(self.attempts.values())

    def go_on(self) -> None:
        """Wait for some more payments."""
        before = self.count
        wait_for(lambda: self.count > before + 20, "payments go on")

    def _pay_on(self) -> None:
        clients = {server.port: Client(server) for server in self._servers}
        number = 0
        while not self._stopping.wait(PAUSE_SECONDS):
            number += 1
            key, statuses = uuid4().hex, []
            for server in (list(self._choose(number)) * ATTEMPTS_MAX)[:ATTEMPTS_MAX]:
                statuses.append(self._books.pay(clients[server.port], key))
                if statuses[-1] == 201:
                    break
            with self._lock:
                self.attempts[len(statuses)] += 1
                if statuses[-1] != 201:
                    self.failed.append(statuses)
        for client in clients.values():
            client.close()


class Balancer:
    """What a load balancer knows: the servers whose probe was good when it last looked."""

    def __init__(self, servers: Sequence[ApiServer]) -> None:
        self._servers = servers
        self._up = list(servers)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def choose(self, number: int) -> list[ApiServer]:
        up = self._up
        return [up[number % len(up)]] if up else list(self._servers)

    def _look(self) -> None:
        while not self._stopping.wait(PROBE_SECONDS):
            self._up = [server for server in self._servers if server.ready("/readyz")]


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
