"""The batcher: all commands that wait for a shard are decided together and committed once.

One task owns the connection that writes. Requests only wait for its answers. So a caller that goes away cancels its
own waiting, never a COMMIT.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple, NoReturn

import structlog

from tallystick.background.alarms import Alarm, AlarmRate, raise_alarm
from tallystick.background.pauses import Backoff
from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.domain.commands import Command
from tallystick.domain.decide import Atomic, Decision
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.outcomes import Outcome, Posted, Unserved
from tallystick.domain.rules.accounts import IdentifierTakenError
from tallystick.ledger import metrics
from tallystick.ledger.clock import Clock, ClockError
from tallystick.ledger.condition import Condition, State
from tallystick.ledger.errors import FaultyCommandError, UnavailableError
from tallystick.ledger.fair_queue import NO_WEIGHTS, Queued
from tallystick.ledger.request_queue import DecidedOutcome, Piece, RequestQueue
from tallystick.ledger.writing import BatchWriter, Decided
from tallystick.store.errors import CommitUnknownError, ShardUnavailableError, StoreError

_log = structlog.get_logger(__name__)


class Batch(NamedTuple):
    """Commands that are written together, and the decision about them if it was made ahead."""

    waiting: list[Queued[Piece]]
    ahead: Decided | None = None

    @property
    def units(self) -> list[Command | Atomic]:
        """All commands of the batch, in order."""
        return [unit for waiting in self.waiting for unit in waiting.item.units]


class Written(NamedTuple):
    """A committed batch, and the requests of it that wait for an answer."""

    waiting: list[Queued[Piece]]
    decision: Decision


class Batcher:
    """Writes one shard's log for this process.

    `submit` puts commands into a bounded queue, which tenants share fairly, and waits. The loop `_run` writes them,
    batch by batch.
    """

    def __init__(
        self,
        shard: int,
        dsn: str,
        clock: Clock,
        condition: Condition,
        tenant_weights: Mapping[int, int] = NO_WEIGHTS,
    ) -> None:
        """`condition` is the shard's condition: the batcher reports to it and reads it.

        Tenants without a weight have weight 1.
        """
        self._shard = shard
        self._condition = condition
        # The time at which the current batch was begun.
        self._writing_since: float | None = None
        self._look_ahead = asyncio.Event()
        self._writer = BatchWriter(shard, dsn, clock, self._look_ahead.set, self._lost)
        self._queue = RequestQueue(shard, tenant_weights)
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._stopping = False
        # Batches that were taken from the queue and are not answered yet: the current one, and one decided ahead.
        self._taken: list[Queued[Piece]] = []
        self._task: asyncio.Task[None] | None = None
        self._deadlines = Worker(
            "deadlines", self._look, interval_seconds=limits.DEADLINE_CHECK_SECONDS, shard=shard
        )
        self._listeners: list[Callable[[Decision], None]] = []
        self._alarms = AlarmRate()
        label = str(shard)
        self._batch_commands = metrics.BATCH_COMMANDS.labels(label)
        self._batch_seconds = metrics.BATCH_SECONDS.labels(label)
        self._faulty = metrics.FAULTY_COMMANDS.labels(label)

    @property
    def available(self) -> bool:
        """Whether commands are accepted: the shard answers, or was lost and not yet tried again."""
        return self._writer.reachable and not self._condition.silent and not self._stopping

    @property
    def is_shared(self) -> bool:
        """Whether several tenants have used the shard a short time ago."""
        return self._queue.is_shared

    @property
    def derivation(self) -> Derivation:
        """The inputs for deriving accounts that the ledger opens by itself; raises UnavailableError."""
        try:
            return self._writer.derivation
        except ShardUnavailableError:
            raise self._unavailable() from None

    @property
    def responsive(self) -> bool:
        """Whether an answer may come soon: commands are accepted, and none waits for long."""
        return self.available and self._writing_seconds() < limits.KEY_CLAIM_SECONDS_MAX

    def _writing_seconds(self) -> float:
        return 0.0 if self._writing_since is None else time.monotonic() - self._writing_since

    def on_committed(self, listener: Callable[[Decision], None]) -> None:
        """Call a listener with every batch after its commit, in the order of the log. It must be quick.

        A batch that was committed on two shards at once may come late, after later batches.
        """
        self._listeners.append(listener)

    def tell_listeners(self, decision: Decision) -> None:
        """Call the listeners with a committed batch.

        One that another writer of this process wrote may be out of order.
        """
        for listener in self._listeners:
            try:
                listener(decision)
            except Exception as error:  # noqa: BLE001 - a listener must not harm the writer
                raise_alarm(_log, Alarm.LISTENER_FAILED, shard=self._shard, exc_info=error)

    async def connected(self) -> None:
        """Wait until the shard can be written to.

        Raises:
            UnavailableError: the shard could not be reached in time.
        """
        try:
            await asyncio.wait_for(self._writer.ready.wait(), limits.CONNECT_TIMEOUT_SECONDS)
        except TimeoutError:
            raise self._unavailable() from None

    async def tried(self) -> None:
        """Wait until the first attempt to connect has ended, or takes too long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), limits.FIRST_CONNECT_SECONDS_MAX)

    def start(self) -> None:
        """Start the loop, which connects and writes."""
        self._task = asyncio.create_task(self._run(), name=f"batcher of shard {self._shard}")
        self._deadlines.start()

    async def stop(self) -> None:
        """Accept no more commands, write those that wait, and close, within a time limit."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            _, late = await asyncio.wait([self._task], timeout=limits.SHUTDOWN_SECONDS_MAX)
            if late:
                _log.warning("batcher stopped before its queue was empty", shard=self._shard)
                # First, so that there is no COMMIT that would be cancelled together with its task.
                self._writer.abandon_connections()
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._deadlines.stop()
        _fail(self._taken, self._unavailable())
        self._fail_queue()
        await self._writer.close()

    async def submit(
        self, units: Sequence[Command | Atomic], *, of_saga: bool = False
    ) -> list[DecidedOutcome]:
        """Decide and write the commands of one request. Returns an answer for each, after the commit.

        Steps of sagas (`of_saga`) are accepted even if the queue is full for others, because they release
        reservations.

        Raises:
            OverloadedError: the queue is full.
            UnavailableError: the shard cannot be reached, or did not answer in time.
            FaultyCommandError: a bug refused this command; nothing was written.
        """
        if not self.available:
            self._count_unserved(1)
            raise self._unavailable()
        answers = self._queue.put(units, of_saga=of_saga)
        self._wake.set()
        if self._queue.command_count >= limits.AHEAD_COMMANDS_MIN:
            self._look_ahead.set()
        return await answers

    def room_of(self, tenant: int) -> int:
        """The number of further commands of a tenant that may wait."""
        return self._queue.room_of(tenant)

    def refuse_overloaded(self) -> NoReturn:
        """Raise OverloadedError: too many commands wait."""
        self._queue.refuse_overloaded()

    def abandon_connections(self) -> None:
        """Close the connections at once. A batch that is being written is written again, or looked up in the log."""
        self._writer.abandon_connections()

    def _written(self, _: object) -> None:
        self._writing_since = None

    def _lost(self) -> None:
        # While a batch is being written, its writer notices the loss, and handles it.
        if not self._taken:
            self._writer.disconnected()
            self._wake.set()

    # The loop.

    async def _run(self) -> None:
        while await self._connect():
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._write_all()
            except Exception as error:  # noqa: BLE001 - a bug must not leave the shard without its batcher
                raise_alarm(_log, Alarm.BATCHER_FAILED, shard=self._shard, exc_info=error)
                self._writer.disconnected()
                _fail(self._taken, self._unavailable())
            if self._stopping and not self._queue:
                return

    async def _write_all(self) -> None:
        """Write batches until no command waits, or the connection is lost."""
        batch = self._take()
        written: Written | None = None
        while batch.waiting and self._writer.connected:
            self._writing_since = time.monotonic()
            writing = asyncio.create_task(self._post(batch), name=f"batch of shard {self._shard}")
            writing.add_done_callback(self._written)
            # Let the next batch begin before callers that got their answers send more.
            await asyncio.sleep(0)
            try:
                self._answer(written)
                following = await self._decide_ahead(writing)
                written = await writing
            except asyncio.CancelledError:
                # The batcher stops, and has closed its connections.
                writing.cancel()
                await asyncio.wait([writing])
                raise
            except Exception:
                # A bug. But the current batch must end before a new connection is opened.
                await asyncio.wait([writing])
                raise
            batch = following or self._take()
        self._answer(written)
        self._put_back(batch)

    async def _connect(self) -> bool:
        """Connect: try until it works, with growing pauses. False if the batcher is stopped meanwhile."""
        backoff = Backoff(limits.RECONNECT_DELAY_SECONDS_MIN, limits.RECONNECT_DELAY_SECONDS_MAX)
        while not self._writer.connected:
            if self._stopping:
                return False
            try:
                await self._writer.connect()
            except Exception as error:  # noqa: BLE001 - nothing may end the task that writes
                why = (
                    "clocks differ by too much"
                    if isinstance(error, ClockError)
                    else "it cannot be connected to"
                )
                self._condition.begins(State.AWAY, why)
                self._fail_queue()
                say = _log.error if isinstance(error, ClockError) else _log.warning
                say("shard unavailable", shard=self._shard, reason=str(error))
                self._tried.set()
                await asyncio.sleep(backoff.next_seconds())
        self._condition.is_over(State.AWAY)
        self._tried.set()
        return True

    async def _look(self) -> None:
        """End requests that wait too long. One check each second costs less than a timer for each request."""
        now = time.monotonic()
        if self._writing_seconds() > limits.WRITING_SECONDS_MAX:
            self._condition.begins(State.FAILING, "what is being written does not end")
        self._condition.forget_old_failures()
        requests = {piece.request for piece in (*(taken.item for taken in self._taken), *self._queue)}
        late = [one for one in requests if one.deadline < now and not one.answers.done()]
        for request in late:
            request.fail(UnavailableError(f"shard {self._shard} did not answer in time"))
        self._count_unserved(len(late))

    def _take(self) -> Batch:
        """The next batch."""
        self._taken = self._queue.take()
        return Batch(self._taken)

    def _put_back(self, batch: Batch) -> None:
        """Put a batch that was not begun back to the front of the queue."""
        self._queue.put_back(batch.waiting)
        self._taken = []
        if self._queue:
            self._wake.set()

    async def _decide_ahead(self, writing: asyncio.Task[Written | None]) -> Batch | None:
        """While a batch is being written, decide the next one, if enough commands wait."""
        writing.add_done_callback(lambda _: self._look_ahead.set())
        while not writing.done():
            if self._writer.may_decide_ahead and self._queue.is_worth_deciding_ahead:
                being_written = self._taken
                batch = self._take()
                self._taken = [*being_written, *batch.waiting]
                return batch._replace(ahead=await self._writer.decide_ahead(batch.units))
            self._look_ahead.clear()
            await self._look_ahead.wait()
        return None

    async def _post(self, batch: Batch) -> Written | None:
        """Write a batch.

        If it is refused as a whole, find the faulty request. None: all requests are answered already.
        """
        started = time.perf_counter()
        try:
            decision = await self._writer.write(batch.units, batch.ahead)
        except (ShardUnavailableError, CommitUnknownError) as error:
            self._writer.disconnected()
            why = f"with SQLSTATE {error.sqlstate}" if error.sqlstate else "without a code"
            self._condition.begins(State.FAILING, f"what was written last failed {why}")
            _log.warning("batch failed", shard=self._shard, reason=str(error))
            _fail(batch.waiting, self._unavailable())
            return None
        except Exception as error:  # noqa: BLE001 - after any error the other requests must be answered
            await self._post_one_by_one(batch.waiting, error)
            return None
        self._condition.is_over(State.FAILING)
        self._batch_commands.observe(len(decision.outcomes))
        self._batch_seconds.observe(time.perf_counter() - started)
        return Written(batch.waiting, decision)

    async def _post_one_by_one(self, waiting: list[Queued[Piece]], error: Exception) -> None:
        """After a bug, or a random identifier that was in use: fail the faulty request alone, and answer others."""
        try:
            await self._writer.roll_back()
        except StoreError:
            self._writer.disconnected()
            _fail(waiting, self._unavailable())
            return
        if len(waiting) > 1:
            for piece in waiting:
                self._answer(await self._post(Batch([piece])))
            return
        if isinstance(error, IdentifierTakenError):
            _fail(waiting, error)
            return
        self._faulty.inc()
        raise_alarm(_log, Alarm.COMMAND_FAILED_ALONE, self._alarms, shard=self._shard, exc_info=error)
        _fail(waiting, FaultyCommandError("a command could not be carried out; it was not written"))

    # Answers.

    def _answer(self, written: Written | None) -> None:
        """Answer the requests of a committed batch, and call the listeners."""
        if written is None:
            return
        decision = written.decision
        answers = iter([DecidedOutcome(outcome, decision) for outcome in decision.outcomes])
        for waiting in written.waiting:
            waiting.item.request.answer(list(islice(answers, waiting.size)))
        self._count(decision.outcomes)
        self.tell_listeners(decision)

    def _fail_queue(self) -> None:
        self._queue.fail_all(self._unavailable())

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(f"shard {self._shard} cannot be written to now")

    def _count(self, outcomes: Iterable[Outcome]) -> None:
        counts: dict[str, int] = {}
        for outcome in outcomes:
            name = "posted" if isinstance(outcome, Posted) else outcome.code.text
            counts[name] = counts.get(name, 0) + 1
        for name, count in counts.items():
            metrics.OUTCOMES.labels(str(self._shard), name).inc(count)

    def _count_unserved(self, request_count: int) -> None:
        if request_count:
            metrics.UNSERVED.labels(str(self._shard), Unserved.SHARD_UNAVAILABLE.value).inc(request_count)


def _fail(batch: Sequence[Queued[Piece]], error: Exception) -> None:
    for waiting in batch:
        waiting.item.request.fail(error)
