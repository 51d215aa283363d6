"""Connections to one shard's database: one that writes, a pool that reads."""

import asyncio
from typing import Any, Final, TypeAlias

import asyncpg

from tallystick.domain import limits
from tallystick.store.address import database_uri
from tallystick.store.errors import ShardUnavailableError, translated
from tallystick.store.queries import query

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_SETTINGS: Final = {
    "timezone": "UTC",
    "statement_timeout": str(limits.STATEMENT_TIMEOUT_MS),
    # An answer goes out only when the commit is on disk, whatever the database's default is.
    "synchronous_commit": "on",
    # A batch must see what was committed while it waited for the lock: one snapshot for all would be older.
    "default_transaction_isolation": "read committed",
    # Every query of the server is a handful of index descents; statistics of a table that has
    # just begun to grow must not talk the planner out of them.
    "enable_seqscan": "off",
    "jit": "off",
}
# Beyond the server's own limit: for a server that does not even say so any more.
_COMMAND_TIMEOUT_SECONDS: Final = limits.STATEMENT_TIMEOUT_MS / 1000 + limits.CONNECT_TIMEOUT_SECONDS


async def connect_writer(dsn: str) -> Connection:
    """Open the connection over which a shard's batches are written.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    settings = {**_SETTINGS, "application_name": "tallystick writer"}
    with translated():
        return await asyncpg.connect(
            database_uri(dsn),
            timeout=limits.CONNECT_TIMEOUT_SECONDS,
            command_timeout=_COMMAND_TIMEOUT_SECONDS,
            server_settings=settings,
        )


async def close_connection(connection: Connection) -> None:
    """Close a connection politely, or, where the server does not answer, at once."""
    try:
        await connection.close(timeout=limits.CLOSE_TIMEOUT_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        connection.terminate()


class Database:
    """One shard's database, for reading and for what stands beside the log: a pool of connections.

    `rows` raises ShardUnavailableError when PostgreSQL cannot be reached in time.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        """Make the pool; it connects when it is used, so that one lost shard does not keep a server from starting."""
        settings = {**_SETTINGS, "application_name": "tallystick reader"}
        self._pool = await asyncpg.create_pool(
            database_uri(self._dsn),
            min_size=0,
            max_size=limits.READ_CONNECTIONS_MAX,
            timeout=limits.CONNECT_TIMEOUT_SECONDS,
            command_timeout=_COMMAND_TIMEOUT_SECONDS,
            server_settings=settings,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), limits.CLOSE_TIMEOUT_SECONDS)
            except TimeoutError:
                self._pool.terminate()

    async def rows(self, name: str, *parameters: Any) -> list[asyncpg.Record]:
        """Run a named query and fetch all of its rows."""
        if self._pool is None:
            raise ShardUnavailableError("not connected")
        with translated():
            async with self._pool.acquire(timeout=limits.READ_WAIT_SECONDS_MAX) as connection:
                return await connection.fetch(query(name), *parameters)
