"""Writes transfers between two shards: a batch on both, prepared on both, decided once, ended on both.

That a batch is to be committed is decided here only, after both halves are prepared. So whoever finds a half that
nobody ends may have it decided that it is not, if nothing was decided before: see `resolver`.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import structlog

from tallystick.background.pauses import Backoff
from tallystick.domain import limits
from tallystick.domain.canonical import EncodedBatch, chain, encode
from tallystick.domain.decide import Decision
from tallystick.domain.needs import Needs
from tallystick.domain.rows import BatchRow
from tallystick.domain.snapshot import Snapshot
from tallystick.ledger import metrics
from tallystick.ledger.crossing.two_phase.databases import PairBatch, PairLogWriter
from tallystick.ledger.crossing.two_phase.deciding import CrossingCommand, PairDecision, decide_pair, needs_of
from tallystick.ledger.shard import Shard
from tallystick.store.errors import BatchRejectedError, CommitUnknownError, ShardUnavailableError

_TOKEN_BYTES: Final = 16

Result = TypeVar("Result")
_log = structlog.get_logger(__name__)


class _Half(NamedTuple):
    """The part of a batch that one shard appends."""

    side: "_Side"
    row: BatchRow
    rows: EncodedBatch


class _Side:
    """One of the two shards, and the connection over which its halves are written."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard.number
        self.writer = PairLogWriter(shard.dsn, shard.number)
        self._clock = shard.clock

    async def read(self, needs: Needs) -> tuple[Snapshot, int]:
        """The states needed, as of the head, and the time of the batch in microseconds."""
        asked_at_us = self._clock.own_us()
        head, database_us, loaded = await self.writer.read(needs)
        now_us = self._clock.recorded_at_us(database_us, head.recorded_at_us, asked_at_us)
        snapshot = Snapshot(
            self.writer.derivation,
            head,
            loaded.accounts,
            loaded.holds,
            loaded.sagas,
            loaded.originals,
            loaded.requests,
        )
        return snapshot, now_us

    def half(self, snapshot: Snapshot, now_us: int, decision: Decision) -> _Half | None:
        """The rows to append here; None if there are none."""
        if not (decision.appended.transactions or decision.appended.requests):
            return None
        head = snapshot.head
        rows = encode(decision.appended)
        return _Half(self, chain(head.hash, head.number + 1, decision.last_position, now_us, rows), rows)


