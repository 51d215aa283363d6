"""Who can write to the cache cannot have a balance shown that never was."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis
from structlog.testing import capture_logs

from tallystick import Ledger
from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.service.engine import Engine
from tests.cache.books import cached, key_of, opened, paid, passed, seen, until_cached
from tests.engines import running
from tests.waiting import until

KEY = "a key that the cache has never seen"
Alter = Callable[[list[bytes], list[bytes]], list[bytes]]

pytestmark = pytest.mark.usefixtures("patient", "every_alarm_is_logged")


@asynccontextmanager
async def two_cached(
    dsns: dict[int, str], valkey: EmbeddedValkey, keys: "redis.Redis", key: str | None
) -> AsyncIterator[tuple[Ledger, str, str]]:
    """Two accounts of one shard whose balances come from the cache, and are not written there any more."""
    async with running(Engine(dsns, cache=valkey.address, cache_key=key)) as engine:
        ledger = Ledger(engine, 1)
        alice, bob = await opened(ledger, "alice", 2)
        posted = await paid(ledger, alice, bob, 1, "a payment")
        await until_cached(ledger, alice, bob)
        await until(lambda: passed(keys, bob) >= posted.position)
        yield ledger, alice, bob


def changed(place: int, value: bytes) -> Alter:
    return lambda mine, _: [*mine[:place], value, *mine[place + 1 :]]


ALTERATIONS: dict[str, Alter] = {
    "another balance": changed(2, b"1000000"),
    "another sum held": changed(3, b"-1000000"),
    "a later position": changed(1, b"4503599627370495"),
    "another tenant": changed(4, b"2"),
    "another asset": changed(5, b"EUR"),
    "another account's": lambda _, others: others,
    "no seal": lambda mine, _: [*changed(2, b"1000000")(mine, mine)[:6]],
    "another seal": lambda mine, others: [*mine[:2], b"1000000", *mine[3:6], others[6]],
}


@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS)
async def test_what_was_altered_in_the_cache_is_not_shown(
    dsns: dict[int, str], valkey: EmbeddedValkey, keys: "redis.Redis", alter: Alter
) -> None:
    async with two_cached(dsns, valkey, keys, KEY) as (ledger, alice, bob):
        mine, others = cached(keys, bob), cached(keys, alice)
        assert mine is not None
        assert others is not None
        with capture_logs() as logs:
            keys.set(key_of(bob), b" ".join(alter(mine.split(), others.split())))
            found = await seen(ledger, bob)
        assert (found.balance, found.held, found.asset, found.source) == (1, 0, "USD", "database")
        assert "ALARM: the cache holds nonsense" in [line["event"] for line in logs]
        # And what is right has its place again, also before what was said to be newer.
        (found,) = await until_cached(ledger, bob)
        assert found.balance == 1


async def test_without_a_key_the_cache_is_believed(
    dsns: dict[int, str], valkey: EmbeddedValkey, keys: "redis.Redis"
) -> None:
    """As docs/reading-balances.md says; the attack works, so the test above could fail."""
    async with two_cached(dsns, valkey, keys, None) as (ledger, _, bob):
        mine = cached(keys, bob)
        assert mine is not None
        keys.set(key_of(bob), b" ".join(changed(2, b"1000000")(mine.split(), [])))
        found = await seen(ledger, bob)
        assert (found.balance, found.source) == (1_000_000, "cache")
        assert (await seen(ledger, bob, strong=True)).balance == 1


async def test_what_was_sealed_with_another_key_is_replaced(
    dsns: dict[int, str], valkey: EmbeddedValkey, keys: "redis.Redis"
) -> None:
    async with two_cached(dsns, valkey, keys, f"{KEY}, before") as (_, _, bob):
        before = cached(keys, bob)
        assert before is not None
        async with running(Engine(dsns, cache=valkey.address, cache_key=KEY)) as engine:
            (found,) = await until_cached(Ledger(engine, 1), bob)
        assert found.balance == 1
        assert cached(keys, bob) != before
