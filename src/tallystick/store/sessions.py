"""Checks that each connection has a session of its own. PostgreSQL ensures this, and not every pooler does.

Locks that outlast a transaction, prepared statements and settings belong to a session. Between two transactions a
pooler may lend a session to other clients. They get the locks too, without any error. So this is checked.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from psycopg import sql

from tallystick.domain import limits
from tallystick.store.address import database_name, user_name
from tallystick.store.connection import SETTINGS, close_connection, connect_writer
from tallystick.store.errors import BatchRejectedError, PreparationError, ShardUnavailableError, translated
from tallystick.store.primary import Connection
from tallystick.store.queries import query

_PAGE: Final = "docs/existing-postgres.md"
# A prepared statement is unknown, or exists already: the session is another one.
_STRANGE_SESSION: Final = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)


async def check_sessions(dsn: str) -> None:
    """Check that connections have sessions of their own, with the settings that the server asks for.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
        PreparationError: a pooler on the way shares sessions or drops settings, or PostgreSQL refuses one that `dsn`
            asks for.
    """
    async with _session(dsn) as first, _session(dsn) as second:
        if await _are_shared(first, second):
            raise PreparationError(
                f"dsn leads to a connection pooler that lends PostgreSQL's sessions for a transaction at a time: "
                f"connect to PostgreSQL itself, or have the pooler keep a session for each connection (see {_PAGE})"
            )
        with translated():
            rows = await first.fetch(query("session_settings"), list(SETTINGS))
    in_force = {str(name): str(setting) for name, setting in rows}
    if lost := {name: value for name, value in SETTINGS.items() if in_force.get(name) != value}:
        raise PreparationError(
            f"dsn leads to a connection pooler that drops the server's settings ({', '.join(lost)}): "
            f"connect to PostgreSQL itself, or run, as an administrator, and restart the pooler: "
            f"{_set_for_role(dsn, lost)} (see {_PAGE})"
        )


@asynccontextmanager
async def _session(dsn: str) -> AsyncIterator[Connection]:
    try:
        connection = await connect_writer(dsn, "check")
    except ShardUnavailableError as error:
        # PgBouncer refuses settings that it cannot pass on: "unsupported startup parameter".
        if not isinstance(error.__cause__, asyncpg.ProtocolViolationError):
            raise
        raise PreparationError(
            f"dsn leads to a connection pooler that refuses the server's settings ({error}): "
            f"connect to PostgreSQL itself, or have the pooler ignore them (see {_PAGE})"
        ) from error
    except BatchRejectedError as error:
        raise PreparationError(
            f"dsn has something that the server's driver does not know ({error}): leave it out"
        ) from error
    try:
        yield connection
    finally:
        await close_connection(connection)


async def _are_shared(first: Connection, second: Connection) -> bool:
    """Whether one process of PostgreSQL serves both connections in turn, or several serve one of them."""
    seen: set[tuple[bool, int]] = set()
    for _ in range(limits.SESSION_LOOKS):
        # Each is asked twice in a row: a pooler that lends its sessions in turn could give each the same one every
        # time.
        for connection in (first, first, second, second):
            try:
                with translated():
                    process = await connection.fetchval(query("session_process"))
            except (BatchRejectedError, ShardUnavailableError) as error:
                if isinstance(error.__cause__, _STRANGE_SESSION):
                    return True
                raise
            seen.add((connection is first, process))
    return len(seen) > len((first, second)) or len({process for _, process in seen}) < len(seen)


def _set_for_role(dsn: str, settings: dict[str, str]) -> str:
    role, database = sql.Identifier(user_name(dsn) or ""), sql.Identifier(database_name(dsn) or "")
    statement = sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {};")
    return " ".join(
        statement.format(role, database, sql.Identifier(name), sql.Literal(value)).as_string(None)
        for name, value in settings.items()
    )
