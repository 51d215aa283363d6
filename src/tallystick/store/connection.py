"""Connections to one shard's database: one that writes, a pool that reads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, LiteralString, TypeAlias

import asyncpg

from tallystick.domain import limits
from tallystick.store.address import database_uri
from tallystick.store.errors import CONNECTION_LOST, ShardUnavailableError, translated
from tallystick.store.queries import query

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Rows: TypeAlias = list[asyncpg.Record]

SETTINGS: Final = {
    "timezone": "UTC",
    "statement_timeout": str(limits.STATEMENT_TIMEOUT_MS),
    # A commit is answered only when it is on disk, whatever the database's default is.
    "synchronous_commit": "on",
    # A batch must see what was committed while it waited for the lock. A snapshot of the transaction would be older.
    "default_transaction_isolation": "read committed",
    # Every query of the server is a few index descents. Statistics of a table that has just begun to grow must not
    # make the planner choose another plan.
    "enable_seqscan": "off",
    "jit": "off",
}
"""The settings of every session of a server."""

# Longer than the server's own limit, for a server that does not answer at all.
_COMMAND_TIMEOUT_SECONDS: Final = limits.STATEMENT_TIMEOUT_MS / 1000 + limits.CONNECT_TIMEOUT_SECONDS


async def connect_writer(dsn: str, name: str = "tallystick writer") -> Connection:
    """Open a separate connection, for the batches of a shard or for a lock.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    settings = {**SETTINGS, "application_name": name}
    with translated():
        return await asyncpg.connect(
            database_uri(dsn),
            timeout=limits.CONNECT_TIMEOUT_SECONDS,
            command_timeout=_COMMAND_TIMEOUT_SECONDS,
            server_settings=settings,
        )


async def ping(connection: Connection) -> None:
    """Make one round trip; raises ShardUnavailableError."""
    with translated():
        await connection.execute(query("ping"))


async def close_connection(connection: Connection) -> None:
    """Close a connection in order, or at once if the server does not answer."""
    try:
        await connection.close(timeout=limits.CLOSE_TIMEOUT_SECONDS)
    except (asyncpg.PostgresError, *CONNECTION_LOST):
        connection.terminate()


class Database:
    """Pools of connections to one shard's database, for reading and for tables beside the log.

    `rows`, `fetch` and `holding` raise ShardUnavailableError when PostgreSQL cannot be reached in time.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._readers: Pool | None = None
        # Separate from the readers: the holder of a lock needs a reader, and readers may wait for the lock.
        self._holders: Pool | None = None

    async def open(self) -> None:
        """Make the pools. They connect when they are used, so that a server starts even if a shard is away."""
        self._readers = await self._pool("tallystick reader", limits.READ_CONNECTIONS_MAX)
        self._holders = await self._pool("tallystick holder", limits.HOLDING_CONNECTIONS_MAX)

    async def _pool(self, name: str, size: int) -> Pool:
        return await asyncpg.create_pool(
            database_uri(self._dsn),
            min_size=0,
            max_size=size,
            timeout=limits.CONNECT_TIMEOUT_SECONDS,
            command_timeout=_COMMAND_TIMEOUT_SECONDS,
            server_settings={**SETTINGS, "application_name": name},
        )

    async def abandon(self) -> None:
        """Close all connections and begin with new ones. Callers that wait for an answer get an error."""
        abandoned = (self._readers, self._holders)
        await self.open()
        for pool in abandoned:
            if pool is not None:
                pool.terminate()

    async def close(self) -> None:
        """Close all connections."""
        for pool in (self._readers, self._holders):
            if pool is not None:
                try:
                    await asyncio.wait_for(pool.close(), limits.CLOSE_TIMEOUT_SECONDS)
                except TimeoutError:
                    pool.terminate()

    async def rows(self, name: str, *parameters: Any) -> Rows:
        """Run a named query and fetch all of its rows."""
        return await self.fetch(query(name), *parameters)

    async def fetch(self, statement: LiteralString, *parameters: Any) -> Rows:
        """Run a statement and fetch all of its rows."""
        if self._readers is None:
            raise ShardUnavailableError("not connected")
        with translated():
            async with self._readers.acquire(timeout=limits.READ_WAIT_SECONDS_MAX) as connection:
                return await connection.fetch(statement, *parameters)

    @asynccontextmanager
    async def holding(self, name: str) -> AsyncIterator[None]:
        """Hold the lock that a named query takes until the end of the block, or of the connection."""
        if self._holders is None:
            raise ShardUnavailableError("not connected")
        with translated():
            connection = await self._holders.acquire(timeout=limits.READ_WAIT_SECONDS_MAX)
        try:
            with translated():
                await connection.execute(query(name))
            yield
        finally:
            # The pool resets a returned connection, which releases its locks.
            with suppress(ShardUnavailableError), translated():
                await self._holders.release(connection)
