"""Where a balance comes from, and how new it is."""

import asyncio
from typing import Any

import pytest
import redis

from tallystick import AccountNotFoundError, Ledger, PositionNotReachedError, Refused
from tallystick.domain.identifiers import Prefix, format_identifier, parse_identifier
from tests.cache.books import cached, key_of, opened, paid, passed, seen, until_cached
from tests.cache.conftest import PATIENCE_SECONDS, Serve
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("patient")


async def test_a_balance_comes_from_the_cache_and_is_that_of_the_ledger(serve: Serve) -> None:
    async with serve() as engine:
        ledger = Ledger(engine, 1)
        alice, bob = await opened(ledger, "alice", 2)
        posted = await paid(ledger, alice, bob, 5, "one")
        await until_cached(ledger, alice, bob)
        found = await seen(ledger, bob)
        assert (found.balance, found.held, found.available) == (5, 0, 5)
        assert (found.position, found.source) == (posted.position, "cache")
        strong = await seen(ledger, bob, strong=True)
        assert (strong.balance, strong.position, strong.source) == (5, posted.position, "database")


async def test_what_is_held_is_known(serve: Serve) -> None:
    async with serve() as engine:
        ledger = Ledger(engine, 1)
        alice, bob = await opened(ledger, "alice", 2)
        await paid(ledger, bob, alice, 100, "one")
        held = await ledger.hold(alice, bob, 30, "USD", idempotency_key="two")
        assert not isinstance(held, Refused)
        (found,) = await until_cached(ledger, alice)
        assert (found.balance, found.held, found.available) == (100, 30, 70)


async def test_what_the_cache_said_before_it_was_told_of_a_payment_is_not_believed_after_it(
    serve: Serve, keys: "redis.Redis"
) -> None:
    """It answers a read, takes the write, and the read is heard last."""
    async with serve() as engine:
        ledger = Ledger(engine, 1)
        alice, bob = await opened(ledger, "alice", 2)
        await paid(ledger, alice, bob, 1, "one")
        await until_cached(ledger, bob)
        old, cache = cached(keys, bob), engine._cache
        assert cache is not None
        call, answered = cache._call, asyncio.Event()

        async def overtaken(*command: Any) -> Any:
            writes = command[0] == "EVALSHA" and command[2] == 1
            if writes:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await answered.wait()
            answer = await call(*command)
            if command[0] == "MGET":
                answered.set()
                await until(lambda: cached(keys, bob) != old)
                # Whoever wrote has heard of it, too.
                await asyncio.sleep(0.1)
            return answer

        cache._call = overtaken  # type: ignore[method-assign]  # a network on which answers overtake each other
        posted = await paid(ledger, alice, bob, 1, "two")
        found = await seen(ledger, bob)
        assert (found.balance, found.position) == (2, posted.position)


async def test_whoever_was_answered_reads_his_own_write(serve: Serve) -> None:
    async with serve() as one, serve() as other:
        writer, reader = Ledger(one, 1), Ledger(other, 1)
        alice, bob = await opened(writer, "alice", 2)
        for number in range(1, 101):
            posted = await paid(writer, alice, bob, 1, str(number))
            found = await seen(reader, bob, min_position=posted.position)
            assert (found.balance, found.position) == (number, posted.position)


async def test_a_balance_that_did_not_change_since_is_as_new_as_the_log_was_passed(serve: Serve) -> None:
    async with serve() as engine:
        ledger = Ledger(engine, 1)
        alice, bob, carol = await opened(ledger, "alice", 3)
        await paid(ledger, alice, carol, 1, "one")
        posted = await paid(ledger, alice, bob, 1, "two")

        async def is_as_new() -> bool:
            return (await seen(ledger, carol, min_position=posted.position)).source == "cache"

        await until(is_as_new)


@pytest.mark.slow
async def test_no_balance_is_older_than_what_was_asked_for_whatever_is_cached(serve: Serve) -> None:
    async with serve() as engine:
        ledger = Ledger(engine, 1)
        alice, bob = await opened(ledger, "alice", 2)
        posted = await paid(ledger, alice, bob, 1, "one")
        await until_cached(ledger, alice, bob)
        beyond = posted.position + 1000
        for strong in (False, True):
            with pytest.raises(PositionNotReachedError, match=f"before position {beyond}"):
                await ledger.balance(bob, min_position=beyond, strong=strong)
            with pytest.raises(PositionNotReachedError):
                await ledger.balances([alice, bob], min_positions={bob: beyond}, strong=strong)
        assert (await seen(ledger, bob, min_position=posted.position)).balance == 1


async def test_a_stranger_finds_nothing_though_it_is_cached(serve: Serve) -> None:
    async with serve() as engine:
        ledger, stranger = Ledger(engine, 1), Ledger(engine, 2)
        alice, bob = await opened(ledger, "alice", 2)
        await paid(ledger, alice, bob, 1, "one")
        await until_cached(ledger, bob)
        with pytest.raises(AccountNotFoundError):
            await stranger.balance(bob)
        many = await stranger.balances([alice, bob])
        assert (list(many.balances), list(many.not_found)) == ([], [alice, bob])


async def test_many_balances_of_several_shards_in_the_order_asked_for(serve: Serve) -> None:
    async with serve() as engine:
        ledger = Ledger(engine, 1)
        accounts = [account for owner in range(6) for account in await opened(ledger, f"owner {owner}", 2)]
        assert len({account[:9] for account in accounts}) > 1
        for number in range(0, 12, 2):
            await paid(ledger, accounts[number], accounts[number + 1], number + 1, str(number))
        await until_cached(ledger, *accounts)
        missing = format_identifier(Prefix.ACCOUNT, parse_identifier(Prefix.ACCOUNT, accounts[0]) ^ 1)
        asked = [*reversed(accounts), accounts[3], missing]
        found = await ledger.balances(asked)
        assert [one.account for one in found.balances] == asked[:-2]
        assert {one.source for one in found.balances} == {"cache"}
        assert [one.balance for one in found.balances][:2] == [11, -11]
        assert list(found.not_found) == [missing]


async def test_what_is_lost_from_the_cache_is_read_and_cached_again(
    serve: Serve, keys: "redis.Redis"
) -> None:
    async with serve() as engine:
        ledger = Ledger(engine, 1)
        alice, bob = await opened(ledger, "alice", 2)
        await paid(ledger, alice, bob, 7, "one")
        (found,) = await until_cached(ledger, bob)
        # The tailer caches what it passes.
        await until(lambda: passed(keys, bob) >= found.position)
        keys.delete(key_of(bob))
        assert (await seen(ledger, bob)).source == "database"
        assert (await seen(ledger, bob)).source == "cache"
        keys.flushall()
        assert ((await seen(ledger, bob)).source, cached(keys, bob)) == ("database", None)
        (found,) = await until_cached(ledger, bob)
        assert found.balance == 7
