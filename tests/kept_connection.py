"""A connection for what tests ask again and again: to connect costs more than the question."""

from collections.abc import Sequence
from threading import Lock

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow


class KeptConnection:
    """A connection that is opened when it is needed, and kept."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection | None = None
        self._turn = Lock()

    def rows(self, statement: bytes | sql.Composed, parameters: Sequence[object] = ()) -> list[TupleRow]:
        """Run a statement, once more over a new connection if the server or the session was ended meanwhile."""
        with self._turn:
            if self._connection is not None:
                try:
                    return _rows(self._connection, statement, parameters)
                except psycopg.OperationalError:
                    self._close()
            self._connection = psycopg.connect(self._dsn, autocommit=True)
            return _rows(self._connection, statement, parameters)

    def close(self) -> None:
        """Close it, until it is needed again."""
        with self._turn:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _rows(
    connection: psycopg.Connection, statement: bytes | sql.Composed, parameters: Sequence[object]
) -> list[TupleRow]:
    cursor = connection.execute(statement, parameters)
    return [] if cursor.description is None else cursor.fetchall()
