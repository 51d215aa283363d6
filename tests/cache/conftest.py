"""A real PostgreSQL and a real Valkey; each test has shards of its own and an empty cache."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import redis

from tallystick import Ledger
from tallystick.domain import limits
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.service.engine import Engine
from tests.awake import AwakeClock, awake_clock
from tests.cache.books import opened, paid, until_cached
from tests.crash.databases import ShardDatabase, temporary_shards
from tests.engines import running

SHARDS = (1, 2)
PATIENCE_SECONDS = 30.0
Serve = Callable[[], AbstractAsyncContextManager[Engine]]


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "valkey")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def keys(valkey: EmbeddedValkey) -> Iterator["redis.Redis"]:
    """The cache, as somebody who may do anything to it."""
    client = redis.Redis.from_url(valkey.address)
    yield client
    client.close()


@pytest.fixture
def clock() -> Iterator[AwakeClock]:
    with awake_clock() as clock:
        yield clock


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that answers is waited for: this machine may stand still for longer than anybody waits as a rule."""
    monkeypatch.setattr(limits, "CACHE_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(limits, "CACHE_NODE_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(limits, "CACHE_LEASE_MS", int(1000 * PATIENCE_SECONDS))
    monkeypatch.setattr(limits, "CACHE_AGE_MS_MAX", int(1000 * PATIENCE_SECONDS))


@pytest.fixture
def every_alarm_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a moment before, while the engine began, would keep the next one quiet."""
    monkeypatch.setattr(limits, "CACHE_ALARM_INTERVAL_SECONDS", 0.0)


@pytest.fixture
def databases(postgres: EmbeddedPostgres) -> Iterator[dict[int, ShardDatabase]]:
    """Fresh shards."""
    with temporary_shards(postgres, SHARDS) as databases:
        yield databases


@pytest.fixture
def dsns(databases: dict[int, ShardDatabase]) -> dict[int, str]:
    return {number: database.server_dsn for number, database in databases.items()}


@pytest.fixture
def owner_dsns(databases: dict[int, ShardDatabase]) -> dict[int, str]:
    """The same shards, for whoever may read everything."""
    return {number: database.owner_dsn for number, database in databases.items()}


@pytest.fixture
def serve(dsns: dict[int, str], valkey: EmbeddedValkey) -> Serve:
    """Start one more server process's engine on the shards and the cache."""
    return lambda: serving(dsns, valkey.address)


@asynccontextmanager
async def serving(
    dsns: dict[int, str], cache: str | None = None, *, cross_shard: str = "saga"
) -> AsyncIterator[Engine]:
    """An engine as every server process has one, ready to read and write."""
    async with running(Engine(dsns, cache=cache, cross_shard=cross_shard)) as engine:
        yield engine


@asynccontextmanager
async def alice_and_bob(serve: Serve, amount: int = 1) -> AsyncIterator[tuple[Ledger, str, str]]:
    """Alice has paid Bob, and the cache knows it."""
    async with serve() as engine:
        ledger = Ledger(engine, 1)
        alice, bob = await opened(ledger, "alice", 2)
        await paid(ledger, alice, bob, amount, "one")
        await until_cached(ledger, bob)
        yield ledger, alice, bob
