"""Changes of endpoints that a shard missed, or heard of alone: doing them again mends it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from tests.crash.databases import ShardDatabase, alter, find_again, lose
from tests.crash.two_shards import TENANT, TwoShards
from tests.webhook_keys import KEY

from tallystick import Ledger
from tallystick.api.problems import of_error
from tallystick.domain import limits
from tallystick.followers.webhooks.addresses import AddressRules
from tallystick.followers.webhooks.sending import Sender
from tallystick.ledger.directory import DirectoryIncompleteError
from tallystick.service.engine import Engine
from tallystick.service.errors import TooManyWebhooksError, WebhookNotFoundError
from tallystick.store.webhooks import WebhookStore, endpoint_snapshots

URL = "https://127.0.0.1/hook"


@asynccontextmanager
async def serving(dsns: dict[int, str]) -> AsyncIterator[Ledger]:
    engine = Engine(dsns, recover=False)
    engine.webhook_sender = Sender(AddressRules(allow_private=True))
    engine.secret_keys.replace([KEY])
    await engine.start()
    try:
        yield Ledger(engine, TENANT)
    finally:
        await engine.stop()


def take_no_writes(database: ShardDatabase) -> None:
    """Let it answer and take nothing, as one that became a standby."""
    alter(database, "SET default_transaction_read_only = on")


def take_writes_again(database: ShardDatabase) -> None:
    alter(database, "RESET default_transaction_read_only")


def state_in(database: ShardDatabase, identifier: str) -> tuple[str, int]:
    """How a shard says that an endpoint is, in which version."""
    with psycopg.connect(database.owner_dsn) as connection:
        found = connection.execute("SELECT state, version FROM webhook_endpoints WHERE id = %s", [identifier])
        (row,) = found.fetchall()
    return row[0], row[1]


async def test_one_removed_while_a_shard_took_no_writes_is_removed_there_when_asked_again(
    shards: TwoShards,
) -> None:
    async with serving(shards.dsns) as ledger:
        endpoint = (await ledger.webhooks.create(URL)).webhook.id
        take_no_writes(shards.away)
        with pytest.raises(DirectoryIncompleteError, match="on shard 1, but shard 2 cannot be reached"):
            await ledger.webhooks.remove(endpoint)
        take_writes_again(shards.away)
        assert state_in(shards.away, endpoint) == ("active", 1)
        assert (await ledger.webhooks.remove(endpoint)).state == "removed"
        assert state_in(shards.home, endpoint) == state_in(shards.away, endpoint) == ("removed", 3)
        with pytest.raises(WebhookNotFoundError):
            await ledger.webhooks.get(endpoint)
        with pytest.raises(WebhookNotFoundError):
            await ledger.webhooks.rotate(endpoint)
        with pytest.raises(WebhookNotFoundError):
            await ledger.webhooks.remove("hook_00000000000000")


async def test_a_shard_that_was_away_for_a_moment_is_asked_again(shards: TwoShards) -> None:
    """The first shard decides: what the second one missed nobody would see, nor change, for ever."""
    async with serving(shards.dsns) as ledger:
        endpoint = (await ledger.webhooks.create(URL)).webhook.id
        lose(shards.home)
        assert [one.id for one in await ledger.webhooks.all()] == [endpoint]
        find_again(shards.home)
        async with serving({1: shards.home.server_dsn}) as without_the_second:
            await without_the_second.webhooks.change(endpoint, state="paused")
        changed = await ledger.webhooks.change(endpoint, owner="alice")
        assert (changed.owner, changed.state) == ("alice", "paused")
        async with serving({1: shards.home.server_dsn}) as without_the_second:
            await without_the_second.webhooks.change(endpoint, owner="bob")
        await asyncio.sleep(limits.DIRECTORY_SILENCE_SECONDS)
        assert [one.owner for one in await ledger.webhooks.all()] == ["bob"]


async def test_a_failure_waits_for_a_change_that_is_being_written(shards: TwoShards) -> None:
    """An attempt that ends in the middle of a change was of the url before it."""
    async with serving({1: shards.home.server_dsn}) as ledger:
        await ledger.webhooks.create(URL)
        database = ledger._engine.router.shards[0].database
        (seen,) = endpoint_snapshots(await database.rows("webhook_look"))
        assert seen.state is not None
        with psycopg.connect(shards.home.owner_dsn) as connection:
            connection.execute("UPDATE webhook_endpoints SET version = version + 1")
            failing = asyncio.create_task(
                WebhookStore(database).fail(seen.endpoint, seen.state, 60.0, 0.0, "answered 410")
            )
            assert not (await asyncio.wait([failing], timeout=0.5))[0]
        assert await failing == (1, False)


async def test_a_shard_that_is_known_to_be_away_leaves_nothing_half_made(shards: TwoShards) -> None:
    async with serving(shards.dsns) as ledger:
        rotated = await ledger.webhooks.create(URL)
        lose(shards.away)
        with pytest.raises(
            DirectoryIncompleteError, match="on no shard, but shard 2 cannot be reached: run it"
        ):
            await ledger.webhooks.create(URL)
        with pytest.raises(
            DirectoryIncompleteError, match="on no shard, but shard 2 cannot be reached: run it"
        ):
            await ledger.webhooks.rotate(rotated.webhook.id)
        find_again(shards.away)
        assert [one.id for one in await ledger.webhooks.all()] == [rotated.webhook.id]
        (endpoint,) = await ledger._engine.directory.webhook_endpoints(TENANT)
        kept = ledger._engine.secret_keys.decrypt(endpoint.secret, TENANT, endpoint.id)
        assert kept.text() == rotated.secret


@pytest.mark.parametrize("lost", [1, 2])
async def test_what_is_to_be_told_nothing_more_is_told_nothing_by_the_shards_that_answer(
    shards: TwoShards, lost: int
) -> None:
    away, here = (shards.home, shards.away) if lost == 1 else (shards.away, shards.home)
    async with serving(shards.dsns) as ledger:
        endpoint = (await ledger.webhooks.create(URL)).webhook.id
        lose(away)
        with pytest.raises(
            DirectoryIncompleteError, match=f"on shard {3 - lost}, but shard {lost} cannot be reached"
        ):
            await ledger.webhooks.change(endpoint, state="paused")
        assert state_in(here, endpoint) == ("paused", 2)
        with pytest.raises(
            DirectoryIncompleteError, match=f"is removed on shard {3 - lost}, but shard {lost}"
        ):
            await ledger.webhooks.remove(endpoint)
        assert state_in(here, endpoint) == ("removed", 3)
        find_again(away)
        assert (await ledger.webhooks.remove(endpoint)).state == "removed"
        assert state_in(here, endpoint) == state_in(away, endpoint) == ("removed", 4)


async def test_one_that_was_half_made_is_named_and_can_be_removed(shards: TwoShards) -> None:
    async with serving(shards.dsns) as ledger:
        take_no_writes(shards.away)
        with pytest.raises(DirectoryIncompleteError, match="without one, remove the endpoint") as raised:
            await ledger.webhooks.create(URL)
        take_writes_again(shards.away)
        (listed,) = await ledger.webhooks.all()
        assert f"endpoint {listed.id} was recorded on shard 1, but shard 2" in str(raised.value)
        await ledger.webhooks.remove(listed.id)
        assert state_in(shards.away, listed.id) == state_in(shards.home, listed.id) == ("removed", 2)


async def test_two_servers_make_no_more_endpoints_than_there_may_be(shards: TwoShards) -> None:
    async with serving(shards.dsns) as one, serving(shards.dsns) as other:
        for _ in range(limits.WEBHOOK_ENDPOINTS_PER_TENANT_MAX - 1):
            await one.webhooks.create(URL)
        with psycopg.connect(shards.home.owner_dsn) as connection:
            # Whoever counts before it is their turn has the time to.
            connection.execute("LOCK TABLE webhook_endpoints IN SHARE MODE")
            making = [asyncio.create_task(ledger.webhooks.create(URL)) for ledger in (one, other) * 2]
            await asyncio.sleep(1.0)
        made = await asyncio.gather(*making, return_exceptions=True)
        assert sorted(type(each).__name__ for each in made) == ["NewSecret", *["TooManyWebhooksError"] * 3]
        (refused, *_) = [each for each in made if isinstance(each, TooManyWebhooksError)]
        told = of_error(refused)
        assert told is not None
        assert (told.problem.status, told.problem.code) == (409, "too_many_webhooks")
        for ledger in (one, other):
            assert len(await ledger.webhooks.all()) == limits.WEBHOOK_ENDPOINTS_PER_TENANT_MAX


async def test_without_the_first_shard_no_endpoint_is_made(shards: TwoShards) -> None:
    """It says whose turn it is to make one, and which version of one is whose."""
    async with serving(shards.dsns) as ledger:
        endpoint = (await ledger.webhooks.create(URL)).webhook.id
        lose(shards.home)
        with pytest.raises(DirectoryIncompleteError, match="no endpoint was made, because shard 1 cannot be"):
            await ledger.webhooks.create(URL)
        with pytest.raises(DirectoryIncompleteError, match="on no shard, but shard 1 cannot be reached"):
            await ledger.webhooks.change(endpoint, kinds=["transfer"])
        assert [one.id for one in await ledger.webhooks.all()] == [endpoint]
