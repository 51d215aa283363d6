"""Statements that run once, each over its own connection."""

from typing import Any, LiteralString

import psycopg

from tallystick.domain import limits
from tallystick.store.errors import translated


def rows_once(dsn: str, statement: LiteralString) -> list[tuple[Any, ...]]:
    """Connect, run a statement and fetch all rows.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    with translated(), psycopg.connect(dsn, connect_timeout=limits.CONNECT_TIMEOUT_SECONDS) as connection:
        return connection.execute(statement).fetchall()
