"""A lease: the right of one process to do a job. Another process takes over when it dies.

A lease is a lock of a PostgreSQL session, so it needs no time-out and no clock. The session ends with the process. If
the machine of the process disappears, PostgreSQL notices within seconds. (The tailer of a shard has another kind of
lease, in the cache, which expires.)
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from tallystick.store.connection import Rows, close_connection, connect_writer
from tallystick.store.errors import translated
from tallystick.store.queries import query

Ask: TypeAlias = Callable[[str], Awaitable[Rows]]

# For a machine that vanished without closing its connections.
_KEEPALIVES: Final = (
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"
)


@asynccontextmanager
async def leased(dsn: str, lock: str, try_seconds: float) -> AsyncIterator[Ask]:
    """Wait until a named query has taken the lock, and hold it until the end of the block.

    Args:
        dsn: the database that the lock is in.
        lock: the query that takes the lock, or answers false.
        try_seconds: how long to wait before asking again.

    Yields:
        A function that runs a named query over the session of the lock. If it raises, the lock may be lost.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    connection = await connect_writer(dsn, "lease")
    try:

        async def ask(name: str) -> Rows:
            with translated():
                return await connection.fetch(query(name))

        with translated():
            await connection.execute(_KEEPALIVES)
        while not (await ask(lock))[0][0]:  # noqa: ASYNC110 - no event of another process can be awaited
            await asyncio.sleep(try_seconds)
        yield ask
    finally:
        await close_connection(connection)
