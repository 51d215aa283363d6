"""Clients of several servers: threads that pay and read all the time, and what a load balancer knows of servers."""

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self, TypeAlias
from uuid import uuid4

from tests.crash.api_server import Address, ApiServer, Client
from tests.waiting import wait_for

PAYERS: Final = 6
# Some payments are always on their way, and the servers have time for more than these.
PAUSE_SECONDS: Final = 0.03
ATTEMPTS_MAX: Final = 3
PROBE_SECONDS: Final = 0.2
FUNDS: Final = 1_000_000
DONE: Final = frozenset({200, 201})


Request: TypeAlias = Callable[[Client, str], int]
"""Sends a request with this key, if it has one, and returns the status, or 0 if there was no answer."""


class Books:
    """A payer with money, and whom it pays."""

    def __init__(self, server: Address) -> None:
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
        """Pay 1."""
        return _status(client, "POST", "/v1/transfers", self._transfer(self.source, self.destination, 1), key)

    def read(self, client: Client, _: str) -> int:
        """Read the balance."""
        return _status(client, "GET", f"/v1/accounts/{self.source}/balance")

    def paid(self, server: Address) -> int:
        """How many payments are in the books."""
        client = Client(server)
        assert client.balance(self.source) == FUNDS - client.balance(self.destination)
        count = sum(1 for _ in client.history(self.destination))
        client.close()
        return count


def _status(
    client: Client, method: str, path: str, document: Mapping[str, Any] | None = None, key: str | None = None
) -> int:
    """The status of an answer, or 0 if there was none."""
    try:
        return client.ask(method, path, document, key).status
    except (OSError, http.client.HTTPException):
        return 0


def make_asset(client: Client, key: str) -> int:
    """Define one of some assets."""
    document = {"code": f"POINTS_{key[0].upper()}", "scale": 2, "name": "points"}
    return _status(client, "POST", "/v1/assets", document, key)


def list_assets(client: Client, _: str) -> int:
    """Read all assets."""
    return _status(client, "GET", "/v1/assets")


class Payers:
    """Threads that pay again and again. Each payment is tried again with its key, at another server."""

    def __init__(
        self,
        books: Books,
        servers: Sequence[Address],
        choose: Callable[[int], Sequence[Address]],
        beside: Sequence[Request] = (),
    ) -> None:
        """`choose` names the servers for a payment, in the order in which they are tried.

        `beside` are other requests, one after each payment, which are tried again in the same way.
        """
        self._requests = [one for other in beside for one in (books.pay, other)] or [books.pay]
        self._pay = books.pay
        self._servers = servers
        self._choose = choose
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._pay_on) for _ in range(PAYERS)]
        self._lock = threading.Lock()
        self.attempts: Counter[int] = Counter()
        self.paid = 0
        self.failed: list[tuple[str, list[int]]] = []

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
        """How many requests were answered."""
        return sum(self.attempts.values())

    def go_on(self) -> None:
        """Wait for some more requests."""
        before = self.count
        wait_for(lambda: self.count > before + 20, "payments go on")

    def _pay_on(self) -> None:
        clients = {server.port: Client(server) for server in self._servers}
        number = 0
        while not self._stopping.wait(PAUSE_SECONDS):
            number += 1
            key, statuses = uuid4().hex, []
            request = self._requests[number % len(self._requests)]
            for server in (list(self._choose(number)) * ATTEMPTS_MAX)[:ATTEMPTS_MAX]:
                statuses.append(request(clients[server.port], key))
                if statuses[-1] in DONE:
                    break
            with self._lock:
                self.attempts[len(statuses)] += 1
                self.paid += request == self._pay and statuses[-1] in DONE
                if statuses[-1] not in DONE:
                    self.failed.append((request.__name__, statuses))
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
