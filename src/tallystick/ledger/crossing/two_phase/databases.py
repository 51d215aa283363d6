"""Two-phase commit over the databases of two shards: prepare, decide, end.

(https://www.postgresql.org/docs/current/sql-prepare-transaction.html)
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Final, NamedTuple, Self

from tallystick.domain.needs import Needs
from tallystick.domain.snapshot import Head
from tallystick.store.commits import await_standbys, replicated
from tallystick.store.connection import Database
from tallystick.store.errors import (
    BatchRejectedError,
    PreparationError,
    ShardUnavailableError,
    translated,
    translated_commit,
)
from tallystick.store.log import Loaded, LogWriter
from tallystick.store.once import rows_once
from tallystick.store.queries import query

_PREFIX: Final = "tallystick/"
_HALF: Final = re.compile(_PREFIX + r"([0-9]+)/([0-9]+)/([0-9a-f]+)/[0-9]+")
# The SQLSTATE if there is no prepared transaction of this name.
_UNDEFINED_OBJECT: Final = "42704"

_query = partial(query, package=__package__)


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
        found = _HALF.fullmatch(name)
        return None if found is None else cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{_PREFIX}{self.low}/{self.high}/{self.token}"


class PreparedHalf(NamedTuple):
    """A prepared transaction of a shard, which holds the shard's lock, and its age by the server's clock."""

    batch: PairBatch
    age_seconds: float


class PairLogWriter(LogWriter):
    """A connection over which one shard's half of a batch is written. Not for concurrent use.

    A half is `begin_after` (which takes the lock), `read`, `append`, `prepare`, and then `end`; or `commit_nothing`;
    or `roll_back`. After an error that is not BatchRejectedError the connection is gone: `reconnect`.

    `prepare`, `decide` and `end` have a time limit, at which PostgreSQL stops to wait for a standby. They return only
    what is on the standbys, and when they are called again they wait again.
    """

    async def read(self, needs: Needs) -> tuple[Head, int, Loaded]:
        """Read the head, the server's clock (microseconds) and `needs`."""
        with translated():
            return await self._read(self._open_connection(), needs)

    async def prepare(self, name: str) -> None:
        """Prepare the half. It keeps the lock and outlives this connection, until it is ended by its name.

        Raises:
            BatchRejectedError: the half is not complete; nothing was written.
            CommitUnknownError: the connection was lost on the way, or the half may be on no standby.
        """
        connection = self._open_connection()
        with replicated(connection), translated_commit():
            await connection.execute(_named("prepare_half", name))

    async def decide(self, batch: PairBatch, *, commit: bool) -> bool:
        """Decide the result of a batch, unless it was decided before. Returns whether it is to be committed.

        For the shard with the lower number. It may be called again if the answer was lost.

        Raises:
            CommitUnknownError: the decision may be on no standby. No server may act on it.
        """
        connection = self._open_connection()
        with replicated(connection), translated():
            committed = await connection.fetchval(_query("decide_batch"), str(batch), commit)
        if committed is None:
            with translated():
                # A separate statement, so that it sees what the other one waited for.
                committed = await connection.fetchval(_query("decision_of_batch"), str(batch))
            await await_standbys(connection)
        return bool(committed)

    async def end(self, name: str, *, commit: bool) -> None:
        """Commit a prepared half, or roll it back. Nothing happens if it was ended before, or if there is none.

        Raises:
            CommitUnknownError: it is committed, and may be on no standby.
        """
        connection = self._open_connection()
        try:
            with replicated(connection) if commit else nullcontext(), translated():
                await connection.execute(_named("commit_half" if commit else "roll_back_half", name))
        except BatchRejectedError as error:
            if error.sqlstate != _UNDEFINED_OBJECT:
                raise
            if commit:
                await await_standbys(connection)


async def prepared_halves(database: Database) -> list[PreparedHalf]:
    """The transactions that a shard keeps prepared now. Raises what the database's `fetch` raises."""
    rows = await database.fetch(_query("prepared_halves"), _PREFIX)
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
        PreparationError: a server cannot keep that many.
    """
    shards: dict[int, list[int]] = defaultdict(list)
    capacities: dict[int, int] = {}
    for number, dsn in dsns.items():
        try:
            ((server, capacity),) = rows_once(dsn, _query("prepared_capacity"))
        except ShardUnavailableError:
            continue
        capacities[server] = capacity
        shards[server].append(number)
    for server, numbers in shards.items():
        if capacities[server] < len(numbers):
            raise PreparationError(
                f'cross_shard = "two_phase" needs max_prepared_transactions = {len(numbers)} or more on the server '
                f"of {_in_words(numbers)}, which has {capacities[server]}: set it there and restart PostgreSQL, or "
                'choose cross_shard = "saga"'
            )


def _in_words(numbers: list[int]) -> str:
    return f"{'shard' if len(numbers) == 1 else 'shards'} {', '.join(map(str, sorted(numbers)))}"


def _named(statement: str, name: str) -> str:
    """A statement about a half. PostgreSQL accepts its name as a literal only. These names need no quoting."""
    return _query(statement).format(f"'{name}'")
