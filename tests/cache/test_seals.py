"""Who can write to the cache cannot have a balance shown that never was."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis
from structlog.testing import capture_logs

from tallystick import Ledger
from tallystick.domain import limits
from tallystick.domain.cached import Mark, balance_text, opening_mark
from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.service.engine import Engine
from tallystick.store.cache.balances import Cache, Passed
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


# What was true once is sealed for ever, but not believed for ever.


async def test_an_old_balance_that_is_put_back_is_not_shown_for_long(
    dsns: dict[int, str],
    valkey: EmbeddedValkey,
    keys: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with two_cached(dsns, valkey, keys, KEY) as (ledger, alice, bob):
        old = cached(keys, bob)
        assert old is not None
        posted = await paid(ledger, alice, bob, 1, "another payment")
        await until_cached(ledger, bob)
        await until(lambda: passed(keys, bob) >= posted.position)
        keys.set(key_of(bob), old)
        # The attack works: docs/reading-balances.md says for how long.
        assert (await seen(ledger, bob)).balance == 1
        # A client that asks for no less than what it knows is not deceived, nor one that asks PostgreSQL.
        assert (await seen(ledger, bob, min_position=posted.position)).balance == 2
        keys.set(key_of(bob), old)
        assert (await seen(ledger, bob, strong=True)).balance == 2
        monkeypatch.setattr(limits, "CACHE_SEAL_SECONDS_MAX", 1)
        await asyncio.sleep(2.1)
        with capture_logs() as logs:
            keys.set(key_of(bob), old)
            found = await seen(ledger, bob)
        assert (found.balance, found.source) == (2, "database")
        # That a balance has not moved for long is no reason for an alarm.
        assert not [line for line in logs if line["event"].startswith("ALARM")]
        (found,) = await until_cached(ledger, bob)
        assert found.balance == 2


@pytest.fixture
async def marked(valkey: EmbeddedValkey) -> AsyncIterator[tuple[Cache, Mark]]:
    """A cache whose balances are sealed, with a mark at position 10."""
    cache = Cache(valkey.address, KEY)
    opening = opening_mark("1", 10)
    assert await cache.begin(1, b"", opening)
    valid = opening.moved(10, level=True)
    assert await cache.advance(1, opening, valid, [], good_ms=10_000) == []
    yield cache, valid
    await cache.close()


BALANCE = balance_text(11, 5, 0, 1, "USD")


async def test_what_may_not_be_the_newest_is_not_shown(marked: tuple[Cache, Mark]) -> None:
    """A mark that an attacker moves back has the tailer seal old balances again, on its way to the end of the log."""
    cache, mark = marked
    behind, level = mark.moved(11, level=False), mark.moved(12, level=True)
    assert await cache.advance(1, mark, behind, [Passed(7, BALANCE, "0 0")], good_ms=0) == []
    found = await cache.read(1, [7])
    assert (found.balances, found.old) == ({}, [7])
    newest = balance_text(12, 6, 0, 1, "USD")
    assert await cache.advance(1, behind, level, [Passed(7, newest, "5 0")], good_ms=10_000) == []
    found = await cache.read(1, [7])
    assert (found.balances[7].balance, found.old) == (6, [])


async def test_the_same_balance_sealed_at_another_time_is_not_wrong(marked: tuple[Cache, Mark]) -> None:
    cache, mark = marked
    assert await cache.write(1, [(7, BALANCE)]) == 1
    await asyncio.sleep(1.1)
    moved = mark.moved(11, level=True)
    assert await cache.advance(1, mark, moved, [Passed(7, BALANCE, "0 0")], good_ms=10_000) == []
    other = balance_text(11, 6, 0, 1, "USD")
    (wrong,) = await cache.advance(1, moved, moved, [Passed(7, other, "0 0")], good_ms=10_000) or []
    assert (wrong.account, wrong.text.split()[1:4]) == (7, ["11", "5", "0"])
