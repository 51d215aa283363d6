"""A node hangs: clients of the other shard notice nothing of it, whatever they ask, and the books stay right.

TALLYSTICK_HUNG_SECONDS says for how long it hangs (4; `make kills` takes 14). One of the two nodes hangs; with
TALLYSTICK_WHOLE=1, which `make kills` sets, one after the other.
"""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Event
from typing import NamedTuple

import psycopg
import pytest

from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.postgres import EmbeddedPostgres
from tests.api.client import Answer, Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import temporary_server
from tests.crash.hanging import hanging
from tests.crash.two_shards import AWAY, HOME, TwoShards, assert_whole_together, two_shards
from tests.keys import OwnersKeys, with_keys
from tests.metrics import metrics
from tests.ports import HOST
from tests.waiting import wait_for
from tests.whole import WHOLE, some_of

CALLERS = 4
HUNG_SECONDS = float(os.environ.get("TALLYSTICK_HUNG_SECONDS", "5" if WHOLE else "4"))
CALM_SECONDS = 3.0 if WHOLE else 2.0
COLD_KEYS = 130
# What is so of one shard is so of the other.
HUNG = some_of("hung node", [HOME, AWAY])
# Less than this is no wait that a client could notice, whatever it was before.
P99_SECONDS_FLOOR = 0.05
# A request may find out that a node hangs; the times that it waits for that have bounds, and these are their sum.
NOTICED_SECONDS_MAX = 1.5
BACK_SECONDS_MAX = 10.0


class Place(NamedTuple):
    """Two nodes, a server, and on each shard a bank and two wallets."""

    nodes: dict[int, EmbeddedPostgres]
    shards: TwoShards
    server: ApiServer
    bank: dict[int, str]
    wallets: dict[int, list[str]]
    cold_keys: Iterator[str]

    def client(self, api_key: str | None = None) -> Client:
        return Client(f"http://{HOST}:{self.server.port}", api_key or self.server.api_key)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with temporary_server() as home, temporary_server() as away, two_shards(home, away) as shards:
        server = ApiServer(tmp_path_factory.mktemp("server"), *shards)
        try:
            server.start()
            yield opened({HOME: home, AWAY: away}, shards, server)
        finally:
            server.stop()


def opened(nodes: dict[int, EmbeddedPostgres], shards: TwoShards, server: ApiServer) -> Place:
    bank: dict[int, str] = {}
    wallets: dict[int, list[str]] = {HOME: [], AWAY: []}
    place = Place(nodes, shards, server, bank, wallets, iter(cold_keys(shards, COLD_KEYS)))
    with place.client() as client:
        wait_for(lambda: both_ready(client), "both shards can be written to")
        for number in count():
            if len(bank) == len(nodes) and min(map(len, wallets.values())) > 1:
                break
            wallet = open_account(client, f"owner {number}")
            wallets[shard(wallet)].append(wallet)
            system = open_account(client, f"bank {number}", kind="system")
            bank.setdefault(shard(system), system)
        for number, mine in wallets.items():
            for wallet in mine[:2]:
                assert pay(client, bank[number], wallet, amount=1_000_000).status == 201
    return place


def cold_keys(shards: TwoShards, how_many: int) -> list[str]:
    """API keys that no server was asked with."""

    async def make(keys: OwnersKeys) -> list[str]:
        return [(await keys.create(f"cold {number}")).key for number in range(how_many)]

    return with_keys({HOME: shards.home.owner_dsn, AWAY: shards.away.owner_dsn}, make)


def shard(account: str) -> int:
    return shard_of(parse_identifier(Prefix.ACCOUNT, account))


def open_account(client: Client, owner: str, **terms: str) -> str:
    return str(client.post("/v1/accounts", {"owner": owner, "asset": "USD", **terms}).ok()["id"])


def pay(client: Client, source: str, destination: str, amount: int = 1) -> Answer:
    body = {"source": source, "destination": destination, "amount": amount, "asset": "USD"}
    return client.post("/v1/transfers", body)


