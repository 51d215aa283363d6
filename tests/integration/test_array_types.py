"""What a new session is told about array types is what PostgreSQL would have said, and all that our queries need."""

from contextlib import suppress
from importlib import resources

import asyncpg
import psycopg
from tests.crash.databases import ShardDatabase

from tallystick.store.array_types import ARRAY_TYPES
from tallystick.store.connection import close_connection, connect_writer

PACKAGES = ("tallystick.store", "tallystick.ledger.crossing.two_phase")
PREPARED_MIN = 90
# A part of the query with which the driver looks types up.
DRIVER_ASKS = "typeinfo_tree"


def test_the_array_types_are_those_of_postgresql(database: ShardDatabase) -> None:
    with psycopg.connect(database.server_dsn) as connection:
        found = connection.execute(
            "SELECT typname, oid::bigint, typelem::bigint FROM pg_type WHERE typname = ANY(%s)"
            " AND typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typdelim = ','"
            " ORDER BY oid",
            [[known.name for known in ARRAY_TYPES]],
        ).fetchall()
    assert found == list(ARRAY_TYPES)


async def test_no_query_makes_the_driver_ask_for_a_type(database: ShardDatabase) -> None:
    connection = await connect_writer(database.owner_dsn)
    try:
        prepared = 0
        for package in PACKAGES:
            for file in resources.files(package).joinpath("queries").iterdir():
                if not file.name.endswith(".sql"):
                    continue
                # Some are templates, or several statements.
                with suppress(asyncpg.PostgresSyntaxError):
                    await connection.prepare(file.read_text(encoding="utf-8"))
                    prepared += 1
        assert prepared >= PREPARED_MIN
        # The driver keeps its own query prepared, too.
        asked = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE $1"
        assert await connection.fetchval(asked, f"%{DRIVER_ASKS}%") == 0
    finally:
        await close_connection(connection)
