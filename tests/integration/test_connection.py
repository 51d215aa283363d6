"""Reading over connections that PostgreSQL ended meanwhile: there are rows, or the shard is said to be lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from tests.crash.databases import ShardDatabase, temporary_database

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.store.connection import Database
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.queries import query

TURNS = 200
READING = "FROM pg_stat_activity WHERE starts_with(application_name, 'tallystick reader')"


@pytest.fixture(scope="module")
def shard(postgres: EmbeddedPostgres) -> Iterator[ShardDatabase]:
    with temporary_database(postgres) as database:
        yield database


@pytest.fixture
async def readers(shard: ShardDatabase) -> AsyncIterator[Database]:
    readers = Database(shard.server_dsn)
    await readers.open()
    yield readers
    await readers.close()


async def test_sessions_that_are_ended_are_lost_shards_and_nothing_else(
    shard: ShardDatabase, readers: Database
) -> None:
    """The server's last words and its hang-up are read one after the other, and a query may come between them."""
    lost = 0
    with psycopg.connect(shard.owner_dsn, autocommit=True) as operator:
        for turn in range(TURNS):
            operator.execute(f"SELECT pg_terminate_backend(pid) {READING}")
            # PostgreSQL itself would look for their end once in a tenth of a second.
            while operator.execute(f"SELECT {READING}").fetchone():
                pass
            for _ in range(turn % 4):
                await asyncio.sleep(0)
            try:
                await readers.rows("log_head")
            except ShardUnavailableError:
                lost += 1
    assert lost > 0, "a session was ended before it was noticed"
    assert await readers.rows("log_head"), "the next connection is a whole one"


async def test_a_read_is_one_query_and_nothing_is_asked_after_it(
    shard: ShardDatabase, readers: Database
) -> None:
    # The pool gives the connection again that was returned last.
    ((session,),) = await readers.fetch("SELECT pg_backend_pid()")
    await readers.rows("log_head")
    with psycopg.connect(shard.owner_dsn, autocommit=True) as operator:
        last = operator.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", (session,)).fetchall()
    assert [text.strip() for (text,) in last] == [query("log_head").strip()]
