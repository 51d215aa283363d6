"""Commits on a server with synchronous standbys: they are never cancelled, and their warnings are heard.

Such a COMMIT is on the disk of the primary first, and then waits for a standby. If it is cancelled while it waits,
PostgreSQL reports success and a warning: the transaction is committed, and may be on no standby. It is lost if the
primary is. See docs/decisions/0025-an-answer-is-on-a-standby.md.
"""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from tallystick.domain import limits
from tallystick.store.errors import CommitUnknownError, translated, translated_commit
from tallystick.store.primary import AnyConnection, Connection
from tallystick.store.queries import query

# Not None, which means the time limit of the connection. At that limit the driver would cancel.
_NEVER: Final = math.inf
_WARNING: Final = "WARNING"


@contextmanager
def replicated(connection: AnyConnection) -> Iterator[None]:
    """A block whose commits are on the synchronous standbys at its end, if there are such standbys.

    Raises:
        CommitUnknownError: PostgreSQL gave a warning. The commits took effect, and may be on no standby.
    """
    warnings: list[str] = []

    def hear(_: object, message: asyncpg.PostgresLogMessage) -> None:
        # Any warning counts: its text depends on the server's language, and its SQLSTATE on the cause.
        if message.severity_en == _WARNING:
            warnings.append(str(message))

    with translated():
        connection.add_log_listener(hear)
    try:
        yield
    finally:
        connection.remove_log_listener(hear)
    # PostgreSQL warns before it reports the result. The driver passes both to `call_soon` in this order, and an event
    # loop keeps it. So every warning was heard.
    if warnings:
        raise CommitUnknownError(warnings[0])


async def await_standbys(connection: AnyConnection) -> None:
    """Wait until the synchronous standbys have everything that can be read now. Nothing happens if there are none.

    At its time limit it is cancelled, so it is for sessions that hold no lock: then no server process waits for ever.

    Raises:
        ShardUnavailableError: the standbys did not answer in time, or the connection was lost.
        CommitUnknownError: PostgreSQL gave a warning: the wait was ended early.
    """
    with replicated(connection), translated():
        await connection.execute(query("await_standbys"), timeout=limits.COMMIT_SECONDS_MAX)


async def commit(connection: Connection, statement: str = "COMMIT") -> None:
    """Run a statement that commits, and wait until it is on the synchronous standbys.

    At the time limit it is not cancelled, but the connection is closed: PostgreSQL goes on waiting, and keeps the
    locks of the transaction. The driver does cancel it if the task is cancelled, so close the connection before.

    Raises:
        BatchRejectedError: PostgreSQL refused; nothing was written.
        CommitUnknownError: the answer is missing, or a warning came with it.
    """
    with replicated(connection), translated_commit():
        limit = asyncio.get_running_loop().call_later(limits.COMMIT_SECONDS_MAX, connection.terminate)
        try:
            await connection.execute(statement, timeout=_NEVER)
        finally:
            limit.cancel()