def both_ready(client: Client) -> bool:
    return all(one["available"] for one in client.get("/readyz")["shards"])


class Told(NamedTuple):
    """What a client was told, and how long that took."""

    what: str
    status: int
    started: float
    seconds: float


def timed(what: str, answer: Answer, started: float) -> Told:
    return Told(what, answer.status, started, time.monotonic() - started)


@contextmanager
def paying(place: Place, number: int) -> Iterator[list[Told]]:
    """Clients that pay on a shard, and ask for balances there, until the end of the block."""
    told: list[Told] = []
    stop = Event()

    def run(caller: int) -> None:
        one, other = place.wallets[number][:2]
        pair = (one, other) if caller % 2 else (other, one)
        with place.client() as client:
            while not stop.is_set():
                started = time.monotonic()
                told.append(timed("payment", pay(client, *pair), started))
                started = time.monotonic()
                path = f"/v1/accounts/{pair[0]}/balance"
                told.append(timed("balance", client.get(path, consistency="strong"), started))

    with ThreadPoolExecutor(CALLERS) as threads:
        running = [threads.submit(run, caller) for caller in range(CALLERS)]
        try:
            yield told
        finally:
            stop.set()
    for one in running:
        one.result()


def p99(told: list[Told]) -> float:
    assert len(told) >= 100, "too few to say anything"
    return sorted(one.seconds for one in told)[int(len(told) * 0.99)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("hung", HUNG)
def test_a_hung_node_is_not_noticed_on_the_other_shard(place: Place, hung: int) -> None:
    well = AWAY if hung == HOME else HOME
    with paying(place, well) as told:
        time.sleep(CALM_SECONDS)
        hung_at = time.monotonic()
        with hanging(place.nodes[hung]):
            deadline = time.monotonic() + HUNG_SECONDS
            cold = []
            while time.monotonic() < deadline:
                cold += ask_with_a_cold_key(place, well)
                time.sleep(HUNG_SECONDS / 25)
            back_at = time.monotonic()
        with place.client() as client:
            wait_for(lambda: both_ready(client), "both shards can be written to", BACK_SECONDS_MAX)
        calm_again_at = time.monotonic()
        # Another program may have the processor for some time: calm is measured on both sides of the hang.
        time.sleep(CALM_SECONDS)
    calm = [one for one in told if one.started + one.seconds < hung_at or one.started > calm_again_at]
    stood_still = [one for one in told if hung_at < one.started < back_at]
    before, during = p99(calm), p99(stood_still)
    slowest = max((*stood_still, *cold), key=lambda one: one.seconds)
    sys.stdout.write(
        f"p99 {before * 1000:.1f} ms in calm ({len(calm)}), {during * 1000:.1f} ms while shard {hung} hung"
        f" ({len(stood_still)}), slowest {slowest.what} {slowest.seconds:.2f} s\n"
    )
    assert {(one.what, one.status) for one in told} == {("payment", 201), ("balance", 200)}
    assert {one.status for one in cold} == {200}
    assert slowest.seconds < NOTICED_SECONDS_MAX
    assert during < max(2 * before, P99_SECONDS_FLOOR)
    assert sorted(one.seconds for one in cold)[len(cold) // 2] < max(2 * before, P99_SECONDS_FLOOR)
    goes_on(place, hung)


def ask_with_a_cold_key(place: Place, number: int) -> list[Told]:
    with place.client(next(place.cold_keys)) as client:
        started = time.monotonic()
        return [timed("cold key", client.get(f"/v1/accounts/{place.wallets[number][0]}/balance"), started)]


def goes_on(place: Place, number: int) -> None:
    """The shard is written to again, and the books are right."""
    with place.client() as client:
        one, other = place.wallets[number][:2]
        wait_for(lambda: pay(client, one, other).status == 201, "it goes on", BACK_SECONDS_MAX)
        wait_for(lambda: both_ready(client), "both shards can be written to", BACK_SECONDS_MAX)
        assert pay(client, place.wallets[HOME][0], place.wallets[AWAY][0]).status == 201
    wait_for(lambda: place.shards.open_sagas() == 0, "no saga is open")
    assert_whole_together(place.shards)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("hung", HUNG)
def test_nothing_that_is_asked_of_the_other_shard_waits(place: Place, hung: int) -> None:
    well = AWAY if hung == HOME else HOME
    account, other = place.wallets[well][:2]
    there = place.wallets[hung][0]
    with place.client() as client, hanging(place.nodes[hung]):
        time.sleep(NOTICED_SECONDS_MAX)
        transaction = pay(client, account, other).ok()["id"]
        held = {"source": account, "destination": other, "amount": 1, "asset": "USD"}
        hold = client.post("/v1/holds", held).ok()["id"]
        crossing = {"source": account, "destination": there, "amount": 1, "asset": "USD"}
        assert metrics(place.server)
        for method, path, body, status in (
            ("GET", "/v1/assets", None, 200),
            ("GET", "/v1/webhooks", None, 200),
            ("GET", "/readyz", None, 200),
            ("GET", f"/v1/accounts/{account}", None, 200),
            ("GET", f"/v1/accounts/{account}/entries", None, 200),
            ("GET", f"/v1/transactions/{transaction}", None, 200),
            ("GET", f"/v1/events?shard={well}", None, 200),
            ("GET", f"/v1/accounts?owner={owner_of(client, account)}", None, 200),
            ("POST", f"/v1/transactions/{transaction}/reverse", {}, 201),
            ("POST", f"/v1/holds/{hold}/capture", {}, 200),
            # What does need the other shard is refused, and does not wait either.
            ("GET", f"/v1/accounts/{there}", None, 503),
            ("GET", f"/v1/accounts/{there}/balance", None, 503),
            ("POST", "/v1/transfers", crossing, 503),
        ):
            for api_key in (None, next(place.cold_keys)):
                with place.client(api_key) as caller:
                    started = time.monotonic()
                    key = f"{path} {hung}" if method == "POST" else None
                    answer = caller.send(method, path, body, key=key)
                    seconds = time.monotonic() - started
                said = f"{method} {path}: {answer.status} after {seconds:.2f} s: {answer.body[:200]!r}"
                assert answer.status == status, said
                assert seconds < NOTICED_SECONDS_MAX, said
    goes_on(place, hung)


def owner_of(client: Client, account: str) -> str:
    return str(client.get(f"/v1/accounts/{account}").ok()["owner"])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("locked", HUNG)
def test_a_table_that_is_locked_is_not_noticed_on_the_other_shard(place: Place, locked: int) -> None:
    """The node answers, but not when it is asked who calls."""
    well = AWAY if locked == HOME else HOME
    cold: list[Told] = []
    with psycopg.connect(dict(zip((HOME, AWAY), place.shards, strict=True))[locked].owner_dsn) as connection:
        connection.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
        for _ in range(10):
            cold += ask_with_a_cold_key(place, well)
            time.sleep(0.3)
    assert {one.status for one in cold} == {200}
    assert max(one.seconds for one in cold) < NOTICED_SECONDS_MAX
    goes_on(place, locked)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("hung", HUNG)
def test_a_server_starts_while_a_node_hangs(place: Place, hung: int) -> None:
    """It serves the other shard, and this one as soon as it goes on."""
    well = AWAY if hung == HOME else HOME
    place.server.stop()
    with hanging(place.nodes[hung]):
        place.server.start(probe="/readyz")
        with place.client() as client:
            started = time.monotonic()
            one, other = place.wallets[well][:2]
            assert pay(client, one, other).status == 201
            assert time.monotonic() - started < NOTICED_SECONDS_MAX
    goes_on(place, hung)
