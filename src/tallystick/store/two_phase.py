"""Two-phase commit over the databases of two shards: prepare, decide, end.

(https://www.postgresql.org/docs/current/sql-prepare-transaction.html)
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, LiteralString, NamedTuple, Self

import asyncpg
import psycopg
from psycopg import sql

from tallystick.domain import limits
from tallystick.domain.needs import Needs
from tallystick.domain.snapshot import Head
from tallystick.store.connection import Database
from tallystick.store.errors import ShardUnavailableError, StoreError, translated, translated_commit
from tallystick.store.log import Loaded, LogWriter
from tallystick.store.queries import query

_PREFIX: Final = "tallystick/"
_PART_COUNT: Final = 5


class PreparedTransactionsError(StoreError):
    """A server can keep too few transactions prepared for two-phase commit; the message says how many it needs."""


class PairBatch(NamedTuple):
    """The name of a batch that two shards write together. `token` is random, and new for each batch.

    A prepared transaction is known to the whole server, whatever its database. So each half has its own name.
    """

    low: int
    high: int
    token: str

    def half(self, shard: int) -> str:
        """The name of the prepared transaction on one of the shards."""
        return f"{self}/{shard}"

    @classmethod
    def of_half(cls, name: str) -> Self | None:
        """The batch of a prepared transaction, by its name; None if the ledger did not prepare it."""
        parts = name.split("/")
        if len(parts) != _PART_COUNT or not (parts[1].isdecimal() and parts[2].isdecimal()):
            return None
        return cls(int(parts[1]), int(parts[2]), parts[3])

    def __str__(self) -> str:
        return f"{_PREFIX}{self.low}/{self.high}/{self.token}"


class PreparedHalf(NamedTuple):
    """A prepared transaction of a shard, which holds the shard's lock, and its age by the server's clock."""

    batch: PairBatch
    age_seconds: float


class PairLogWriter(LogWriter):
    """A connection over which one shard's half of a batch is written. Not for concurrent use.

    A half is `begin_after` (which takes the lock), `read`, `append`, `prepare`, and then `end`; or `roll_back`. After
    an error that is not BatchRejectedError the connection is gone: `reconnect`.
    """

    async def read(self, needs: Needs) -> tuple[Head, int, Loaded]:
        """Read the head, the server's clock (microseconds) and `needs`."""
        with translated():
            return await self._read(self._open_connection(), needs)

    async def prepare(self, name: str) -> None:
        """Prepare the half. It keeps the lock and outlives this connection, until it is ended by its name.

        Raises:
            BatchRejectedError: the half is not complete; nothing was written.
            CommitUnknownError: the connection was lost on the way.
        """
        connection = self._open_connection()
        with translated_commit():
            await connection.execute(_named("two_phase_prepare", name))

    async def decide(self, batch: PairBatch, *, commit: bool) -> bool:
        """Decide the result of a batch, unless it was decided before. Returns whether it is to be committed.

        For the shard with the lower number. It may be called again if the answer was lost.
        """
        connection = self._open_connection()
        with translated():
            committed = await connection.fetchval(query("two_phase_decide"), str(batch), commit)
            if committed is None:
                # A separate statement, so that it sees what the other one waited for.
                committed = await connection.fetchval(query("two_phase_decision"), str(batch))
        return bool(committed)

    async def end(self, name: str, *, commit: bool) -> None:
        """Commit a prepared half, or roll it back. Nothing happens if it was ended before, or if there is none."""
        connection = self._open_connection()
        with translated():
            try:
                await connection.execute(
                    _named("two_phase_commit" if commit else "two_phase_roll_back", name)
                )
            except asyncpg.UndefinedObjectError:
                return


async def prepared_halves(database: Database) -> list[PreparedHalf]:
    """The transactions that a shard keeps prepared now. Raises what the database's `rows` raises."""
    rows = await database.rows("two_phase_prepared", _PREFIX)
    return [
        PreparedHalf(batch, age_seconds)
        for name, age_seconds in rows
        if (batch := PairBatch.of_half(name)) is not None
    ]


def check_prepared_transactions(dsns: Mapping[int, str]) -> None:
    """Check that every server can keep a transaction prepared for each of its shards.

    A prepared transaction holds the lock of its shard, so there is one at a time. Servers that cannot be reached are
    skipped.

    Args:
        dsns: the connection string of each shard, by number.

    Raises:
        PreparedTransactionsError: a server cannot keep that many.
    """
    shards: dict[int, list[int]] = defaultdict(list)
    capacities: dict[int, int] = {}
    for number, dsn in dsns.items():
        try:
            with (
                translated(),
                psycopg.connect(dsn, connect_timeout=limits.CONNECT_TIMEOUT_SECONDS) as connection,
            ):
                row = connection.execute(query("two_phase_capacity")).fetchone()
        except ShardUnavailableError:
            continue
        if row is not None:
            server, capacities[server] = row
            shards[server].append(number)
    for server, numbers in shards.items():
        if capacities[server] < len(numbers):
            raise PreparedTransactionsError(
                f'cross_shard = "two_phase" needs max_prepared_transactions = {len(numbers)} or more on the server '
                f"of {_in_words(numbers)}, which has {capacities[server]}: set it there and restart PostgreSQL, or "
                'choose cross_shard = "saga"'
            )


def _in_words(numbers: list[int]) -> str:
    return f"{'shard' if len(numbers) == 1 else 'shards'} {', '.join(map(str, sorted(numbers)))}"


def _named(statement: LiteralString, name: str) -> str:
    """A statement about a prepared transaction. PostgreSQL accepts its name as a literal only."""
    return sql.SQL(query(statement)).format(sql.Literal(name)).as_string(None)
