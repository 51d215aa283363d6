"""The resolver: ends prepared transactions of coordinators that died, so that the logs of their shards continue.

Every process runs one; several at once are harmless. It never guesses: it records the decision not to commit, unless
the coordinator has recorded a decision before, and then ends each half as decided.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog

from tallystick.background.alarms import Alarm, raise_alarm
from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.ledger import metrics
from tallystick.ledger.crossing.two_phase.databases import (
    PairBatch,
    PairLogWriter,
    PreparedHalf,
    prepared_halves,
)
from tallystick.ledger.errors import NotTakenError
from tallystick.ledger.shard import Shard
from tallystick.ledger.shard_workers import ShardWorkers
from tallystick.store.errors import ShardUnavailableError, StoreError

_log = structlog.get_logger(__name__)

_NAME: Final = "resolver of prepared transactions"


class Resolver:
    """Ends prepared transactions that were left on the shards of this process."""

    def __init__(self, shards: Callable[[], Sequence[Shard]]) -> None:
        """`shards` returns the current shards. Shards may be added at any time."""
        self._shards = shards
        self._workers = ShardWorkers(_NAME, shards, self._worker)
        self._next_alarm_at: dict[str, float] = {}

    def start(self) -> None:
        """Begin to check."""
        self._workers.start()

    async def stop(self) -> None:
        """Stop checking."""
        await self._workers.stop()

    def _worker(self, shard: Shard) -> Worker:
        return Worker(
            _NAME,
            partial(self._look, shard),
            interval_seconds=limits.PREPARED_LOOK_SECONDS,
            expected=(StoreError, NotTakenError),
            shard=shard.number,
        )

    async def _look(self, shard: Shard) -> None:
        """End transactions that one shard has kept prepared for too long."""
        for half in await prepared_halves(shard.database):
            if half.age_seconds >= limits.PREPARED_AGE_SECONDS_MAX:
                await self._end(shard, half)

    async def _end(self, shard: Shard, half: PreparedHalf) -> None:
        """Read the decision, or record one, and carry it out."""
        batch = half.batch
        log = _log.bind(shard=shard.number, batch=str(batch), age_seconds=round(half.age_seconds, 1))
        try:
            committed = await self._decided(batch)
            async with _connected(shard) as writer:
                await writer.end(batch.half(shard.number), commit=committed)
        except StoreError as error:
            if self._alarm_is_due(half):
                raise_alarm(log, Alarm.PREPARED_BATCH_BLOCKS, reason=str(error))
            raise
        metrics.PREPARED_RESOLVED.labels(str(shard.number), "committed" if committed else "rolled back").inc()
        log.warning("ended what was left prepared", committed=committed)

    async def _decided(self, batch: PairBatch) -> bool:
        """Whether a batch is to be committed, as decided before or now."""
        deciding = next((shard for shard in self._shards() if shard.number == batch.low), None)
        if deciding is None:
            raise ShardUnavailableError(f"shard {batch.low}, which decides, is not configured here")
        async with _connected(deciding) as writer:
            return await writer.decide(batch, commit=False)

    def _alarm_is_due(self, half: PreparedHalf) -> bool:
        """Whether it is time to raise an alarm, or to repeat it, because a batch cannot be ended."""
        name, now = str(half.batch), time.monotonic()
        if half.age_seconds < limits.PREPARED_ALARM_SECONDS or now < self._next_alarm_at.get(name, 0.0):
            return False
        self._next_alarm_at = {one: at for one, at in self._next_alarm_at.items() if at > now}
        self._next_alarm_at[name] = now + limits.PREPARED_ALARM_SECONDS
        return True


@asynccontextmanager
async def _connected(shard: Shard) -> AsyncIterator[PairLogWriter]:
    """A short-lived connection, because there is seldom anything to end."""
    writer = PairLogWriter(shard.dsn, shard.number)
    try:
        await writer.reconnect()
        yield writer
    finally:
        await writer.close()
