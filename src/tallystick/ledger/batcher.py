"""The batcher: everything that waits for a shard is decided together and committed once.

One task owns the connection that writes. Requests only wait for its answer, so a caller that goes away
cancels its waiting, never a COMMIT.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from tallystick.domain import limits
from tallystick.domain.commands import Command
from tallystick.domain.decide import Atomic, Decision, commands_of
from tallystick.domain.outcomes import Outcome, Posted, Unserved
from tallystick.domain.rules.accounts import IdentifierTakenError
from tallystick.ledger import metrics
from tallystick.ledger.errors import FaultyCommandError, OverloadedError, UnavailableError
from tallystick.ledger.pauses import jittered
from tallystick.ledger.writing import BatchWriter, Decided
from tallystick.store.errors import CommitUnknownError, ShardUnavailableError, StoreError

_log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """An outcome, and the decision that it is part of."""

    outcome: Outcome
    decision: Decision

    @property
    def appended(self) -> bool:
        """Whether this decision posted it, and not an earlier one."""
        return isinstance(self.outcome, Posted) and self.outcome.position >= self.decision.first_position


class _Waiting(NamedTuple):
    """The commands of one request in the queue, and who waits for their answers."""

    units: Sequence[Command | Atomic]
    command_count: int
    answers: asyncio.Future[list[Answer]]
    deadline: float


class _Batch(NamedTuple):
    """Requests that are written together, and what was decided about them ahead of their turn."""

    waiting: list[_Waiting]
    ahead: Decided | None = None

    @property
    def units(self) -> list[Command | Atomic]:
        """All commands of the batch, in order."""
        return [unit for waiting in self.waiting for unit in waiting.units]


class _Written(NamedTuple):
    """A batch that is committed, and who of it waits for an answer."""

    waiting: list[_Waiting]
    decision: Decision


class Batcher:
    """Writes one shard's log for this process.

    `submit` puts commands in a bounded queue and waits; `_run` is the loop that writes them, batch by batch.
    """

    def __init__(self, shard: int, dsn: str) -> None:
        self._shard = shard
        self._look_ahead = asyncio.Event()
        self._writer = BatchWriter(shard, dsn, self._look_ahead.set, self._lost)
        self._queue: deque[_Waiting] = deque()
        self._queued_commands = 0
        self._wake = asyncio.Event()
        self._stopping = False
        # What was taken from the queue and not answered yet: being written, and decided ahead.
        self._taken: list[_Waiting] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[Callable[[Decision], None]] = []
        label = str(shard)
        self._batch_commands = metrics.BATCH_COMMANDS.labels(label)
        self._batch_seconds = metrics.BATCH_SECONDS.labels(label)
        self._queued = metrics.QUEUED_COMMANDS.labels(label)

    @property
    def available(self) -> bool:
        """Whether commands are taken: the shard is connected, or was lost and not yet tried again."""
        return self._writer.reachable and not self._stopping

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

    def start(self) -> None:
        """Begin to write, or to try to connect."""
        self._tasks = [
            asyncio.create_task(self._run(), name=f"batcher of shard {self._shard}"),
            asyncio.create_task(self._watch(), name=f"deadlines of shard {self._shard}"),
        ]

    async def stop(self) -> None:
        """Take no more, write what waits, and close; bounded in time."""
        self._stopping = True
        self._wake.set()
        if self._tasks:
            writing, watching = self._tasks
            _, late = await asyncio.wait([writing], timeout=limits.SHUTDOWN_SECONDS_MAX)
            if late:
                _log.warning("batcher stopped before its queue was empty", shard=self._shard)
                writing.cancel()
            watching.cancel()
            await asyncio.gather(writing, watching, return_exceptions=True)
        self._fail_queue()
        await self._writer.close()

    async def submit(self, units: Sequence[Command | Atomic], *, of_saga: bool = False) -> list[Answer]:
        """Have the commands of one request decided and written; an answer for each, after the commit.

        Steps of sagas (`of_saga`) find room in a queue that is full for others: they free what those reserved.

        Raises:
            OverloadedError: the queue is full.
            UnavailableError: the shard cannot be reached, or did not answer in time.
            FaultyCommandError: a bug refused this command; nothing was written.
        """
        command_count = len(commands_of(units))
        if not self.available:
            self._count_unserved(Unserved.SHARD_UNAVAILABLE)
            raise self._unavailable()
        room = limits.QUEUE_COMMANDS_MAX + (limits.QUEUE_SAGA_STEPS_MAX if of_saga else 0)
        if self._queued_commands + command_count > room:
            self._count_unserved(Unserved.OVERLOADED)
            raise OverloadedError(f"{self._queued_commands} commands wait for shard {self._shard}")
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[Answer]] = loop.create_future()
        deadline = loop.time() + limits.REQUEST_TIMEOUT_SECONDS
        self._queue.append(_Waiting(units, command_count, answers, deadline))
        self._queued_commands += command_count
        self._wake.set()
        if self._queued_commands >= limits.AHEAD_COMMANDS_MIN:
            self._look_ahead.set()
        return await answers

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
            writing = asyncio.create_task(self._post(batch), name=f"batch of shard {self._shard}")
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
        delay_seconds = limits.RECONNECT_DELAY_SECONDS_MIN
        while not self._writer.connected:
            if self._stopping:
                return False
            try:
                await self._writer.connect()
            except Exception as error:  # noqa: BLE001 - nothing may end the task that writes
                self._fail_queue()
                _log.warning("shard unavailable", shard=self._shard, reason=str(error))
                await asyncio.sleep(jittered(delay_seconds))
                delay_seconds = min(2 * delay_seconds, limits.RECONNECT_DELAY_SECONDS_MAX)
        return True

    async def _watch(self) -> None:
        """Let nobody wait for ever: one look a second costs less than a timer for each request."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(limits.DEADLINE_CHECK_SECONDS)
            late = [
                waiting
                for waiting in (*self._taken, *self._queue)
                if waiting.deadline < loop.time() and not waiting.answers.done()
            ]
            if late:
                _fail(late, UnavailableError(f"shard {self._shard} did not answer in time"))
                metrics.UNSERVED.labels(str(self._shard), Unserved.SHARD_UNAVAILABLE.value).inc(len(late))

    def _take(self) -> _Batch:
        """The next batch: all that wait, up to a limit, without those whose callers have gone."""
        batch: list[_Waiting] = []
        count = 0
        while self._queue and count < limits.BATCH_COMMANDS_MAX:
            waiting = self._queue.popleft()
            self._queued_commands -= waiting.command_count
            if not waiting.answers.done():
                batch.append(waiting)
                count += waiting.command_count
        self._queued.set(self._queued_commands)
        self._taken = batch
        return _Batch(batch)

    def _put_back(self, batch: _Batch) -> None:
        """Let a batch that was not begun wait again, before all others."""
        self._queue.extendleft(reversed(batch.waiting))
        self._queued_commands += sum(waiting.command_count for waiting in batch.waiting)
        self._taken = []
        if self._queue:
            self._wake.set()

    async def _decide_ahead(self, writing: asyncio.Task[_Written | None]) -> _Batch | None:
        """While a batch is being written, decide the next one, if enough waits to make one."""
        writing.add_done_callback(lambda _: self._look_ahead.set())
        while not writing.done():
            if self._writer.may_decide_ahead and self._queued_commands >= limits.AHEAD_COMMANDS_MIN:
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
            _log.warning("batch failed", shard=self._shard, reason=str(error))
            _fail(batch.waiting, self._unavailable())
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, its neighbours must be answered
            await self._post_one_by_one(batch.waiting, error)
            return None
        self._batch_commands.observe(len(decision.outcomes))
        self._batch_seconds.observe(time.perf_counter() - started)
        return _Written(batch.waiting, decision)

    async def _post_one_by_one(self, waiting: list[_Waiting], error: Exception) -> None:
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
        _log.error("ALARM: command failed alone", shard=self._shard, exc_info=error)
        _fail(waiting, FaultyCommandError("the command could not be carried out; nothing was written"))

    # Answers.

    def _answer(self, written: _Written | None) -> None:
        """Tell everybody of a committed batch."""
        if written is None:
            return
        start = 0
        for waiting in written.waiting:
            end = start + waiting.command_count
            if not waiting.answers.done():
                answers = [
                    Answer(outcome, written.decision) for outcome in written.decision.outcomes[start:end]
                ]
                waiting.answers.set_result(answers)
            start = end
        self._count(written.decision.outcomes)
        self.tell_listeners(written.decision)

    def _fail_queue(self) -> None:
        waiting, self._queue = list(self._queue), deque()
        self._queued_commands = 0
        _fail(waiting, self._unavailable())

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(f"shard {self._shard} cannot be written to now")

    def _count(self, outcomes: Iterable[Outcome]) -> None:
        counts: dict[str, int] = {}
        for outcome in outcomes:
            name = "posted" if isinstance(outcome, Posted) else outcome.code.text
            counts[name] = counts.get(name, 0) + 1
        for name, count in counts.items():
            metrics.OUTCOMES.labels(str(self._shard), name).inc(count)

    def _count_unserved(self, reason: Unserved) -> None:
        metrics.UNSERVED.labels(str(self._shard), reason.value).inc()


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answers.done():
            waiting.answers.set_exception(error)
