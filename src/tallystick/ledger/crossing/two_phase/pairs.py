"""Two-phase commit between shards: a coordinator for each pair of them, in every process.

All commands that wait to cross between two shards, in either direction, are decided together and committed together.
As in the batcher, one task owns the connections. So a caller that goes away cancels its own waiting, never a commit.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import structlog

from tallystick.background.alarms import Alarm, raise_alarm
from tallystick.background.pauses import Backoff
from tallystick.domain import limits
from tallystick.domain.outcomes import Posted
from tallystick.ledger import metrics
from tallystick.ledger.crossing.two_phase.deciding import CrossingCommand, PairDecision
from tallystick.ledger.crossing.two_phase.writing import PairWriter
from tallystick.ledger.errors import FaultyCommandError, OverloadedError, UnavailableError
from tallystick.ledger.fair_queue import NO_WEIGHTS, FairQueue
from tallystick.ledger.request_queue import DecidedOutcome
from tallystick.ledger.shard import Shard
from tallystick.store.errors import CommitUnknownError, ShardUnavailableError, StoreError

_log = structlog.get_logger(__name__)


class _Piece(NamedTuple):
    """Some of the commands of one request, and the future of their answers."""

    crossings: Sequence[CrossingCommand]
    answers: asyncio.Future[list[DecidedOutcome]]


class Coordinator:
    """Writes transfers between two shards, for this process.

    `submit` puts commands into a bounded queue and waits. The loop `_run` writes them, batch by batch.
    """

    def __init__(self, one: Shard, other: Shard, tenant_weights: Mapping[int, int] = NO_WEIGHTS) -> None:
        self._label = "/".join(map(str, sorted((one.number, other.number))))
        self._shards = (one, other)
        self._writer = PairWriter(one, other)
        self._queue: FairQueue[_Piece] = FairQueue(limits.PIECE_COMMANDS_MAX, tenant_weights)
        self._wake = asyncio.Event()
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name=f"coordinator of shards {self._label}")

    async def submit(self, crossings: Sequence[CrossingCommand]) -> list[DecidedOutcome]:
        """Have the commands of one request decided and written on both shards; an answer for each, after that.

        Raises:
            OverloadedError: the queue is full.
            UnavailableError: a shard cannot be reached, or did not answer in time.
            FaultyCommandError: a bug refused this command; nothing was written.
        """
        if self._stopping:
            raise self._unavailable()
        tenant = crossings[0].command.tenant
        self._require_room(tenant, len(crossings))
        pieces = [self._put(tenant, piece) for piece in _pieces(crossings)]
        self._wake.set()
        try:
            async with asyncio.timeout(limits.REQUEST_TIMEOUT_SECONDS):
                return list(chain.from_iterable(await asyncio.gather(*pieces)))
        except TimeoutError:
            raise UnavailableError(f"the shards {self._label} did not answer in time") from None

    def _require_room(self, tenant: int, command_count: int) -> None:
        """Raise OverloadedError if there would be too many commands, of this tenant or of all."""
        queue = self._queue
        if (
            queue.size + command_count > limits.PAIR_QUEUE_COMMANDS_MAX
            or queue.size_of(tenant) + command_count > limits.PAIR_QUEUE_COMMANDS_PER_TENANT_MAX
        ):
            raise OverloadedError(f"{queue.size} commands wait for the shards {self._label}")

    def _put(self, tenant: int, crossings: Sequence[CrossingCommand]) -> asyncio.Future[list[DecidedOutcome]]:
        answers: asyncio.Future[list[DecidedOutcome]] = asyncio.get_running_loop().create_future()
        self._queue.put(tenant, len(crossings), _Piece(crossings, answers))
        return answers

    async def stop(self) -> None:
        """Accept no more commands, write those that wait, and close, within a time limit."""
        self._stopping = True
        self._wake.set()
        _, late = await asyncio.wait([self._task], timeout=limits.SHUTDOWN_SECONDS_MAX)
        if late:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail_queue()
        await self._writer.close()

    # The loop.

    async def _run(self) -> None:
        while await self._connect():
            await self._wake.wait()
            self._wake.clear()
            while self._writer.connected and (batch := self._take()):
                try:
                    await self._post(batch)
                except Exception as error:  # noqa: BLE001 - a bug must not leave the shards without a coordinator
                    raise_alarm(_log, Alarm.COORDINATOR_FAILED, shards=self._label, exc_info=error)
                    _fail(batch, self._unavailable())
                    await self._writer.close()
            if self._stopping and not self._queue:
                return

    async def _connect(self) -> bool:
        """Connect: try until it works, with growing pauses. False if the coordinator is stopped meanwhile."""
        backoff = Backoff(limits.RECONNECT_DELAY_SECONDS_MIN, limits.RECONNECT_DELAY_SECONDS_MAX)
        while not self._writer.connected:
            if self._stopping:
                return False
            try:
                await self._writer.connect()
            except Exception as error:  # noqa: BLE001 - nothing may end the task that writes
                self._fail_queue()
                _log.warning("shards unavailable", shards=self._label, reason=str(error))
                await asyncio.sleep(backoff.next_seconds())
        if self._queue:
            self._wake.set()
        return True

    def _take(self) -> list[_Piece]:
        """The next batch: waiting pieces up to a limit, tenants in turns, without those whose callers have gone."""
        batch: list[_Piece] = []
        count = 0
        while self._queue and count < limits.BATCH_COMMANDS_MAX:
            waiting = self._queue.take()
            if not waiting.item.answers.done():
                batch.append(waiting.item)
                count += waiting.size
        return batch

    async def _post(self, batch: list[_Piece]) -> None:
        """Write a batch and answer its requests. If it is refused as a whole, find the faulty request."""
        crossings = [crossing for waiting in batch for crossing in waiting.crossings]
        try:
            decision = await self._writer.write(crossings)
        except (ShardUnavailableError, CommitUnknownError) as error:
            _log.warning("batch failed", shards=self._label, reason=str(error))
            _fail(batch, self._unavailable())
            await self._writer.close()
        except Exception as error:  # noqa: BLE001 - after any error the other requests must be answered
            await self._post_one_by_one(batch, error)
        else:
            _answer(batch, decision)
            # So caches and followers need not wait until they read it from the logs.
            for shard in self._shards:
                shard.batcher.tell_listeners(decision.shards[shard.number])

    async def _post_one_by_one(self, batch: list[_Piece], error: Exception) -> None:
        """After a bug: fail the faulty request alone, and answer the others."""
        try:
            await self._writer.roll_back()
        except StoreError:
            _fail(batch, self._unavailable())
            await self._writer.close()
            return
        if len(batch) > 1:
            for one in batch:
                await self._post([one])
            return
        metrics.FAULTY_COMMANDS.labels(str(batch[0].crossings[0].home)).inc()
        raise_alarm(_log, Alarm.COMMAND_FAILED_ALONE, shards=self._label, exc_info=error)
        _fail(batch, FaultyCommandError("the command could not be carried out; nothing was written"))

    def _fail_queue(self) -> None:
        _fail(self._queue.clear(), self._unavailable())

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(f"the shards {self._label} cannot be written to now")


def _pieces(crossings: Sequence[CrossingCommand]) -> Iterator[Sequence[CrossingCommand]]:
    """A request in pieces, so that requests of other tenants can be written in between."""
    size = limits.PIECE_COMMANDS_MAX
    return (crossings[start : start + size] for start in range(0, len(crossings), size))


def _answer(batch: Sequence[_Piece], decision: PairDecision) -> None:
    """Answer the requests of a committed batch."""
    outcomes = iter(decision.outcomes)
    for waiting in batch:
        answers = [
            DecidedOutcome(next(outcomes), decision.shards[home], decision.other(home))
            for home, _ in waiting.crossings
        ]
        if not waiting.answers.done():
            waiting.answers.set_result(answers)
        for (home, _), answer in zip(waiting.crossings, answers, strict=True):
            outcome = answer.outcome
            name = "posted" if isinstance(outcome, Posted) else outcome.code.text
            metrics.OUTCOMES.labels(str(home), name).inc()


def _fail(batch: Sequence[_Piece], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answers.done():
            waiting.answers.set_exception(error)
