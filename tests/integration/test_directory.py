"""Tenants, API keys and assets are on every shard, so that any one of them can be away."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import psycopg
import pytest
from tests.crash.databases import ShardDatabase, find_again, lose, temporary_shards
from tests.keys import OwnersKeys

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.ledger.directory import DirectoryIncompleteError
from tallystick.service.api_keys import KeyManagement
from tallystick.service.engine import Engine
from tallystick.service.errors import AuthenticationError
from tallystick.store.directory_copy import copy_directory
from tallystick.store.errors import DirectoryConflictError

ALL = (1, 2, 3)


class Shards(NamedTuple):
    """Databases of shards, made anew for each test."""

    databases: dict[int, ShardDatabase]

    def dsns(self, *numbers: int) -> dict[int, str]:
        return {number: self.databases[number].server_dsn for number in numbers}

    def owner_dsns(self, *numbers: int) -> dict[int, str]:
        return {number: self.databases[number].owner_dsn for number in numbers}

    def execute(self, number: int, statement: str) -> None:
        with psycopg.connect(self.databases[number].owner_dsn, autocommit=True) as connection:
            connection.execute(statement.encode())

    def rows(self, number: int, table: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.databases[number].owner_dsn) as connection:
            return sorted(connection.execute(f"SELECT * FROM {table}".encode()).fetchall())


@pytest.fixture
def shards(postgres: EmbeddedPostgres) -> Iterator[Shards]:
    with temporary_shards(postgres, ALL) as databases:
        yield Shards(databases)


@asynccontextmanager
async def serving(dsns: dict[int, str]) -> AsyncIterator[Engine]:
    engine = Engine(dsns, recover=False)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def tenant_of(engine: Engine, key: str) -> int:
    return (await engine.api_keys.access_of(key)).tenant


async def is_in_force(dsns: dict[int, str], key: str) -> bool:
    """Ask as a server does that remembers nothing."""
    async with serving(dsns) as engine:
        try:
            await engine.api_keys.access_of(key)
        except AuthenticationError:
            return False
        return True


async def test_what_is_made_is_on_every_shard_with_the_same_numbers(shards: Shards) -> None:
    # A number that is taken on one shard only would lead to two numbers of one tenant, if each chose its own.
    async with serving(shards.owner_dsns(1)) as engine:
        await engine.directory.make_tenant("first alone")
    copy_directory(shards.owner_dsns(1, 2))
    async with serving(shards.owner_dsns(1, 2)) as engine:
        made = await OwnersKeys(engine.directory).create("shop", "shops")
        tenant = await tenant_of(engine, made.key)
        await engine.assets.create(tenant, "POINT", 0, "points")
        assert await engine.directory.make_tenant("shops") == tenant
    for number in (1, 2):
        assert [row[:2] for row in shards.rows(number, "tenants")] == [
            (1, "default"),
            (2, "first alone"),
            (3, "shops"),
        ]
        assert [row[0] for row in shards.rows(number, "api_keys")] == [made.id]
        assert [row[:4] for row in shards.rows(number, "assets")] == [(tenant, "POINT", 0, "points")]


@pytest.mark.parametrize("lost", [1, 2])
async def test_callers_are_known_while_a_shard_is_away(shards: Shards, lost: int) -> None:
    dsns = shards.owner_dsns(1, 2)
    async with serving(dsns) as engine:
        made = await OwnersKeys(engine.directory).create("shop", "shops")
        tenant = await tenant_of(engine, made.key)
        await engine.assets.create(tenant, "POINT", 0, "points")
    lose(shards.databases[lost])
    async with serving(dsns) as engine:
        assert await tenant_of(engine, made.key) == tenant
        assert await engine.assets.find(tenant, "POINT") is not None
        assert await engine.directory.find_tenant("shops") == tenant
        assert [row.key.id async for row in KeyManagement(engine.directory).all()] == [made.id]
        with pytest.raises(DirectoryIncompleteError, match=f"shard {lost} cannot be reached: run it again"):
            await OwnersKeys(engine.directory).create("another", "shops")
        with pytest.raises(DirectoryIncompleteError, match="asset MILE was defined on"):
            await engine.assets.create(tenant, "MILE", 0, "miles")
        find_again(shards.databases[lost])
        another = await OwnersKeys(engine.directory).create("another", "shops")
        await engine.assets.create(tenant, "MILE", 0, "miles")
    for number in (1, 2):
        assert await is_in_force(shards.owner_dsns(number), another.key)
        assert [row[1] for row in shards.rows(number, "assets")] == ["MILE", "POINT"]


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_key_is_revoked_where_it_can_be_and_on_the_others_when_asked_again(
    shards: Shards, lost: int
) -> None:
    dsns = shards.owner_dsns(1, 2)
    async with serving(dsns) as engine:
        made = await OwnersKeys(engine.directory).create("shop")
        lose(shards.databases[lost])
        with pytest.raises(DirectoryIncompleteError, match=f"revoked on shard {3 - lost}, but shard {lost}"):
            await OwnersKeys(engine.directory).revoke(made.id)
    assert not await is_in_force(dsns, made.key)
    find_again(shards.databases[lost])
    assert await is_in_force(shards.owner_dsns(lost), made.key)
    async with serving(dsns) as engine:
        assert await OwnersKeys(engine.directory).revoke(made.id)
        assert not await OwnersKeys(engine.directory).revoke(made.id)
    assert not await is_in_force(shards.owner_dsns(lost), made.key)


async def test_a_new_shard_gets_all_of_it_and_a_revocation_is_never_undone(shards: Shards) -> None:
    async with serving(shards.owner_dsns(1, 2)) as engine:
        kept, revoked = (
            await OwnersKeys(engine.directory).create("kept", "shops"),
            await OwnersKeys(engine.directory).create("gone"),
        )
        tenant = await tenant_of(engine, kept.key)
        await engine.assets.create(tenant, "POINT", 0, "points")
    async with serving(shards.owner_dsns(2)) as engine:
        assert await OwnersKeys(engine.directory).revoke(revoked.id)
    copy_directory(shards.owner_dsns(*ALL))
    for table, columns in (("tenants", 2), ("api_keys", 4), ("assets", 4)):
        without_times = [[row[:columns] for row in shards.rows(number, table)] for number in ALL]
        assert without_times[0] == without_times[1] == without_times[2]
    for number in ALL:
        assert await is_in_force(shards.owner_dsns(number), kept.key)
        assert not await is_in_force(shards.owner_dsns(number), revoked.key)
    copy_directory(shards.owner_dsns(*ALL))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("INSERT INTO tenants VALUES (2, 'theirs')", "disagree about the tenants"),
        ("INSERT INTO assets VALUES (1, 'POINT', 3, 'points')", "disagree about the assets"),
    ],
)
async def test_shards_that_were_served_apart_are_not_united(
    shards: Shards, statement: str, words: str
) -> None:
    async with serving(shards.owner_dsns(1)) as engine:
        await engine.directory.make_tenant("ours")
        await engine.assets.create(1, "POINT", 0, "points")
    shards.execute(2, statement)
    with pytest.raises(DirectoryConflictError, match=words):
        copy_directory(shards.owner_dsns(1, 2))
    assert [row[:2] for row in shards.rows(1, "tenants")] == [(1, "default"), (2, "ours")]
