"""The batcher: everything that waits for a shard is decided together and committed once.

One task owns the connection that writes. Requests only wait for its answer, so a caller that goes away
cancels its waiting, never a COMMIT.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn

import structlog

from tallystick.background.alarms import AlarmRate
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


class _Batch(NamedTuple):
    """What is written together, and what was decided about it ahead of its turn."""

    waiting: list[Queued[Piece]]
    ahead: Decided | None = None

    @property
    def units(self) -> list[Command | Atomic]:
        """All commands of the batch, in order."""
        return [unit for waiting in self.waiting for unit in waiting.item.units]


class _Written(NamedTuple):
    """A batch that is committed, and who of it waits for an answer."""

    waiting: list[Queued[Piece]]
    decision: Decision


class Batcher:
    """Writes one shard's log for this process.

    `submit` puts commands in a bounded queue, which tenants share fairly, and waits; `_run` is the loop that writes
    them, batch by batch.
    """

    def __init__(
        self,
        shard: int,
        dsn: str,
        clock: Clock,
        condition: Condition,
        tenant_weights: Mapping[int, int] = NO_WEIGHTS,
    ) -> None:
        """`condition` is told how the shard is, and tells. Tenants whose weight is not told have weight 1."""
        self._shard = shard
        self._condition = condition
        # When the batch that is being written was begun.
        self._writing_since: float | None = None
        self._look_ahead = asyncio.Event()
        self._writer = BatchWriter(shard, dsn, clock, self._look_ahead.set, self._lost)
        self._queue = RequestQueue(shard, tenant_weights)
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._stopping = False
        # What was taken from the queue and not answered yet: being written, and decided ahead.
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

    @property
    def available(self) -> bool:
        """Whether commands are taken: the shard answers, or was lost and not yet tried again."""
        return self._writer.reachable and not self._condition.silent and not self._stopping

    @property
    def derivation(self) -> Derivation:
        """What the accounts follow from that the ledger opens by itself; raises UnavailableError."""
        try:
            return self._writer.derivation
        except ShardUnavailableError:
            raise self._unavailable() from None

    @property
    def responsive(self) -> bool:
        """Whether an answer may come soon: commands are taken, and none waits for long."""
        return self.available and self._writing_seconds() < limits.KEY_CLAIM_SECONDS_MAX

    def _writing_seconds(self) -> float:
        return 0.0 if self._writing_since is None else time.monotonic() - self._writing_since

    def on_committed(self, listener: Callable[[Decision], None]) -> None:
        """Have a listener told of every batch after its commit, in the order of the log. It must be quick.

        What was committed on two shards at once may come late, after what was written behind it.
        """
        self._listeners.append(listener)

    def tell_listeners(self, decision: Decision) -> None:
        """Tell them of what was committed; also what somebody else of this process wrote, then maybe out of order."""
        for listener in self._listeners:
            try:
                listener(decision)
            except Exception as error:  # noqa: BLE001 - who listens must not harm who writes
                _log.error("ALARM: a listener failed", shard=self._shard, exc_info=error)

    async def connected(self) -> None:
        """Wait until the shard can be written to.

        Raises:
            UnavailableError: it could not be reached in time.
        """
        try:
            await asyncio.wait_for(self._writer.ready.wait(), limits.CONNECT_TIMEOUT_SECONDS)
        except TimeoutError:
            raise self._unavailable() from None

    async def tried(self) -> None:
        """Wait until it was found out whether the shard can be reached, or until that takes too long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), limits.FIRST_CONNECT_SECONDS_MAX)

    def start(self) -> None:
        """Begin to write, or to try to connect."""
        self._task = asyncio.create_task(self._run(), name=f"batcher of shard {self._shard}")
        self._deadlines.start()

    async def stop(self) -> None:
        """Take no more, write what waits, and close; bounded in time."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            _, late = await asyncio.wait([self._task], timeout=limits.SHUTDOWN_SECONDS_MAX)
            if late:
                _log.warning("batcher stopped before its queue was empty", shard=self._shard)
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._deadlines.stop()
        self._fail_queue()
        await self._writer.close()

    async def submit(
        self, units: Sequence[Command | Atomic], *, of_saga: bool = False
    ) -> list[DecidedOutcome]:
        """Have the commands of one request decided and written; an answer for each, after the commit.

        Steps of sagas (`of_saga`) find room in a queue that is full for others: they free what those reserved.

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
        """How many more commands of a tenant may wait."""
        return self._queue.room_of(tenant)

    def refuse_overloaded(self) -> NoReturn:
        """Say that too many commands wait; raises OverloadedError."""
        self._queue.refuse_overloaded()

    def _written(self, _: object) -> None:
        self._writing_since = None

    def _lost(self) -> None:
        # While a batch is being written, who writes it finds out, and knows what it means.
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
                _log.error("ALARM: the batcher failed", shard=self._shard, exc_info=error)
                self._writer.disconnected()
                _fail(self._taken, self._unavailable())
            if self._stopping and not self._queue:
                return

    async def _write_all(self) -> None:
        """Write batch after batch until nothing waits, or the connection is lost."""
        batch = self._take()
        written: _Written | None = None
        while batch.waiting and self._writer.connected:
            self._writing_since = time.monotonic()
            writing = asyncio.create_task(self._post(batch), name=f"batch of shard {self._shard}")
            writing.add_done_callback(self._written)
            # Let it begin, before those who got their answers ask for more.
            await asyncio.sleep(0)
            try:
                self._answer(written)
                following = await self._decide_ahead(writing)
            except Exception:
                # A bug; but what is on its way must end before anybody connects anew.
                await asyncio.wait([writing])
                raise
            written = await writing
            batch = following or self._take()
        self._answer(written)
        self._put_back(batch)

    async def _connect(self) -> bool:
        """Be connected: try until it works, with growing pauses. False when stopped meanwhile."""
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
        """Let nobody wait for ever: one look a second costs less than a timer for each request."""
        now = asyncio.get_running_loop().time()
        if self._writing_seconds() > limits.WRITING_SECONDS_MAX:
            self._condition.begins(State.FAILING, "what is being written does not end")
        self._condition.forget_old_failures()
        requests = {piece.request for piece in (*(taken.item for taken in self._taken), *self._queue)}
        late = [one for one in requests if one.deadline < now and not one.answers.done()]
        for request in late:
            request.fail(UnavailableError(f"shard {self._shard} did not answer in time"))
        self._count_unserved(len(late))

    def _take(self) -> _Batch:
        """The next batch."""
        self._taken = self._queue.take()
        return _Batch(self._taken)

    def _put_back(self, batch: _Batch) -> None:
        """Let a batch that was not begun wait again, before all others."""
        self._queue.put_back(batch.waiting)
        self._taken = []
        if self._queue:
            self._wake.set()

    async def _decide_ahead(self, writing: asyncio.Task[_Written | None]) -> _Batch | None:
        """While a batch is being written, decide the next one, if enough waits to make one."""
        writing.add_done_callback(lambda _: self._look_ahead.set())
        while not writing.done():
            if self._writer.may_decide_ahead and self._queue.command_count >= limits.AHEAD_COMMANDS_MIN:
                being_written = self._taken
                batch = self._take()
                self._taken = [*being_written, *batch.waiting]
                return batch._replace(ahead=await self._writer.decide_ahead(batch.units))
            self._look_ahead.clear()
            await self._look_ahead.wait()
        return None

    async def _post(self, batch: _Batch) -> _Written | None:
        """Write a batch; if it is refused as a whole, find out who is at fault. None: all were told already."""
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
        except Exception as error:  # noqa: BLE001 - whatever it is, its neighbours must be answered
            await self._post_one_by_one(batch.waiting, error)
            return None
        self._condition.is_over(State.FAILING)
        self._batch_commands.observe(len(decision.outcomes))
        self._batch_seconds.observe(time.perf_counter() - started)
        return _Written(batch.waiting, decision)

    async def _post_one_by_one(self, waiting: list[Queued[Piece]], error: Exception) -> None:
        """A bug, or an identifier drawn twice: the faulty request fails alone, its neighbours are answered."""
        try:
            await self._writer.roll_back()
        except StoreError:
            self._writer.disconnected()
            _fail(waiting, self._unavailable())
            return
        if len(waiting) > 1:
            for one in waiting:
                self._answer(await self._post(_Batch([one])))
            return
        if isinstance(error, IdentifierTakenError):
            _fail(waiting, error)
            return
        metrics.FAULTY_COMMANDS.labels(str(self._shard)).inc()
        if (silenced := self._alarms.take()) is not None:
            _log.error("ALARM: command failed alone", shard=self._shard, silenced=silenced, exc_info=error)
        _fail(waiting, FaultyCommandError("a command could not be carried out; it was not written"))

    # Answers.

    def _answer(self, written: _Written | None) -> None:
        """Tell everybody of a committed batch."""
        if written is None:
            return
        start = 0
        for waiting in written.waiting:
            end = start + waiting.size
            request = waiting.item.request
            if not request.answers.done():
                request.answer(
                    [
                        DecidedOutcome(outcome, written.decision)
                        for outcome in written.decision.outcomes[start:end]
                    ]
                )
            start = end
        self._count(written.decision.outcomes)
        self.tell_listeners(written.decision)

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
