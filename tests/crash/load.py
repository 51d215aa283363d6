"""Clients that pay one another without end, and write down what they were told."""

import http.client
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from tests.crash.api_server import Answer, ApiServer, Client
from tests.waiting import wait_for

CLIENTS: Final = 12
ANSWERS_BETWEEN_CRASHES_MIN: Final = 50
ANSWERS_BETWEEN_CRASHES_MAX: Final = 250
PAUSE_AFTER_LOSS_SECONDS: Final = 0.05
PAUSE_AFTER_REFUSAL_SECONDS: Final = 0.25
GIVING_UP: Final = 0.3
FINAL: Final = frozenset({201, 422})
PENDING: Final = 202
TRY_AGAIN: Final = 503


class Payment(NamedTuple):
    """What a client asks for, under a key that nobody else uses."""

    key: str
    source: str
    destination: str
    amount: int

    @property
    def document(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "destination": self.destination,
            "amount": str(self.amount),
            "asset": "USD",
            "description": self.key,
        }


class Told:
    """What clients asked for and what they were told, until the moment at which nobody knows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.payments: dict[str, Payment] = {}
        self.answers: dict[str, Answer] = {}
        self.statuses: Counter[int] = Counter()
        self.lost = 0

    def asked(self, payment: Payment) -> None:
        with self._lock:
            self.payments[payment.key] = payment

    def heard(self, payment: Payment, answer: Answer) -> None:
        with self._lock:
            self.statuses[answer.status] += 1
            if answer.status in FINAL:
                before = self.answers.setdefault(payment.key, answer)
                assert before == answer, "the same request was answered in two ways"

    def heard_nothing(self) -> None:
        with self._lock:
            self.lost += 1


class Load:
    """Clients that pay one another without end. After a loss, most requests are asked again at once."""

    def __init__(
        self,
        server: ApiServer,
        choose: Callable[[random.Random], tuple[str, str]],
        seed: int,
        *,
        crossing: bool = False,
    ) -> None:
        """`choose` draws a payer and a payee; some may be on two shards (`crossing`), and pending for a while."""
        self.told = Told()
        self._server = server
        self._choose = choose
        self._expected = FINAL | ({TRY_AGAIN, PENDING} if crossing else {TRY_AGAIN})
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(number, random.Random(seed + number)))
            for number in range(CLIENTS)
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()
        assert not self._failures, self._failures

    def _run(self, number: int, chance: random.Random) -> None:
        client = Client(self._server)
        try:
            turn = 0
            while not self._stop.is_set():
                turn += 1
                source, destination = self._choose(chance)
                # Some are more than a wallet can pay, so there are refusals to remember too.
                payment = Payment(f"{number}-{turn}", source, destination, chance.randint(1, 900))
                self.told.asked(payment)
                while not self._pay(client, payment) and not self._stop.is_set():
                    if chance.random() < GIVING_UP:
                        break
        except BaseException as error:  # noqa: BLE001 - a thread has nobody to raise to
            self._failures.append(error)
        finally:
            client.close()

    def _pay(self, client: Client, payment: Payment) -> bool:
        try:
            answer = client.ask("POST", "/v1/transfers", payment.document, payment.key)
        except ConnectionRefusedError:
            # Nobody was there to hear it.
            self._stop.wait(PAUSE_AFTER_LOSS_SECONDS)
            return False
        except (OSError, http.client.HTTPException):
            self.told.heard_nothing()
            self._stop.wait(PAUSE_AFTER_LOSS_SECONDS)
            return False
        assert answer.status in self._expected, answer
        self.told.heard(payment, answer)
        if answer.status == TRY_AGAIN:
            assert answer.retry_after is not None
            self._stop.wait(PAUSE_AFTER_REFUSAL_SECONDS)
        return answer.status in FINAL


def await_answers(told: Told, chance: random.Random) -> None:
    enough = len(told.answers) + chance.randint(ANSWERS_BETWEEN_CRASHES_MIN, ANSWERS_BETWEEN_CRASHES_MAX)
    wait_for(lambda: len(told.answers) >= enough, f"{enough} answers", 60.0)
