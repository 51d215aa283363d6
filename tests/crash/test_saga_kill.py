"""Kill a node and the server in the middle of load, half of which crosses shards; then see what was promised.

The judgement is made of what the clients were told and what every account's history says. TALLYSTICK_CRASHES says
how often the server, and how often a node is killed (1; `make kills` takes 10); TALLYSTICK_SEED repeats a run's
choices.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.postgres import EmbeddedPostgres
from tests.crash.api_server import Answer, ApiServer, Client
from tests.crash.databases import temporary_server
from tests.crash.load import CLIENTS, FINAL, Load, Payment, Told, await_answers
from tests.crash.two_shards import AWAY, HOME, TwoShards, assert_whole_together, two_shards
from tests.waiting import wait_for

CRASHES: Final = int(os.environ.get("TALLYSTICK_CRASHES", "1"))
SEED: Final = int(os.environ.get("TALLYSTICK_SEED", str(random.randrange(2**32))))
WALLETS_ON_EACH: Final = 10
START_BALANCE: Final = 2_000
ANSWER_AGAIN_SECONDS_MAX: Final = 60.0
RECOVERY_SECONDS_MAX: Final = 60.0
Movements = list[tuple[str, int]]


class Place(NamedTuple):
    """Everything that runs: two nodes, a shard on each, a server over both, and wallets on each shard."""

    nodes: list[EmbeddedPostgres]
    shards: TwoShards
    server: ApiServer
    banks: list[str]
    wallets: dict[int, list[str]]

    @property
    def all_wallets(self) -> list[str]:
        return [*self.wallets[HOME], *self.wallets[AWAY]]

    def choose(self, chance: random.Random) -> tuple[str, str]:
        """A payer and a payee, on two shards as often as on one."""
        payer_shard, other = chance.sample([HOME, AWAY], 2)
        source, neighbour = chance.sample(self.wallets[payer_shard], 2)
        return source, chance.choice(self.wallets[other]) if chance.random() < 0.5 else neighbour


@pytest.fixture
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-crash-"))
    with (
        temporary_server(durable=True) as home,
        temporary_server(durable=True) as away,
        two_shards(home, away) as shards,
    ):
        server = ApiServer(folder, *shards)
        try:
            server.start()
            yield open_place([home, away], shards, server)
        finally:
            server.kill()
            for node in (home, away):
                if not node.running():
                    node.start()
    shutil.rmtree(folder)


def open_place(nodes: list[EmbeddedPostgres], shards: TwoShards, server: ApiServer) -> Place:
    client = Client(server)
    wait_for(lambda: all_ready(client), "both shards can be written to")
    bank = client.open_account("bank", "system")
    wallets: dict[int, list[str]] = {HOME: [], AWAY: []}
    owner = 0
    while min(map(len, wallets.values())) < WALLETS_ON_EACH:
        owner += 1
        wallet = client.open_account(f"owner {owner}")
        wallets[shard_of(parse_identifier(Prefix.ACCOUNT, wallet))].append(wallet)
    for wallet in (*wallets[HOME], *wallets[AWAY]):
        payment = Payment(f"start {wallet}", bank, wallet, START_BALANCE)
        assert client.ask("POST", "/v1/transfers", payment.document, payment.key).status == 201
    client.close()
    return Place(nodes, shards, server, [bank], wallets)


def all_ready(client: Client) -> bool:
    return all(shard["available"] for shard in client.ask("GET", "/readyz").document["shards"])


@pytest.mark.timeout(240 + 60 * CRASHES)
def test_what_was_promised_over_two_nodes_is_kept(place: Place) -> None:
    sys.stdout.write(f"TALLYSTICK_CRASHES={CRASHES} TALLYSTICK_SEED={SEED}\n")
    chance = random.Random(SEED)
    victims = ["server", "node"] * CRASHES
    chance.shuffle(victims)
    load = Load(place.server, place.choose, SEED, crossing=True)
    told = load.told
    with load.running():
        for victim in victims:
            await_answers(told, chance)
            kill(place, victim, chance)
        await_answers(told, chance)
    sys.stdout.write(f"{len(told.payments)} asked, {dict(told.statuses)}, {told.lost} without an answer\n")
    assert told.lost, "no crash was in the middle of anything"

    started = time.monotonic()
    wait_for(lambda: place.shards.open_sagas() == 0, "everything pending is resolved", RECOVERY_SECONDS_MAX)
    sys.stdout.write(f"no saga is open after {time.monotonic() - started:.1f} s\n")
    judge_books(read_books(place), told, {})
    replayed = ask_again(place.server, told)
    books = read_books(place)
    judge_books(books, told, replayed)
    crossing = [key for key in books if shards_of(told.payments.get(key)) == {HOME, AWAY}]
    assert len(crossing) > len(books) // 4, "too little of the load crossed"
    assert_whole_together(place.shards)
    verified = place.server.command("verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    place.server.stop()


def kill(place: Place, victim: str, chance: random.Random) -> None:
    """One of them dies, and is started again after a while by whoever watches it."""
    if victim == "server":
        place.server.kill()
        place.server.start()
        return
    node = chance.choice(place.nodes)
    node.kill()
    time.sleep(chance.uniform(0.0, 1.0))
    node.start()


def shards_of(payment: Payment | None) -> set[int]:
    accounts = () if payment is None else (payment.source, payment.destination)
    return {shard_of(parse_identifier(Prefix.ACCOUNT, account)) for account in accounts}


def read_books(place: Place) -> dict[str, Movements]:
    """What each request moved, by its key, from the histories of all accounts; nothing may be held any more."""
    client = Client(place.server)
    moved: dict[str, Movements] = {}
    balances = {}
    for account in (*place.banks, *place.all_wallets):
        history = list(client.history(account))
        running = 0
        for entry in reversed(history):
            running += int(entry["amount"])
            assert int(entry["balance"]) == running
            if int(entry["amount"]):
                moved.setdefault(entry["description"], []).append((account, int(entry["amount"])))
        assert int(history[0]["held_after"]) == 0, account
        balances[account] = running
        assert running == client.balance(account)
    client.close()
    assert sum(balances.values()) == 0
    assert min(balances[wallet] for wallet in place.all_wallets) >= 0
    return {key: sorted(movements, key=lambda movement: movement[1]) for key, movements in moved.items()}


def judge_books(books: dict[str, Movements], told: Told, replayed: dict[str, Answer]) -> None:
    """Every acknowledged request is there once, every refused one is not, every other one once or not at all."""
    answers = told.answers | replayed
    for key, payment in told.payments.items():
        once = [(payment.source, -payment.amount), (payment.destination, payment.amount)]
        found = books.get(key, [])
        if key in answers:
            assert found == (once if answers[key].status == 201 else []), f"{key}: {answers[key]}, {found}"
        else:
            assert found in (once, []), f"{key}: {found}"
    for key in books:
        assert key in told.payments or key.startswith("start "), key


def ask_again(server: ApiServer, told: Told) -> dict[str, Answer]:
    """Every request is asked again: those that were answered get the same answer, byte for byte."""
    payments = list(told.payments.values())
    replayed: dict[str, Answer] = {}

    def ask(first: int) -> None:
        client = Client(server)
        for payment in payments[first::CLIENTS]:
            deadline = time.monotonic() + ANSWER_AGAIN_SECONDS_MAX
            answer = client.ask("POST", "/v1/transfers", payment.document, payment.key)
            while answer.status not in FINAL and time.monotonic() < deadline:
                answer = client.ask("POST", "/v1/transfers", payment.document, payment.key)
            assert answer.status in FINAL, answer
            assert told.answers.get(payment.key, answer) == answer, payment.key
            replayed[payment.key] = answer
        client.close()

    with ThreadPoolExecutor(CLIENTS) as executor:
        list(executor.map(ask, range(CLIENTS)))
    return replayed
