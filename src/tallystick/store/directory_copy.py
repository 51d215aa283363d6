"""Make the directories of all shards equal: each shard gets the rows of all others."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from tallystick.store.address import options_of
from tallystick.store.errors import DirectoryConflictError, translated
from tallystick.store.primary import connect_once
from tallystick.store.queries import query


class _Table(NamedTuple):
    """The queries for one table of the directory, and the number of columns of its key."""

    read: LiteralString
    write: LiteralString
    key_columns: int


# In this order: keys and assets refer to tenants.
_TABLES: Final = {
    "tenants": _Table(query("directory_tenants"), query("directory_add_tenant"), 1),
    "API keys": _Table(query("directory_api_keys"), query("directory_add_api_key"), 1),
    "assets": _Table(query("directory_assets"), query("directory_add_asset"), 2),
    "webhook endpoints": _Table(
        query("directory_webhook_endpoints"), query("directory_add_webhook_endpoint"), 1
    ),
}


def copy_directory(dsns: Mapping[int, str]) -> None:
    """Copy the rows of each shard to all others, as the owner of the tables. Repeating it is harmless.

    A key that is revoked anywhere is revoked everywhere.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
        DirectoryConflictError: two shards have different data about a tenant, key, asset or endpoint.
    """
    with translated(), ExitStack() as transactions:
        connections = {
            number: transactions.enter_context(
                # The driver reads no times of another style.
                connect_once(dsn, options=options_of(dsn, {"datestyle": "ISO"}))
            )
            for number, dsn in sorted(dsns.items())
        }
        for name, table in _TABLES.items():
            rows = [row for connection in connections.values() for row in connection.execute(table.read)]
            for connection in connections.values():
                with connection.cursor() as cursor:
                    cursor.executemany(table.write, rows)
            _expect_equal(name, table, connections)


def _expect_equal(name: str, table: _Table, connections: Mapping[int, "psycopg.Connection[Any]"]) -> None:
    first, *others = connections
    expected = _rows(table, connections[first])
    for number in others:
        found = _rows(table, connections[number])
        different = sorted({row[: table.key_columns] for row in expected ^ found})
        if different:
            raise DirectoryConflictError(
                f"shards {first} and {number} disagree about the {name} {', '.join(map(str, different[0]))}: "
                f"they were served apart; correct one of them by hand"
            )


def _rows(table: _Table, connection: "psycopg.Connection[Any]") -> set[tuple[Any, ...]]:
    """All rows of a table; an array in them as a tuple, so that they can be compared."""
    return {
        tuple(tuple(value) if isinstance(value, list) else value for value in row)
        for row in connection.execute(table.read)
    }
