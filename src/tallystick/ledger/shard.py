"""One shard as this process sees it: its batcher, and a pool to read with."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, LiteralString

from tallystick.domain import limits
from tallystick.domain.identifiers import make_identifier
from tallystick.ledger.batcher import Batcher
from tallystick.ledger.clock import Clock
from tallystick.ledger.condition import Condition
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.fair_queue import NO_WEIGHTS
from tallystick.ledger.pulse import Pulse
from tallystick.ledger.traced import TracedBatcher
from tallystick.ledger.turns import Turns
from tallystick.store.connection import Database, Rows
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.reads import Reader

if TYPE_CHECKING:
    from tallystick.background.tracing import Tracing


class _ShardDatabase(Database):
    """A shard's database, with the same errors for reads as for writes.

    While the shard is silent, reads fail at once.
    """

    def __init__(self, shard: int, dsn: str, condition: Condition) -> None:
        super().__init__(dsn)
        self._shard = shard
        self._condition = condition

    async def fetch(self, statement: LiteralString, *parameters: Any) -> Rows:
        """Run a statement and fetch all of its rows; raises UnavailableError."""
        try:
            self._require_answers()
            return await super().fetch(statement, *parameters)
        except ShardUnavailableError as error:
            raise UnavailableError(f"shard {self._shard} cannot be read now") from error

    async def write(self, name: str, *parameters: Any) -> Rows:
        """Run a named query that writes beside the log; raises UnavailableError."""
        try:
            self._require_answers()
            return await super().write(name, *parameters)
        except ShardUnavailableError as error:
            raise UnavailableError(f"shard {self._shard} cannot be written to now") from error

    async def await_standbys(self) -> None:
        """Wait until what was read before is on the synchronous standbys; raises UnavailableError."""
        try:
            self._require_answers()
            await super().await_standbys()
        except ShardUnavailableError as error:
            raise UnavailableError(f"the standbys of shard {self._shard} do not answer now") from error

    @asynccontextmanager
    async def holding(self, name: str) -> AsyncIterator[None]:
        """Hold the lock that a named query takes until the end of the block, or of the connection."""
        self._require_answers()
        async with super().holding(name):
            yield

    def _require_answers(self) -> None:
        if self._condition.silent:
            raise ShardUnavailableError("it does not answer")


class Shard:
    """A shard's number, its writer and its reader."""

    def __init__(
        self,
        number: int,
        dsn: str,
        clock_tolerance_seconds: float = limits.CLOCK_TOLERANCE_SECONDS_DEFAULT,
        tenant_weights: Mapping[int, int] = NO_WEIGHTS,
        tracing: "Tracing | None" = None,
    ) -> None:
        self.number = number
        self.dsn = dsn
        self.condition = Condition(number)
        self.database: Database = _ShardDatabase(number, dsn, self.condition)
        self.pulse = Pulse(number, dsn, self.condition, self._abandon_connections)
        self.reader = Reader(self.database)
        self.expensive_reads = Turns(limits.EXPENSIVE_READS_MAX, f"expensive reads of shard {number}")
        self.clock = Clock(number, clock_tolerance_seconds)
        make = Batcher if tracing is None else partial(TracedBatcher, tracing=tracing)
        self.batcher = make(number, dsn, self.clock, self.condition, tenant_weights)

    async def start(self) -> None:
        """Begin to connect and serve."""
        await self.database.open()
        self.batcher.start()

    async def stop(self) -> None:
        """Write the commands that wait, then close."""
        await self.pulse.stop()
        await self.batcher.stop()
        await self._stop_followers()
        await self.database.close()

    async def _abandon_connections(self) -> None:
        """Close the connections of a shard that does not answer. Another of its servers may be the primary soon."""
        self.batcher.abandon_connections()
        await self.database.abandon()

    async def _stop_followers(self) -> None:
        """Stop the followers of the log. It is no longer written, and can still be read."""

    def identifier(self, position: int) -> int:
        """The identifier of a transaction or a hold at a position of this shard."""
        return make_identifier(self.number, position)
