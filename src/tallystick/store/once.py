"""Statements that run once, each over its own connection."""

from typing import Any, LiteralString

from tallystick.store.errors import translated
from tallystick.store.primary import connect_once


def rows_once(dsn: str, statement: LiteralString) -> list[tuple[Any, ...]]:
    """Connect, run a statement and fetch all rows.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    with translated(), connect_once(dsn) as connection:
        return connection.execute(statement).fetchall()
