"""Connections to one shard's database: one that writes, a pool that reads."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, LiteralString, TypeAlias

import asyncpg

from tallystick.domain import limits
from tallystick.store.commits import await_standbys
from tallystick.store.errors import (
    CONNECTION_LOST,
    CommitUnknownError,
    ShardUnavailableError,
    translated,
)
from tallystick.store.primary import AnyConnection, Connection, connect_to_primary
from tallystick.store.queries import query
from tallystick.store.schema_version import session_name

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Rows: TypeAlias = list[asyncpg.Record]

SETTINGS: Final = {
    "timezone": "UTC",
    "statement_timeout": str(limits.STATEMENT_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": str(limits.IDLE_IN_TRANSACTION_MS),
    # A commit is answered only when it is on disk, also on that of a synchronous standby, whatever the default is.
    "synchronous_commit": "on",
    # If a commit is perhaps on no standby, only a warning says so.
    "client_min_messages": "warning",
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


async def connect_writer(dsn: str, purpose: str = "writer") -> Connection:
    """Open a separate connection, for the batches of a shard or for a lock. PostgreSQL's lists show its purpose.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    settings = {**SETTINGS, "application_name": session_name(purpose)}
    with translated():
        return await connect_to_primary(
            dsn, command_timeout=_COMMAND_TIMEOUT_SECONDS, server_settings=settings
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

    All methods that ask for something raise ShardUnavailableError when PostgreSQL, or a standby that must have what
    was written, cannot be reached in time.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._readers: Pool | None = None
        # Separate from the readers: the holder of a lock needs a reader, and readers may wait for the lock.
        self._holders: Pool | None = None

    async def open(self) -> None:
        """Make the pools. They connect when they are used, so that a server starts even if a shard is away."""
        # The driver's reset is one more round trip for each read, and no query over a reader changes its session.
        self._readers = await self._pool("reader", limits.READ_CONNECTIONS_MAX, _keep_session)
        self._holders = await self._pool("holder", limits.HOLDING_CONNECTIONS_MAX)

    async def _pool(
        self, purpose: str, size: int, reset: Callable[[AnyConnection], Awaitable[None]] | None = None
    ) -> Pool:
        pool: Pool = await asyncpg.create_pool(  # type: ignore[call-overload]  # of all the driver's parameters
            self._dsn,
            connect=connect_to_primary,
            min_size=0,
            max_size=size,
            command_timeout=_COMMAND_TIMEOUT_SECONDS,
            server_settings={**SETTINGS, "application_name": session_name(purpose)},
            reset=reset,
        )
        return pool

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
        async with self._reader() as connection:
            return await connection.fetch(statement, *parameters)

    async def write(self, name: str, *parameters: Any) -> Rows:
        """Run a named query that writes beside the log, and fetch all of its rows.

        What it has written, or has found to be written already, is then on the synchronous standbys, too.
        """
        async with self._reader() as connection:
            rows = await connection.fetch(query(name), *parameters, timeout=limits.COMMIT_SECONDS_MAX)
            await _await_standbys(connection)
        return rows

    async def await_standbys(self) -> None:
        """Wait until what was read before is on the synchronous standbys, if there are any.

        For readers of the log who act on another database.
        """
        async with self._reader() as connection:
            await _await_standbys(connection)

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[AnyConnection]:
        if self._readers is None:
            raise ShardUnavailableError("not connected")
        with translated():
            async with self._readers.acquire(timeout=limits.READ_WAIT_SECONDS_MAX) as connection:
                yield connection

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


async def _keep_session(_: AnyConnection, /) -> None:
    """Leave the session of a returned connection as it is."""


async def _await_standbys(connection: AnyConnection) -> None:
    try:
        await await_standbys(connection)
    except CommitUnknownError as error:
        raise ShardUnavailableError(str(error)) from error
