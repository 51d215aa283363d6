"""What a cache is asked at once, how long it is left alone, and what is told of it while it is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest
import redis
from prometheus_client import REGISTRY

from tallystick import Ledger
from tallystick.domain import limits
from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.followers.cache.tailer import Tailer
from tallystick.store.cache.balances import Cache, Cached, CacheError
from tests.cache.books import mark_of, opened, seen, until_cached
from tests.cache.conftest import Serve, alice_and_bob, serving
from tests.waiting import until

BALANCE = "1 0 0 1 USD"


@pytest.fixture
async def cache(valkey: EmbeddedValkey) -> AsyncIterator[Cache]:
    cache = Cache(valkey.address)
    yield cache
    await cache.close()


@pytest.mark.usefixtures("patient")
async def test_more_calls_at_once_than_connections_wait_for_one_another(cache: Cache) -> None:
    calls = [cache.write(1, [(number, BALANCE)]) for number in range(5 * limits.CACHE_CONNECTIONS_MAX)]
    assert await asyncio.gather(*calls) == [-1] * len(calls), "there is no mark, and no failure"


@pytest.mark.usefixtures("patient")
async def test_a_cache_that_fails_only_writes_is_left_alone_longer_each_time(
    cache: Cache, keys: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CACHE_CIRCUIT_OPEN_SECONDS_MIN", 0.01)
    # However long this machine stands still, it has not answered for so long.
    monkeypatch.setattr(limits, "CACHE_CIRCUIT_OPEN_SECONDS_MAX", 3600.0)
    keys.set("tallystick:{1}:mark", "1 0")
    keys.config_set("maxmemory-policy", "noeviction")
    keys.config_set("maxmemory", "1")
    for _ in range(3):
        with pytest.raises(CacheError):
            await cache.write(1, [(1, BALANCE)])
        await until(lambda: not cache.circuit_open(1))
        assert (await cache.read(1, [1])).mark is not None
    assert cache._circuits[1]._open_seconds == pytest.approx(0.08)


async def test_whoever_waits_for_the_cache_is_answered_when_the_server_stops(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CACHE_STOP_SECONDS_MAX", 0.05)
    asked = asyncio.Event()

    async def hang(_cache: Cache, _shard: int, _accounts: Sequence[int]) -> Cached:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serve() as engine:
        ledger = Ledger(engine, 1)
        alice, _ = await opened(ledger, "alice", 2)
        monkeypatch.setattr(Cache, "read", hang)
        asking = asyncio.create_task(asked.wait())
        while not asked.is_set():
            # The cache is not asked while a slow call has opened its circuit: then the database has answered.
            reader = asyncio.create_task(ledger.balance(alice))
            await asyncio.wait([asking, reader], return_when=asyncio.FIRST_COMPLETED)
        for shard in engine.router.shards:
            await shard.balances.stop()
        found = await seen(ledger, alice)
        assert found.source == "database", "it is asked nothing any more"
        assert await reader == found


async def test_the_lag_grows_while_the_cache_is_away(serve: Serve, valkey: EmbeddedValkey) -> None:
    def lag() -> float:
        shards = ({"shard": one} for one in "12")
        return max(
            REGISTRY.get_sample_value("tallystick_cache_lag_seconds", shard) or 0.0 for shard in shards
        )

    async with alice_and_bob(serve):
        valkey.kill()
        await until(lambda: lag() > 1.0)


async def test_who_waits_for_the_lease_does_not_lag(
    dsns: dict[int, str], valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(valkey.address)
    async with serving(dsns) as engine:
        shard = engine.router.shards[0]
        first, second = (Tailer(shard.number, shard.reader, cache) for _ in range(2))
        assert await first.follow()
        second._level_at -= 3600
        assert not await second.follow()
        assert time.monotonic() - second._level_at < 1800
    await cache.close()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("mark", [b"zz 1", b"0x1 1", b"1 00000000000000000001"])
async def test_a_mark_that_the_scripts_cannot_read_begins_anew(
    serve: Serve, keys: "redis.Redis", mark: bytes
) -> None:
    async with alice_and_bob(serve) as (ledger, _, bob):
        keys.set(mark_of(bob), mark)
        await until_cached(ledger, bob)
        assert keys.get(mark_of(bob)) != mark


@pytest.mark.usefixtures("patient")
async def test_a_lease_that_is_no_text_is_taken(serve: Serve, keys: "redis.Redis") -> None:
    async with alice_and_bob(serve) as (ledger, _, bob):
        keys.delete(lease := mark_of(bob).replace("mark", "lease"), mark_of(bob))
        keys.lpush(lease, "a list")
        await until_cached(ledger, bob)
