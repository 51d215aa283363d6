"""A hundred endpoints on two shards, good ones and bad ones, while payments go on and a server is killed."""

import os
import random
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path

import psycopg
import pytest

from tallystick.domain import limits
from tallystick.domain.commands import Kind
from tests.api.books import Books
from tests.api.client import Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import one_value
from tests.crash.two_shards import TwoShards
from tests.metrics import metrics
from tests.waiting import wait_for
from tests.webhooks.conftest import client_of, two_servers
from tests.webhooks.receiver import Received, Receiver, receiving
from tests.whole import WHOLE

SECONDS = float(os.environ.get("TALLYSTICK_WEBHOOKS_SECONDS", "8" if WHOLE else "5"))
SEED = int(os.environ.get("TALLYSTICK_TEST_SEED", "0")) or random.SystemRandom().randrange(10**9)
PAYMENTS_PER_SECOND = 2.0
ENDPOINTS = {"good": 70, "failing": 10, "hanging": 8, "slow": 7, "closing": 5}
BACKLOG, BACKLOG_ENDPOINTS, BATCH = 10_000, 20, 5_000
MEGABYTE = 1024 * 1024

Log = dict[tuple[str, int], list[Received]]


@pytest.fixture
def servers(shards: TwoShards, tmp_path: Path) -> Iterator[tuple[ApiServer, ApiServer]]:
    with two_servers(tmp_path, *shards) as started:
        yield started


@pytest.fixture
def kinds_of_receivers() -> Iterator[dict[str, Receiver]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(receiving()) for name in ENDPOINTS}


def behave(kind: str, chance: random.Random, _number: int) -> str:
    """What a receiver of a kind does next."""
    bad = {
        "failing": ("error", 0.2),
        "hanging": ("hang", 1.0),
        "slow": ("slow", 1.0),
        "closing": ("midway", 0.2),
    }
    did, share = bad.get(kind, ("ok", 0.0))
    return did if chance.random() < share else "ok"


def by_endpoint(receiver: Receiver) -> Log:
    """What came, for each endpoint and shard."""
    found: Log = defaultdict(list)
    with receiver.lock:
        for one in receiver.received:
            found[one.path, one.event["data"]["shard"]].append(one)
    return found


def heads(shards: TwoShards) -> dict[int, int]:
    statement = "SELECT coalesce(max(last_position), 0) FROM batches"
    return {number: one_value(one.owner_dsn, statement) for number, one in enumerate(shards, 1)}


def told(shards: TwoShards, number: int, begin: int, end: int) -> set[int]:
    """The positions of what is told of a log: of what crosses shards its end, and not that it was reserved."""
    statement = "SELECT position FROM transactions WHERE position > %s AND position <= %s AND kind <> %s"
    with psycopg.connect(shards[number - 1].owner_dsn) as connection:
        return {row[0] for row in connection.execute(statement, (begin, end, Kind.TRANSFER_RESERVED))}


def delivering(server: ApiServer) -> int:
    """How many shards a server delivers."""
    if not server.processes():
        return 0
    started = "tallystick_webhook_delivering{"
    return sum(line.startswith(started) and line.endswith(" 1.0") for line in metrics(server))


def pay_for(server: ApiServer, books: Books, ending: threading.Event, chance: random.Random) -> None:
    """Pay among the wallets, on one shard and across, until it is enough."""
    names = [name for name in books._accounts if name.startswith("wallet")]
    with client_of(server) as client:
        caller = Books(client)
        caller._accounts.update(books._accounts)
        caller._assets.update(books._assets)
        while not ending.wait(1 / PAYMENTS_PER_SECOND):
            payer, payee = chance.sample(names, 2)
            assert caller.transfer(payer, payee, 1).status in {201, 202}


