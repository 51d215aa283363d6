"""Tenants, API keys and assets are on every shard, so that any one of them can be away."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.ledger.directory import DirectoryIncompleteError
from tallystick.service.engine import Engine
from tallystick.service.errors import AuthenticationError
from tallystick.store.directory_copy import copy_directory
from tallystick.store.errors import DirectoryConflictError
from tallystick.store.migrate import migrate

ALL = (1, 2, 3)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False)
    server.start()
    for number in ALL:
        server.create_database(f"template_{number}")
        migrate(server.dsn(f"template_{number}"), number)
    yield server
    server.remove()


class Shards:
    """Databases of shards, made anew for each test."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server

    def dsns(self, *numbers: int) -> dict[int, str]:
        return {number: self._server.dsn(f"shard_{number}", role=LOGIN_ROLE) for number in numbers}

    def owner_dsns(self, *numbers: int) -> dict[int, str]:
        return {number: self._server.dsn(f"shard_{number}") for number in numbers}

    def execute(self, number: int, statement: str) -> None:
        with psycopg.connect(self.owner_dsns(number)[number], autocommit=True) as connection:
            connection.execute(statement.encode())

    def rows(self, number: int, table: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.owner_dsns(number)[number]) as connection:
            return sorted(connection.execute(f"SELECT * FROM {table}".encode()).fetchall())

    def lose(self, number: int) -> None:
        """Let nobody connect any more."""
        with psycopg.connect(self._server.dsn(), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE shard_{number} ALLOW_CONNECTIONS false".encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [f"shard_{number}"],
            )

    def find_again(self, number: int) -> None:
        with psycopg.connect(self._server.dsn(), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE shard_{number} ALLOW_CONNECTIONS true".encode())


@pytest.fixture
def shards(server: EmbeddedPostgres) -> Iterator[Shards]:
    for number in ALL:
        server.create_database(f"shard_{number}", template=f"template_{number}")
    yield Shards(server)
    for number in ALL:
        server.drop_database(f"shard_{number}")


@asynccontextmanager
async def serving(dsns: dict[int, str]) -> AsyncIterator[Engine]:
    engine = Engine(dsns, recover=False)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def is_in_force(dsns: dict[int, str], key: str) -> bool:
    """Ask as a server does that remembers nothing."""
    async with serving(dsns) as engine:
        try:
            await engine.api_keys.tenant_of(key)
        except AuthenticationError:
            return False
        return True


async def test_what_is_made_is_on_every_shard_with_the_same_numbers(shards: Shards) -> None:
    # A number that is taken on one shard only would lead to two numbers of one tenant, if each chose its own.
    async with serving(shards.owner_dsns(1)) as engine:
        await engine.directory.make_tenant("first alone")
    copy_directory(shards.owner_dsns(1, 2))
    async with serving(shards.owner_dsns(1, 2)) as engine:
        made = await engine.api_keys.create("shop", "shops")
        tenant = await engine.api_keys.tenant_of(made.key)
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
        made = await engine.api_keys.create("shop", "shops")
        tenant = await engine.api_keys.tenant_of(made.key)
        await engine.assets.create(tenant, "POINT", 0, "points")
    shards.lose(lost)
    async with serving(dsns) as engine:
        assert await engine.api_keys.tenant_of(made.key) == tenant
        assert await engine.assets.find(tenant, "POINT") is not None
        assert await engine.directory.find_tenant("shops") == tenant
        assert [row.id for row in await engine.api_keys.all()] == [made.id]
        with pytest.raises(DirectoryIncompleteError, match=f"shard {lost} cannot be reached: run it again"):
            await engine.api_keys.create("another", "shops")
        with pytest.raises(DirectoryIncompleteError, match="asset MILE was defined on"):
            await engine.assets.create(tenant, "MILE", 0, "miles")
        shards.find_again(lost)
        another = await engine.api_keys.create("another", "shops")
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
        made = await engine.api_keys.create("shop")
        shards.lose(lost)
        with pytest.raises(DirectoryIncompleteError, match=f"revoked on shard {3 - lost}, but shard {lost}"):
            await engine.api_keys.revoke(made.id)
    assert not await is_in_force(dsns, made.key)
    shards.find_again(lost)
    assert await is_in_force(shards.owner_dsns(lost), made.key)
    async with serving(dsns) as engine:
        assert await engine.api_keys.revoke(made.id)
        assert not await engine.api_keys.revoke(made.id)
    assert not await is_in_force(shards.owner_dsns(lost), made.key)


async def test_a_new_shard_gets_all_of_it_and_a_revocation_is_never_undone(shards: Shards) -> None:
    async with serving(shards.owner_dsns(1, 2)) as engine:
        kept, revoked = await engine.api_keys.create("kept", "shops"), await engine.api_keys.create("gone")
        tenant = await engine.api_keys.tenant_of(kept.key)
        await engine.assets.create(tenant, "POINT", 0, "points")
    async with serving(shards.owner_dsns(2)) as engine:
        assert await engine.api_keys.revoke(revoked.id)
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
