"""Kill the server and PostgreSQL in the middle of load, again and again; then see whether every promise was kept.

The checks read only what the clients were told, and the books through the API.

TALLYSTICK_CRASHES says how often each of them is killed (1; `make kills` takes 10), TALLYSTICK_SEED repeats a run's
choices.
"""

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.crash.api_server import Answer, ApiServer, Client
from tests.crash.databases import temporary_database, temporary_server
from tests.crash.load import CLIENTS, FINAL, Load, Payment, Told, await_answers
from tests.waiting import wait_for

CRASHES: Final = int(os.environ.get("TALLYSTICK_CRASHES", "1"))
SEED: Final = int(os.environ.get("TALLYSTICK_SEED", str(random.randrange(2**32))))
WALLETS: Final = 20
START_BALANCE: Final = 2_000


class Books(NamedTuple):
    """All that the API says about all accounts."""

    transfers: dict[str, list[tuple[str, str, str, int]]]
    balances: dict[str, int]


def read_books(client: Client, accounts: list[str]) -> Books:
    """Read every account's history, and check its running balance on the way."""
    halves: dict[str, list[tuple[str, int]]] = {}
    keys: dict[str, str] = {}
    balances = {}
    for account in accounts:
        entries = list(client.history(account))
        balances[account] = client.balance(account)
        running = 0
        for entry in reversed(entries):
            running += int(entry["amount"])
            assert int(entry["balance"]) == running
            halves.setdefault(entry["transaction"], []).append((account, int(entry["amount"])))
            keys[entry["transaction"]] = entry["description"]
        assert running == balances[account]
    transfers: dict[str, list[tuple[str, str, str, int]]] = {}
    for transaction, entries_of in halves.items():
        (source, out), (destination, into) = sorted(entries_of, key=lambda half: half[1])
        assert out == -into
        transfers.setdefault(keys[transaction], []).append((transaction, source, destination, into))
    return Books(transfers, balances)


class Place(NamedTuple):
    """Everything that runs."""

    postgres: EmbeddedPostgres
    server: ApiServer
    bank: str
    wallets: list[str]

    @property
    def accounts(self) -> list[str]:
        return [self.bank, *self.wallets]


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-crash-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def place(folder: Path) -> Iterator[Place]:
    with temporary_server(durable=True) as postgres, temporary_database(postgres) as database:
        server = ApiServer(folder, database)
        try:
            server.start()
            yield open_place(postgres, server)
        finally:
            server.kill()
            if not postgres.running():
                postgres.start()


def open_place(postgres: EmbeddedPostgres, server: ApiServer) -> Place:
    client = Client(server)
    try:
        bank = client.open_account("bank", "system")
        wallets = [client.open_account(f"owner {number}") for number in range(WALLETS)]
        for wallet in wallets:
            payment = Payment(f"start {wallet}", bank, wallet, START_BALANCE)
            assert client.ask("POST", "/v1/transfers", payment.document, payment.key).status == 201
    finally:
        client.close()
    return Place(postgres, server, bank, wallets)


def kill_server(place: Place, _chance: random.Random) -> None:
    """The whole server dies, and is started again by whoever watches it."""
    place.server.kill()
    place.server.start()


def kill_worker(place: Place, chance: random.Random) -> None:
    """Only the process that serves dies, as when memory runs out; the server starts another.

    When that happens twice in a few seconds the server ends, and is started again by whoever watches it.
    """
    worker = chance.choice(place.server.processes()[1:])
    worker.kill()
    wait_for(lambda: not worker.is_running(), "the worker is gone")
    wait_for(
        lambda: place.server.ready() or not place.server.processes(), "another one serves, or it ends", 60
    )
    if not place.server.processes():
        place.server.start()


def kill_postgresql(place: Place, chance: random.Random) -> None:
    """PostgreSQL dies and is started again; nobody tells the server."""
    place.postgres.kill()
    if chance.random() < 0.5:
        wait_for(lambda: not place.server.ready(), "the server has noticed")
    place.postgres.start()
    place.server.wait_until_ready()


def kill_both(place: Place, _chance: random.Random) -> None:
    """The machine dies."""
    place.server.kill()
    place.postgres.kill()
    place.postgres.start()
    place.server.start()


@pytest.mark.timeout(120 + 60 * CRASHES)
def test_what_was_promised_is_kept(place: Place) -> None:
    sys.stdout.write(f"TALLYSTICK_CRASHES={CRASHES} TALLYSTICK_SEED={SEED}\n")
    chance = random.Random(SEED)
    crashes = [kill_server, kill_postgresql] * CRASHES + [kill_worker, kill_both] * -(-CRASHES // 3)
    chance.shuffle(crashes)
    load = Load(place.server, lambda chance: pair_of(chance, place.accounts), SEED)
    told = load.told
    with load.running():
        for crash in crashes:
            await_answers(told, chance)
            crash(place, chance)
        await_answers(told, chance)
    sys.stdout.write(f"{len(told.payments)} asked, {dict(told.statuses)}, {told.lost} without an answer\n")
    assert told.lost, "no crash was in the middle of anything"

    client = Client(place.server)
    before = read_books(client, place.accounts)
    assert_books_are_as_told(before, told)
    replayed = assert_every_request_has_one_answer(place.server, told)
    after = read_books(client, place.accounts)
    assert_books_are_complete(after, replayed, told)
    assert sum(after.balances.values()) == 0
    assert min(after.balances[wallet] for wallet in place.wallets) >= 0
    client.close()
    verified = place.server.command("verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    place.server.stop()


def pair_of(chance: random.Random, accounts: list[str]) -> tuple[str, str]:
    source, destination = chance.sample(accounts, 2)
    return source, destination


def assert_books_are_as_told(books: Books, told: Told) -> None:
    """Every acknowledged transfer is there once, every other one once or not at all, and no stranger."""
    for key, answer in told.answers.items():
        found = books.transfers.get(key, [])
        if answer.status == 201:
            payment = told.payments[key]
            assert found == [(answer.document["id"], payment.source, payment.destination, payment.amount)], (
                key
            )
        else:
            assert found == [], key
    for key, found in books.transfers.items():
        assert len(found) == 1, key
        assert key in told.payments or key.startswith("start "), key


def assert_every_request_has_one_answer(server: ApiServer, told: Told) -> dict[str, Answer]:
    """Every request is asked again: those that were answered get the same answer, byte for byte."""
    payments = list(told.payments.values())
    replayed: dict[str, Answer] = {}

    def ask_again(first: int) -> None:
        client = Client(server)
        for payment in payments[first::CLIENTS]:
            answer = client.ask("POST", "/v1/transfers", payment.document, payment.key)
            assert answer.status in FINAL, answer
            assert told.answers.get(payment.key, answer) == answer, payment.key
            replayed[payment.key] = answer
        client.close()

    with ThreadPoolExecutor(CLIENTS) as executor:
        list(executor.map(ask_again, range(CLIENTS)))
    return replayed


def assert_books_are_complete(books: Books, replayed: dict[str, Answer], told: Told) -> None:
    """Now every request is decided, and the books say what was answered."""
    posted = {key for key, answer in replayed.items() if answer.status == 201}
    assert {key for key in books.transfers if not key.startswith("start ")} == posted
    for key in posted:
        payment = told.payments[key]
        identifier = replayed[key].document["id"]
        assert books.transfers[key] == [(identifier, payment.source, payment.destination, payment.amount)]