@pytest.mark.slow
def test_a_hundred_endpoints(
    servers: tuple[ApiServer, ApiServer], shards: TwoShards, kinds_of_receivers: dict[str, Receiver]
) -> None:
    sys.stdout.write(f"webhooks: TALLYSTICK_TEST_SEED={SEED}\n")
    chance = random.Random(SEED)
    secrets: dict[str, str] = {}
    with client_of(servers[0]) as client:
        books = Books(client)
        for number in range(12):
            books.open(f"wallet{number} USD 100000")
        wait_for(lambda: sum(map(delivering, servers)) == 2, "both shards are delivered")
        for kind, receiver in kinds_of_receivers.items():
            receiver.behave = partial(behave, kind, chance)
            for number in range(ENDPOINTS[kind]):
                path = f"/{kind}/{number}"
                made = client.send("POST", "/v1/webhooks", {"url": f"{receiver.url}{path}"}).ok().json
                secrets[path] = made["secret"]
    begin = heads(shards)
    killed = max(servers, key=delivering)
    other = next(server for server in servers if server is not killed)
    ending = threading.Event()
    paying = threading.Thread(target=pay_for, args=(other, books, ending, chance))
    paying.start()
    try:
        time.sleep(SECONDS / 2)
        killed.kill()
        time.sleep(SECONDS / 2)
    finally:
        ending.set()
        paying.join()
    wait_for(lambda: not shards.open_sagas(), "nothing is on its way")
    end = heads(shards)
    expected = {shard: told(shards, shard, begin[shard], end[shard]) for shard in end}
    assert all(expected.values())

    def complete(kind: str) -> bool:
        log = by_endpoint(kinds_of_receivers[kind])
        paths = [path for path in secrets if path.startswith(f"/{kind}/")]
        return all(taken(log[path, shard]) == expected[shard] for path in paths for shard in expected)

    wait_for(lambda: complete("good"), "the good ones have all", 90.0)
    delays = [
        one.at + time.time() - time.monotonic() - recorded_at(one)
        for one in kinds_of_receivers["good"].accepted()
    ]
    sys.stdout.write(
        f"webhooks: {len(delays)} to good endpoints, seconds after they were recorded: median "
        f"{statistics.median(delays):.2f}, longest {max(delays):.2f}\n"
    )
    # Were they to wait for one that hangs, it would be for as long as that is waited for. Some come late because a
    # server was killed, or because this machine stood still; so all but a tenth are looked at.
    assert sorted(delays)[len(delays) * 9 // 10] < limits.WEBHOOK_SEND_SECONDS_MAX - 1
    assert not any(one.did == "ok" for one in kinds_of_receivers["hanging"].received)
    for receiver in kinds_of_receivers.values():
        receiver.behave = lambda _number: "ok"
        receiver.released.set()
    for kind in ENDPOINTS:
        wait_for(partial(complete, kind), f"those that are {kind} have all", 90.0)
    for receiver in kinds_of_receivers.values():
        for (path, _), came in by_endpoint(receiver).items():
            in_order(came)
            assert [one.position for one in first_taken(came)] == sorted(taken(came))
            for one in came:
                verified(one, secrets[path])


def taken(came: list[Received]) -> set[int]:
    return {one.position for one in came if one.did in {"ok", "slow"}}


def first_taken(came: list[Received]) -> list[Received]:
    """Each event when it was taken first."""
    found = {one.position: one for one in reversed(came) if one.did in {"ok", "slow"}}
    return sorted(found.values(), key=lambda one: one.at)


def in_order(came: list[Received]) -> None:
    """Nothing came after a later one had come."""
    positions = [one.position for one in came]
    assert positions == sorted(positions), positions


def verified(one: Received, secret: str) -> None:
    Receiver(received=[one]).verify(secret)


def recorded_at(one: Received) -> float:
    return datetime.fromisoformat(one.event["timestamp"]).timestamp()


@pytest.mark.slow
def test_memory_does_not_grow_with_what_waits(server: ApiServer, client: Client, receiver: Receiver) -> None:
    """Endpoints that hang, with thousands of events to come."""
    books = Books(client)
    books.open(f"alice USD {BACKLOG}\n bob USD 0")
    for start in range(0, BACKLOG, BATCH):
        transfers = [
            {**books.payment("alice", "bob", 1), "idempotency_key": f"backlog {start + number}"}
            for number in range(BATCH)
        ]
        client.send("POST", "/v1/transfers/batch", {"transfers": transfers, "atomic": False}).ok()
    receiver.behave = lambda _number: "hang"
    before = server.resident_bytes()
    for _ in range(BACKLOG_ENDPOINTS):
        made = client.send("POST", "/v1/webhooks", {"url": receiver.url}).ok()["webhook"]["id"]
        client.send("POST", f"/v1/webhooks/{made}/replay", {"shard": 1, "position": 1}).ok()
    receiver.wait(lambda: len({one.id for one in receiver.received}) == BACKLOG_ENDPOINTS, "one for each")
    grown = server.resident_bytes() - before
    sys.stdout.write(
        f"webhooks: {BACKLOG_ENDPOINTS} with {BACKLOG} events to come cost {grown / MEGABYTE:.0f} MB\n"
    )
    assert grown < 60 * MEGABYTE
