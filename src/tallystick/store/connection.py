"""Connections to one shard's database: one that writes, a pool that reads."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from tallystick.domain import limits
from tallystick.store.errors import translated
from tallystick.store.queries import query

Connection = psycopg.AsyncConnection[TupleRow]

_SETTINGS: Final[Mapping[str, str]] = {
    "timezone": "UTC",
    "statement_timeout": str(limits.STATEMENT_TIMEOUT_MS),
    # An answer goes out only when the commit is on disk, whatever the database's default is.
    "synchronous_commit": "on",
    # Every query of the server is a handful of index descents; statistics of a table that has
    # just begun to grow must not talk the planner out of them.
    "enable_seqscan": "off",
    "jit": "off",
}


def _options(application: str) -> dict[str, Any]:
    options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
    return {
        "options": options,
        "application_name": application,
        "connect_timeout": limits.CONNECT_TIMEOUT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }


async def connect_writer(dsn: str) -> Connection:
    """Open the connection over which a shard's batches are written.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    with translated():
        return await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, prepare_threshold=1, **_options("tallystick writer")
        )


class Database:
    """One shard's database, for reading and for what stands beside the log: a pool of connections.

    `rows` raises ShardUnavailableError when PostgreSQL cannot be reached in time.
    """

    def __init__(self, dsn: str) -> None:
        self._pool = AsyncConnectionPool[Connection](
            dsn,
            min_size=1,
            max_size=limits.READ_CONNECTIONS_MAX,
            timeout=limits.READ_WAIT_SECONDS_MAX,
            reconnect_timeout=0,
            kwargs={"autocommit": True, **_options("tallystick reader")},
            open=False,
        )

    async def open(self) -> None:
        """Begin to connect; does not wait for it, so that one lost shard does not keep a server from starting."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def rows(self, name: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[TupleRow]:
        """Run a named query and fetch all of its rows."""
        with translated():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(query(name), parameters)
                return await cursor.fetchall() if cursor.description else []
