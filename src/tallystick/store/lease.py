"""A lease: what only one process of an installation does at a time, and another takes over when it dies.

It is a lock of a PostgreSQL session: there is no time to wait out and no clock to trust. The session ends with the
process, and PostgreSQL notices within seconds when the machine of the process is gone. (A shard's tailer has another
kind, in the cache that it writes, which runs out.)
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
    """Wait until a named query gets the lock, and hold it until the end of the block.

    Args:
        dsn: the database that the lock is in.
        lock: the query that takes the lock, or answers false.
        try_seconds: how long to wait before asking again.

    Yields:
        What runs a named query over the session that holds the lock: when it raises, the lock may be lost.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    connection = await connect_writer(dsn, "tallystick lease")
    try:

        async def ask(name: str) -> Rows:
            with translated():
                return await connection.fetch(query(name))

        with translated():
            await connection.execute(_KEEPALIVES)
        while not (await ask(lock))[0][0]:  # noqa: ASYNC110 - other processes cannot wake this one
            await asyncio.sleep(try_seconds)
        yield ask
    finally:
        await close_connection(connection)