class PairWriter:
    """Writes the batches of two shards for this process. Not for concurrent use."""

    def __init__(self, one: Shard, other: Shard) -> None:
        low, high = sorted((one, other), key=lambda shard: shard.number)
        self._low, self._high = _Side(low), _Side(high)
        self._label = f"{low.number}/{high.number}"
        self.connected = False

    async def connect(self) -> None:
        """Connect to both, or connect again.

        Raises:
            ShardUnavailableError: one of them cannot be reached.
        """
        self.connected = False
        await _all(self._low.writer.reconnect(), self._high.writer.reconnect())
        self.connected = True

    async def close(self) -> None:
        """Close the connections. The servers roll back transactions that are not prepared."""
        self.connected = False
        await _all(self._low.writer.close(), self._high.writer.close())

    async def roll_back(self) -> None:
        """Roll back a batch that was refused.

        Raises:
            ShardUnavailableError: a connection is gone.
        """
        await _all(self._low.writer.roll_back(), self._high.writer.roll_back())

    async def write(self, crossings: Sequence[CrossingCommand]) -> PairDecision:
        """Write a batch. If a connection is lost meanwhile, find out its result, or write it again.

        Raises:
            ShardUnavailableError, CommitUnknownError: PostgreSQL cannot be reached.
            BatchRejectedError: it refused the rows; roll back.
        """
        for _ in range(limits.WRITE_ATTEMPTS_MAX - 1):
            try:
                return await self._write(crossings)
            except ShardUnavailableError as error:
                _log.warning("writing the batch again", shards=self._label, reason=str(error))
                await self.connect()
        return await self._write(crossings)

    async def _write(self, crossings: Sequence[CrossingCommand]) -> PairDecision:
        low, high = self._low, self._high
        # In the order of their numbers, so that no two processes wait in a circle.
        await low.writer.begin_after()
        async with _bounded():
            await high.writer.begin_after()
            (low_seen, low_us), (high_seen, high_us) = await _all(
                low.read(needs_of(crossings, low.writer.derivation, high.shard)),
                high.read(needs_of(crossings, high.writer.derivation, low.shard)),
            )
            decision = decide_pair(low_seen, high_seen, crossings, (low_us, high_us))
            halves = [
                half
                for half in (
                    low.half(low_seen, low_us, decision.shards[low.shard]),
                    high.half(high_seen, high_us, decision.shards[high.shard]),
                )
                if half is not None
            ]
            await _all(*(half.side.writer.append(half.row, half.rows) for half in halves))
        await self._commit(halves)
        return decision

    # The two phases.

    async def _commit(self, halves: list[_Half]) -> None:
        """Commit on both shards, or on the only one with rows to append."""
        batch = PairBatch(self._low.shard, self._high.shard, secrets.token_hex(_TOKEN_BYTES))
        writing = [half.side for half in halves]
        idle = [side for side in (self._low, self._high) if side not in writing]
        try:
            async with _bounded():
                await _all(
                    *(side.writer.prepare(batch.half(side.shard)) for side in writing),
                    *(side.writer.commit_nothing() for side in idle),
                )
        except (BatchRejectedError, CommitUnknownError, ShardUnavailableError) as error:
            await self._abandon(batch, writing)
            if isinstance(error, BatchRejectedError):
                raise
            raise ShardUnavailableError(f"not prepared on both shards: {error}") from error
        if not writing:
            return
        committed = await self._until_known(self._low, lambda writer: writer.decide(batch, commit=True))
        if not committed:
            await self._abandon(batch, writing)
            raise ShardUnavailableError("it was prepared for so long that it was given up")
        await _all(
            *(
                self._until_known(side, partial(_end_committed, name=batch.half(side.shard)))
                for side in writing
            )
        )
        for half in halves:
            metrics.HEAD_POSITION.labels(str(half.side.shard)).set(half.row.last_position)

    async def _abandon(self, batch: PairBatch, sides: Sequence[_Side]) -> None:
        """Roll back halves of a batch that will not be committed. The resolver ends those that remain."""

        async def roll_back(side: _Side) -> None:
            with suppress(ShardUnavailableError):
                await side.writer.reconnect()
                await side.writer.end(batch.half(side.shard), commit=False)

        await _all(*(roll_back(side) for side in sides))

    async def _until_known(self, side: _Side, ask: Callable[[PairLogWriter], Awaitable[Result]]) -> Result:
        """Ask a shard, until it answers, for a fact that must be known before any request is answered.

        Raises:
            CommitUnknownError: it took too long.
        """
        deadline = time.monotonic() + limits.COMMIT_RESOLUTION_SECONDS_MAX
        backoff = Backoff(limits.RECONNECT_DELAY_SECONDS_MIN, limits.RECONNECT_DELAY_SECONDS_MAX)
        counted = False
        while True:
            try:
                return await ask(side.writer)
            except Exception as error:
                # After any error, the batch stays unknown until the shard has answered.
                if not counted:
                    metrics.COMMITS_UNKNOWN.labels(str(side.shard)).inc()
                    counted = True
                _log.warning("commit unknown, asking again", shard=side.shard, reason=str(error))
                if time.monotonic() > deadline:
                    raise CommitUnknownError(str(error)) from error
            await asyncio.sleep(backoff.next_seconds())
            with suppress(ShardUnavailableError):
                await side.writer.reconnect()


async def _end_committed(writer: PairLogWriter, name: str) -> None:
    await writer.end(name, commit=True)


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    """A time limit, so that a slow or lost shard does not block the log of the other for long."""
    try:
        async with asyncio.timeout(limits.PAIR_LOCKS_SECONDS_MAX):
            yield
    except TimeoutError as error:
        raise ShardUnavailableError("one of the shards did not answer in time") from error


async def _all(*awaitables: Coroutine[Any, Any, Any]) -> list[Any]:
    """Wait for all, and only then raise an error: a lost connection before a refusal."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise min(failures, key=lambda failure: isinstance(failure, BatchRejectedError))
    return results
