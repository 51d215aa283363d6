"""What two-phase commit writes on two shards: who caches and who follows hears of it from who wrote it."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import redis

from tallystick import Ledger
from tallystick.domain import limits
from tallystick.domain.cached import read_balance
from tallystick.domain.commands import Kind
from tallystick.domain.decide import Decision
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.views import Event, Events
from tests.cache.books import cached, mark_of, opened, paid, passed, until_cached
from tests.cache.conftest import serving
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("patient")

# Longer than a follower that looks by itself waits at first; it has looked then.
SETTLE_SECONDS = 0.5
HEARD_SECONDS_MAX = 60.0


async def test_both_shards_balances_are_cached_without_the_tailer(
    dsns: dict[int, str],
    valkey: EmbeddedValkey,
    keys: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The mark outlives the tailers.
    monkeypatch.setattr(limits, "CACHE_AGE_MS_MAX", 600_000)
    async with serving(dsns, valkey.address, cross_shard="two_phase") as engine:
        ledger = Ledger(engine, 1)
        alice, bob = await on_two_shards(ledger)
        await until(lambda: passed(keys, alice) >= 0 and passed(keys, bob) >= 0)
        for shard in engine.router.shards:
            assert shard._tailer is not None
            await shard._tailer.stop()
        heard: dict[int, list[Decision]] = {1: [], 2: []}
        for shard in engine.router.shards:
            shard.batcher.on_committed(heard[shard.number].append)
        for number in range(1, 4):
            posted = await paid(ledger, alice, bob, 1, str(number))
            await until(lambda number=number: amount(keys, alice) == -number)  # type: ignore[misc]  # of this turn
            await until(lambda number=number: amount(keys, bob) == number)  # type: ignore[misc]  # of this turn
            assert position(keys, alice) == posted.position
        for decisions in heard.values():
            # A claim of a payment's key on its home says nothing, and the first payment opens a clearing account.
            rows = [row for one in decisions for row in one.appended.transactions]
            assert len([row for row in rows if row.kind is not Kind.ACCOUNT_OPENED]) == 3
            positions = [row.position for row in rows]
            assert positions == sorted(set(positions))
        found = await until_cached(ledger, alice, bob)
        assert [one.balance for one in found] == [-3, 3]


async def test_a_follower_hears_of_it_at_once(dsns: dict[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(dsns, cross_shard="two_phase") as engine:
        ledger = Ledger(engine, 1)
        alice, bob = await on_two_shards(ledger)
        shard = shard_of(parse_identifier(Prefix.ACCOUNT, bob))
        head = (await ledger.events(after=0, shard=shard)).position
        parts = await ledger.follow_events(after=head, accounts=[bob], shard=shard)
        # From now on nobody looks at the log by himself.
        monkeypatch.setattr(limits, "FEED_PAUSE_SECONDS_MIN", 600.0)
        monkeypatch.setattr(limits, "FEED_PAUSE_SECONDS_MAX", 600.0)
        async with aclosing(parts):
            hearing = asyncio.create_task(first_event(parts))
            await asyncio.sleep(SETTLE_SECONDS)
            await paid(ledger, alice, bob, 1, "one")
            async with asyncio.timeout(HEARD_SECONDS_MAX):
                event = await hearing
        assert bob in {entry.account for entry in event.entries}


async def first_event(parts: AsyncIterator[Events]) -> Event:
    async for part in parts:
        if part.items:
            return part.items[0]
    raise AssertionError("it ended")


async def on_two_shards(ledger: Ledger) -> tuple[str, str]:
    """Two accounts that may be overdrawn, the second one on another shard."""
    (alice,) = await opened(ledger, "alice", 1)
    while True:
        (bob,) = await opened(ledger, secrets.token_hex(4), 1)
        if shard_of(parse_identifier(Prefix.ACCOUNT, bob)) != shard_of(
            parse_identifier(Prefix.ACCOUNT, alice)
        ):
            return alice, bob


def amount(keys: "redis.Redis", account: str) -> int | None:
    found = balance_in(keys, account)
    return None if found is None else found[0]


def position(keys: "redis.Redis", account: str) -> int | None:
    found = balance_in(keys, account)
    return None if found is None else found[1]


def balance_in(keys: "redis.Redis", account: str) -> tuple[int, int] | None:
    """The cached balance and its position."""
    text, mark = cached(keys, account), keys.get(mark_of(account))
    if text is None or not isinstance(mark, bytes):
        return None
    found = read_balance(1, mark.split(b" ")[0], text)
    return None if found is None else (found.balance, found.position)
