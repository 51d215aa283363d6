"""Servers die in the middle of a delivery, and others go on: nothing is lost, and the order is kept."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.domain.commands import KINDS
from tallystick.embedded.postgres import EmbeddedPostgres
from tests.api.books import Books
from tests.api.client import Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import assert_whole, one_value, temporary_database
from tests.crash.two_shards import TwoShards
from tests.metrics import metrics
from tests.waiting import wait_for
from tests.webhooks.conftest import INSIDE, client_of, two_servers
from tests.webhooks.receiver import Receiver
from tests.whole import WHOLE

KILLS = 4 if WHOLE else 2


@pytest.fixture
def pair(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[tuple[ApiServer, ApiServer]]:
    with temporary_database(postgres) as database, two_servers(tmp_path, database) as servers:
        yield servers
        assert_whole(database)


def in_order(receiver: Receiver) -> None:
    """Whatever came, also again, never went back further than to the last that was not acknowledged."""
    highest = 0
    for one in receiver.received:
        assert one.position >= highest, [(each.position, each.did) for each in receiver.received]
        highest = max(highest, one.position)


def deliverer(servers: tuple[ApiServer, ApiServer]) -> ApiServer | None:
    """The server that delivers now, by its own word."""
    for server in servers:
        if server.processes() and 'tallystick_webhook_delivering{shard="1"} 1.0' in metrics(server):
            return server
    return None


@pytest.mark.slow
def test_killed_in_the_middle_of_a_delivery_another_goes_on(
    pair: tuple[ApiServer, ApiServer], receivers: list[Receiver]
) -> None:
    steady, fickle, _ = receivers
    chance = random.Random(11)
    # Each failure is followed by a pause, which the test waits out.
    fickle.behave = lambda _number: chance.choice(["ok"] * 37 + ["error", "close", "midway"])
    with client_of(pair[0]) as client:
        books = Books(client)
        books.open("alice USD 100000\n bob USD 0")
        endpoints = [
            client.send("POST", "/v1/webhooks", {"url": f"{receiver.url}/hook"}).ok().json
            for receiver in (steady, fickle)
        ]
    positions: list[int] = []
    for _ in range(KILLS):
        steady.wait(lambda: deliverer(pair) is not None, "somebody delivers")
        killed = deliverer(pair)
        assert killed is not None
        other = next(server for server in pair if server is not killed)
        with client_of(other) as client:
            caller = Books(client)
            caller._accounts.update(books._accounts)
            caller._assets.update(books._assets)
            for number in range(40):
                positions.append(caller.transfer("alice", "bob", 1).ok()["position"])
                if number == 20:
                    killed.kill()
        steady.wait(lambda: steady.positions() == positions, "all of them, from the other server", 30.0)
        killed.start()
    fickle.wait(lambda: fickle.positions() == positions, "all of them", 60.0)
    for receiver, made in zip((steady, fickle), endpoints, strict=True):
        in_order(receiver)
        receiver.verify(made["secret"])


def test_of_all_servers_one_delivers(pair: tuple[ApiServer, ApiServer], receiver: Receiver) -> None:
    with client_of(pair[1]) as client:
        books = Books(client)
        books.open("alice USD 100 \n bob USD 0")
        client.send("POST", "/v1/webhooks", {"url": receiver.url}).ok()
        positions = [books.transfer("alice", "bob", 1).ok()["position"] for _ in range(20)]
    receiver.wait(lambda: receiver.positions() == positions, "all of them")
    time.sleep(1.0)
    assert [one.position for one in receiver.received] == positions


@pytest.mark.slow
def test_each_shard_is_delivered_by_position(shards: TwoShards, receiver: Receiver, tmp_path: Path) -> None:
    server = ApiServer(tmp_path, *shards, settings=INSIDE)
    server.start()
    try:
        with client_of(server) as client:
            made = client.send("POST", "/v1/webhooks", {"url": receiver.url, "kinds": list(KINDS)}).ok().json
            _pay_across(client)
            wait_for(lambda: not shards.open_sagas(), "all of it has arrived")
            deliveries = client.get(f"/v1/webhooks/{made['webhook']['id']}").ok()["deliveries"]
            assert [one["shard"] for one in deliveries] == [1, 2]
            heads = {one["shard"]: one["head"] for one in deliveries}
            receiver.wait(lambda: len(receiver.accepted()) >= sum(heads.values()), "both logs")
        told: dict[int, list[int]] = {1: [], 2: []}
        for one in receiver.accepted():
            told[one.event["data"]["shard"]].append(one.position)
        for number, database in enumerate(shards, 1):
            head = one_value(database.owner_dsn, "SELECT max(last_position) FROM batches")
            assert told[number] == list(range(1, head + 1))
        receiver.verify(made["secret"])
        kinds = {one.event["type"] for one in receiver.accepted()}
        assert {"account_opened", "transfer_reserved", "transfer_credited", "transfer_finalized"} <= kinds
    finally:
        server.stop()


def _pay_across(client: Client) -> None:
    """Open accounts, some on either shard, and pay from one to all others."""
    books = Books(client)
    for number in range(12):
        books.open(f"wallet{number} USD 100")
    names = [f"wallet{number}" for number in range(12)]
    for name in names[1:]:
        assert books.transfer(names[0], name, 1).status in {201, 202}
