"""One shard as this process sees it: its batcher, a pool to read with, and whoever follows its log."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tallystick.domain import limits
from tallystick.domain.identifiers import make_identifier
from tallystick.ledger.balances import Balances
from tallystick.ledger.batcher import Batcher
from tallystick.ledger.clock import Clock
from tallystick.ledger.condition import Condition
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.fair_queue import NO_WEIGHTS
from tallystick.ledger.feed import Feed
from tallystick.ledger.pulse import Pulse
from tallystick.ledger.rounds import Rounds
from tallystick.ledger.tailer import Tailer
from tallystick.ledger.turns import Turns
from tallystick.store.cache import Cache
from tallystick.store.connection import Database, Rows
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.feed import FeedReader
from tallystick.store.reads import Reader


class _ShardDatabase(Database):
    """A shard's database, whose loss callers hear of as they do when they write; while it is silent, at once."""

    def __init__(self, shard: int, dsn: str, condition: Condition) -> None:
        super().__init__(dsn)
        self._shard = shard
        self._condition = condition

    async def rows(self, name: str, *parameters: Any) -> Rows:
        """Run a named query and fetch all of its rows; raises UnavailableError."""
        try:
            self._require_answers()
            return await super().rows(name, *parameters)
        except ShardUnavailableError as error:
            raise UnavailableError(f"shard {self._shard} cannot be read now") from error

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
    """A shard's number, its writer, its reader, its change feed, and balances that may be cached."""

    def __init__(
        self,
        number: int,
        dsn: str,
        cache: Cache | None = None,
        clock_tolerance_seconds: float = limits.CLOCK_TOLERANCE_SECONDS_DEFAULT,
        tenant_weights: Mapping[int, int] = NO_WEIGHTS,
        *,
        listeners_turns: Rounds | None = None,
    ) -> None:
        """`listeners_turns` are those of all shards of this process; without them the shard has its own."""
        self.number = number
        self.dsn = dsn
        self.condition = Condition(number)
        self.database: Database = _ShardDatabase(number, dsn, self.condition)
        self.pulse = Pulse(number, dsn, self.condition, self.database.abandon)
        self.reader = Reader(self.database)
        self.expensive_reads = Turns(limits.EXPENSIVE_READS_MAX, f"expensive reads of shard {number}")
        self.clock = Clock(number, clock_tolerance_seconds)
        self.batcher = Batcher(number, dsn, self.clock, self.condition, tenant_weights)
        self.feed = Feed(
            number,
            self.reader,
            FeedReader(self.database),
            listeners_turns or Rounds(limits.FEED_COST_PER_ROUND, 1),
        )
        self.balances = Balances(number, self.reader, cache)
        self._tailer = None if cache is None else Tailer(number, self.reader, cache)
        self.batcher.on_committed(self.feed.follower.committed)
        self.batcher.on_committed(self.balances.committed)

    async def start(self) -> None:
        """Begin to serve, or to try to connect."""
        await self.database.open()
        self.batcher.start()
        if self._tailer is not None:
            self._tailer.start()

    async def stop(self) -> None:
        """Write what waits, then close."""
        await self.pulse.stop()
        await self.batcher.stop()
        await self.feed.follower.stop()
        if self._tailer is not None:
            await self._tailer.stop()
        await self.balances.stop()
        await self.database.close()

    def identifier(self, position: int) -> int:
        """The identifier of a transaction or a hold at a position of this shard."""
        return make_identifier(self.number, position)
