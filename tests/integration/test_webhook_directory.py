"""Endpoints are on every shard alike; a shard that is added learns of them, and the last change is in force."""

import pytest
from tests.crash.two_shards import TwoShards, open_accounts
from tests.webhook_keys import KEY

from tallystick import Ledger
from tallystick.followers.webhooks.addresses import AddressRules
from tallystick.followers.webhooks.sending import Sender
from tallystick.ledger.directory import DirectoryIncompleteError
from tallystick.service.engine import Engine
from tallystick.store.directory_copy import copy_directory
from tallystick.store.webhooks import WebhookStore, endpoint_snapshots

URL = "https://127.0.0.1/hook"


async def ledger_of(dsns: dict[int, str], *, wait: bool = True) -> tuple[Engine, Ledger]:
    engine = Engine(dsns, recover=False)
    engine.webhook_sender = Sender(AddressRules(allow_private=True))
    engine.secret_keys.replace([KEY])
    await engine.start()
    if wait:
        await engine.connected()
    return engine, Ledger(engine, 1)


async def test_what_is_made_on_one_shard_is_told_of_what_the_other_recorded_since(shards: TwoShards) -> None:
    engine, ledger = await ledger_of({2: shards.away.server_dsn})
    before, ledger_before = await ledger_of({1: shards.home.server_dsn})
    try:
        await open_accounts(ledger_before, 1, 3)
        made = await ledger.webhooks.create(URL, ["transfer"], "alice")
        await open_accounts(ledger_before, 1, 2)
        head = await before.router.shards[0].reader.head_position()
        owners = {1: shards.home.owner_dsn, 2: shards.away.owner_dsn}
        copy_directory(owners)
        await ledger.webhooks.change(made.webhook.id, state="paused", owner=None)
        copy_directory(owners)
        (copied,) = await ledger_before.webhooks.all()
        assert copied == (await ledger.webhooks.all())[0]
        assert (copied.state, copied.owner, copied.kinds) == ("paused", None, ["transfer"])
        store = WebhookStore(before.router.shards[0].database)
        await store.begin([copied.id])
        (progress,) = await store.progress([copied.id])
        assert (progress.position, progress.head) == (3, head)
        await ledger.webhooks.remove(copied.id)
        copy_directory(owners)
        assert await ledger_before.webhooks.all() == []
    finally:
        await engine.stop()
        await before.stop()


async def test_of_two_changes_the_newer_is_in_force_in_whatever_order_they_come(shards: TwoShards) -> None:
    engine, ledger = await ledger_of(shards.dsns)
    try:
        made = await ledger.webhooks.create(URL)
        (first,) = await engine.directory.webhook_endpoints(1)
        assert "whsec_" not in repr(first)
        newer = first._replace(version=3, url=f"{URL}/newer")
        older = first._replace(version=2, url=f"{URL}/older")
        for endpoint in (newer, older):
            await engine.directory.put_webhook_endpoint(endpoint)
        assert (await ledger.webhooks.get(made.webhook.id)).url == f"{URL}/newer"
    finally:
        await engine.stop()


async def test_a_replay_wins_against_whoever_delivers(shards: TwoShards) -> None:
    engine, ledger = await ledger_of(shards.dsns)
    try:
        made = await ledger.webhooks.create(URL)
        await open_accounts(ledger, 1, 5)
        store = WebhookStore(engine.router.shards[0].database)
        (seen,) = endpoint_snapshots(await engine.router.shards[0].database.rows("webhook_look"))
        held = seen.state
        assert held is not None
        assert await store.advance(made.webhook.id, held, 4)
        assert not await store.advance(made.webhook.id, held, 5)
        held = held._replace(position=4)
        replayed = await ledger.webhooks.replay(made.webhook.id, 1, 2)
        assert replayed.position == 1
        assert not await store.advance(made.webhook.id, held, 5)
        assert await store.fail(seen.endpoint, held, 1.0, 1.0, "late") is None
    finally:
        await engine.stop()


async def test_a_shard_that_is_away_is_named(shards: TwoShards) -> None:
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    engine, ledger = await ledger_of({1: shards.home.server_dsn, 2: away}, wait=False)
    try:
        with pytest.raises(DirectoryIncompleteError, match="shard 2 cannot be reached"):
            await ledger.webhooks.create(URL)
    finally:
        await engine.stop()
