"""A cluster: two shards on two of three masters; a node is killed or hangs, a slot moves, while reads go on."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot
from structlog.testing import capture_logs

from tallystick import Ledger
from tallystick.domain import limits
from tallystick.domain.cached import write_balance
from tallystick.domain.identifiers import Prefix, parse_identifier
from tallystick.service.engine import Engine
from tallystick.store.cache.balances import Cache, CacheError
from tests.awake import AwakeClock
from tests.cache.books import cached, key_of, mark_of, opened, paid, seen, until_cached
from tests.cache.conftest import serving
from tests.cache.race import Race
from tests.cache.servers import (
    ONE_REDIS,
    ONE_VALKEY,
    VALKEY_AND_REDIS,
    CacheServer,
    Program,
    wait,
)
from tests.ports import own_port

PASSWORD = "SECRET"
SLOTS = 16384
# Shard 2 is on the first node, shard 1 on the second: their numbers are in braces in all of their keys.
BOUNDS = (0, 6000, 10500, SLOTS)
# Two reads: each is given up, and read from PostgreSQL.
HANGING_SECONDS_MAX = 20 * limits.CACHE_TIMEOUT_SECONDS
SECONDS_MAX = 60.0
# A node that does not answer for so long is replaced: when one is lost. Before that, one that stands still with this
# machine is not.
NODE_TIMEOUT_MS = 1_000
NODE_PATIENCE_MS = 60_000


class Cluster:
    """Three masters, and a replica of the first."""

    def __init__(self, program: Program, folder: Path, servers: ExitStack) -> None:
        self.nodes = [
            servers.enter_context(
                CacheServer(
                    program,
                    folder / str(number),
                    "cluster-enabled yes",
                    f"cluster-port {own_port()}",
                    f"cluster-node-timeout {NODE_PATIENCE_MS}",
                    "cluster-require-full-coverage no",
                    "repl-diskless-sync-delay 0",
                    f"requirepass {PASSWORD}",
                    f"masterauth {PASSWORD}",
                )
            )
            for number in range(4)
        ]
        for node, first, end in zip(self.nodes, BOUNDS, BOUNDS[1:], strict=False):
            node.log_in(None, PASSWORD)
            command(node, "CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        self.replica = self.nodes[3]
        self.replica.log_in(None, PASSWORD)
        for number, node in enumerate(self.nodes):
            command(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            port = node.setting("cluster-port")
            command(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, port)
        wait(lambda: all(b"cluster_known_nodes:4" in info(node) for node in self.nodes))
        command(self.replica, "CLUSTER", "REPLICATE", name_of(self.nodes[0]))
        wait(lambda: all(b"cluster_state:ok" in info(node) for node in self.nodes))
        wait(lambda: self.replica.client.info()["master_link_status"] == "up")
        wait(lambda: all(b"slave" in nodes(node) for node in self.nodes))

    @property
    def address(self) -> str:
        """Two of the nodes are named, and one that is not there."""
        named = [own_port(), self.nodes[0].port, self.nodes[1].port]
        return f"valkey+cluster://:{PASSWORD}@" + ",".join(f"127.0.0.1:{port}" for port in named)

    def move(self, slot: int, source: CacheServer, destination: CacheServer) -> None:
        """As operators do it: key by key."""
        begin_to_move(slot, source, destination)
        finish_move(slot, source, destination, self.nodes[:3])


def begin_to_move(slot: int, source: CacheServer, destination: CacheServer) -> None:
    command(destination, "CLUSTER", "SETSLOT", slot, "IMPORTING", name_of(source))
    command(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", name_of(destination))


def move_key(key: bytes | str, source: CacheServer, destination: CacheServer) -> None:
    place = ("127.0.0.1", destination.port, key, 0, 5000, "AUTH", PASSWORD)
    command(source, "MIGRATE", *place)


def finish_move(slot: int, source: CacheServer, destination: CacheServer, masters: list[CacheServer]) -> None:
    while keys := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):  # type: ignore[no-untyped-call]  # of the driver
        for key in keys:
            move_key(key, source, destination)
    for node in (destination, source, *masters):
        command(node, "CLUSTER", "SETSLOT", slot, "NODE", name_of(destination))


def command(node: CacheServer, *parts: object) -> object:
    return node.client.execute_command(*parts)  # type: ignore[no-untyped-call]  # of the driver


def name_of(node: CacheServer) -> str:
    name = command(node, "CLUSTER", "MYID")
    assert isinstance(name, bytes)
    return name.decode()


def info(node: CacheServer) -> bytes:
    return asked(node, "INFO")


def nodes(node: CacheServer) -> bytes:
    return asked(node, "NODES")


def asked(node: CacheServer, what: str) -> bytes:
    """What a node says of the cluster, as it says it."""
    with redis.Redis(port=node.port, password=PASSWORD) as client:
        client.response_callbacks.clear()
        return bytes(client.execute_command("CLUSTER", what))


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as servers:
        yield Cluster(request.param, tmp_path, servers)


@pytest.fixture
async def engine(dsns: dict[int, str], cluster: Cluster) -> AsyncIterator[Engine]:
    async with serving(dsns, cluster.address) as engine:
        yield engine


class Watcher:
    """Pays two accounts, one on each shard, and looks at them, and never sees one go back."""

    def __init__(self, ledger: Ledger, accounts: dict[int, tuple[str, str]], clock: AwakeClock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._accounts = accounts
        self._newest = dict.fromkeys(accounts, 0)
        self.sources: dict[int, list[str]] = {shard: [] for shard in accounts}
        self.longest_seconds = 0.0

    async def watch(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        while not enough():
            assert time.monotonic() < deadline, self.sources
            for shard, (source, destination) in self._accounts.items():
                posted = await paid(self._ledger, source, destination, 1, secrets.token_hex())
                began = self._clock.seconds
                own = await seen(self._ledger, destination, min_position=posted.position)
                assert own.position >= posted.position
                found = await seen(self._ledger, destination)
                self.longest_seconds = max(self.longest_seconds, self._clock.seconds - began)
                assert found.position >= max(self._newest[shard], own.position)
                self._newest[shard] = found.position
                self.sources[shard].append(found.source)
            await asyncio.sleep(0.01)

    def ended(self, shard: int, source: str, times: int) -> bool:
        """Whether the last answers came from there."""
        return self.sources[shard][-times:] == [source] * times


async def one_of_each_shard(ledger: Ledger) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    number = 0
    while len(found) < 2:
        number += 1
        source, destination = await opened(ledger, f"owner {number}", 2)
        found[int(key_of(source).partition("{")[2].partition("}")[0])] = (source, destination)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("cluster", VALKEY_AND_REDIS, indirect=True)
async def test_a_node_is_killed_and_its_replica_takes_over(
    engine: Engine, cluster: Cluster, clock: AwakeClock
) -> None:
    await loses_a_node(engine, cluster, cluster.nodes[0].kill, clock)


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ONE_VALKEY, indirect=True)
async def test_a_node_hangs_and_its_replica_takes_over(
    engine: Engine, cluster: Cluster, clock: AwakeClock
) -> None:
    await loses_a_node(engine, cluster, cluster.nodes[0].halt, clock)


async def loses_a_node(engine: Engine, cluster: Cluster, lose: Callable[[], None], clock: AwakeClock) -> None:
    ledger = Ledger(engine, 1)
    accounts = await one_of_each_shard(ledger)
    await until_cached(ledger, *(destination for _, destination in accounts.values()))
    watcher = Watcher(ledger, accounts, clock)
    await watcher.watch(lambda: watcher.ended(1, "cache", 3) and watcher.ended(2, "cache", 3))
    for node in cluster.nodes:
        node.client.config_set("cluster-node-timeout", NODE_TIMEOUT_MS)
    lose()
    await watcher.watch(lambda: "database" in watcher.sources[2])
    began = len(watcher.sources[1])
    await watcher.watch(lambda: watcher.ended(2, "cache", 5))
    assert cluster.replica.client.info()["role"] == "master"
    # The other shard went on with its node, while nodes were asked anew: before this one was answered again.
    again = watcher.sources[2].index("cache", began)
    assert "cache" in watcher.sources[1][began:again], watcher.sources
    assert watcher.longest_seconds < HANGING_SECONDS_MAX


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ONE_VALKEY, indirect=True)
async def test_a_slot_moves(patient: None, engine: Engine, cluster: Cluster, clock: AwakeClock) -> None:
    ledger = Ledger(engine, 1)
    accounts = await one_of_each_shard(ledger)
    source, destination = cluster.nodes[1], cluster.nodes[2]
    bob = accounts[1][1]
    await until_cached(ledger, bob)
    slot = key_slot(mark_of(bob).encode())
    watcher = Watcher(ledger, accounts, clock)
    await watcher.watch(lambda: watcher.ended(1, "cache", 3))
    # Somebody who knows where the slot was.
    other = Cache(cluster.address)
    account = parse_identifier(Prefix.ACCOUNT, bob)
    assert account is not None
    known = (await other.read(1, [account])).balances[account]
    begin_to_move(slot, source, destination)
    # The mark is there already and the balance is not: nobody may set one there, for the old one comes after it.
    move_key(mark_of(bob), source, destination)
    await watcher.watch(lambda: watcher.ended(1, "database", 10))
    with pytest.raises(CacheError, match="on their way"):
        await other.write(1, [(account, write_balance(known._replace(position=known.position + 1_000_000)))])
    assert command(destination, "CLUSTER", "GETKEYSINSLOT", slot, 10) == [mark_of(bob).encode()]
    finish_move(slot, source, destination, cluster.nodes[:3])
    with capture_logs() as logs:
        await watcher.watch(lambda: watcher.ended(1, "cache", 5))
    assert cached(destination.client, bob)
    assert not [line for line in logs if "wrong" in str(line["event"])]
    # It is followed by the first who asks.
    await asyncio.sleep(limits.CACHE_CIRCUIT_OPEN_SECONDS_MIN)
    assert (await other.read(1, [account])).mark is not None
    await other.close()
    assert watcher.longest_seconds < HANGING_SECONDS_MAX


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ONE_REDIS, indirect=True)
async def test_nothing_is_seen_to_go_back_while_slots_move(
    engine: Engine, cluster: Cluster, dsns: dict[int, str]
) -> None:
    async with serving(dsns, cluster.address) as other:
        (racer,) = await opened(Ledger(engine, 1), "racer", 1)
        slot = key_slot(mark_of(racer).encode())
        places = [cluster.nodes[1], cluster.nodes[2]]
        if slot < BOUNDS[1]:
            places[0] = cluster.nodes[0]

        def move() -> None:
            cluster.move(slot, *places)
            places.reverse()

        race = Race([engine, other], seed=7)
        await race.run(3.0, move, reads_min=20)
        await race.check_quiet()
