"""One lively log on a server, and a copy of it that is spoiled again and again."""

from collections.abc import Mapping

import psycopg

from tallystick.domain.canonical import chain_hash, genesis_hash
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.verify.streams import LogStreams
from tests.forgery.builder import Marks

TABLES = ("batches", "transactions", "entries", "accounts", "holds", "requests", "sagas")

_CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname FROM pg_constraint
    WHERE conrelid::regclass::text = ANY (%s) AND contype <> 't' ORDER BY contype = 'n', contype = 'p'
"""


class Spoilable:
    """The log of a shard, which anybody may change, and which can be as it was again."""

    def __init__(self, dsn: str, shard: int = 1) -> None:
        self.dsn = dsn
        self._shard = shard
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE SCHEMA kept")
            for table in TABLES:
                connection.execute(f"CREATE TABLE kept.{table} AS TABLE public.{table}".encode())
                connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
            constraints = connection.execute(_CONSTRAINTS, (list(TABLES),)).fetchall()
            for table, constraint in constraints:
                connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}".encode())
            connection.execute(
                "DROP INDEX accounts_position, holds_position, sagas_position, sagas_end, sagas_decided"
            )

    def spoil(self, statements: tuple[str, ...], marks: Mapping[str, int], *, rehash: bool) -> None:
        """Put everything back, then let somebody who may do anything run these statements."""
        with psycopg.connect(self.dsn) as connection:
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}".encode())
                connection.execute(f"INSERT INTO {table} TABLE kept.{table}".encode())
            for statement in statements:
                changed = connection.execute(statement.format(**marks).encode())
                assert changed.rowcount, statement
        if rehash:
            make_chain_fit(self.dsn, self._shard)


class Books:
    """A server with one lively log, and a copy of it to spoil."""

    def __init__(self, server: EmbeddedPostgres, marks: Marks) -> None:
        self.server = server
        self.marks = marks
        self._spoiled = Spoilable(self.copy("spoiled"))

    def copy(self, name: str) -> str:
        self.server.create_database(name, template="books")
        return self.server.dsn(name)

    def spoiled(self, *statements: str, rehash: bool = False) -> str:
        """A fresh copy of the log in which somebody who may do anything ran these statements."""
        self._spoiled.spoil(statements, self.marks.positions, rehash=rehash)
        return self._spoiled.dsn

    def batch_of(self, position: int) -> int:
        with psycopg.connect(self.server.dsn("books")) as connection:
            row = connection.execute(
                "SELECT min(number) FROM batches WHERE last_position >= %s", (position,)
            ).fetchone()
        assert row is not None
        return int(row[0])


def make_chain_fit(dsn: str, shard: int) -> None:
    """Hash the whole log again, as a forger would who knows how: only the books themselves can tell now."""
    hashed = genesis_hash(shard)
    rows = []
    with LogStreams(dsn) as log:
        for batch in log.batches():
            encoded = log.take(batch.last_position, batch.number).encoded()
            before = hashed
            hashed = chain_hash(before, batch.number, batch.last_position, batch.recorded_at_us, encoded)
            rows.append((before, hashed, batch.number))
    with psycopg.connect(dsn) as connection:
        connection.cursor().executemany(
            "UPDATE batches SET previous_hash = %s, hash = %s WHERE number = %s", rows
        )
