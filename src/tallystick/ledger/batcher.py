"""The batcher: everything that waits for a shard is decided together and committed once.

One task owns the connection that writes. Requests only wait for its answer, so a caller that goes away
cancels its waiting, never a COMMIT.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, NoReturn

import structlog

from tallystick.background.alarms import AlarmRate
from tallystick.background.pauses import Backoff
from tallystick.domain import limits
from tallystick.domain.commands import Command
from tallystick.domain.decide import Atomic, Decision, commands_of
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.outcomes import Outcome, Posted, Unserved
from tallystick.domain.rules.accounts import IdentifierTakenError
from tallystick.ledger import metrics
from tallystick.ledger.clock import Clock, ClockError
from tallystick.ledger.condition import Condition, State
from tallystick.ledger.errors import FaultyCommandError, OverloadedError, UnavailableError
from tallystick.ledger.fair_queue import NO_WEIGHTS, FairQueue, Queued
from tallystick.ledger.writing import BatchWriter, Decided
from tallystick.store.errors import CommitUnknownError, ShardUnavailableError, StoreError

_log = structlog.get_logger(__name__)

# The lane of what the ledger does for several tenants at once: recovery, and holds that expire.
_LEDGER_LANE: Final = 0


class DecidedOutcome(NamedTuple):
    """An outcome, and the decision that it is part of."""

    outcome: Outcome
    decision: Decision

    @property
    def appended(self) -> bool:
        """Whether this decision posted it, and not an earlier one."""
        return isinstance(self.outcome, Posted) and self.outcome.position >= self.decision.first_position


class _Request:
    """Who waits for the answers to the commands of one request, which may be written in several batches."""

    __slots__ = ("answers", "deadline", "found", "left")

    def __init__(
        self, command_count: int, answers: asyncio.Future[list[DecidedOutcome]], deadline: float
    ) -> None:
        self.answers = answers
        self.deadline = deadline
        self.found: list[DecidedOutcome] = []
        self.left = command_count

    def answer(self, found: list[DecidedOutcome]) -> None:
        """Take the answers to the next commands; tell the caller when these were the last."""
        self.left -= len(found)
        self.found += found
        if not self.left and not self.answers.done():
            self.answers.set_result(self.found)

    def fail(self, error: Exception) -> None:
        """Tell the caller that there is no answer. What of the request waits still is not written any more."""
        if not self.answers.done():
            self.answers.set_exception(error)


class _Piece(NamedTuple):
    """Commands of one request that are written in one batch."""

    request: _Request
    units: Sequence[Command | Atomic]
    command_count: int


class _Batch(NamedTuple):
    """What is written together, and what was decided about it ahead of its turn."""

    waiting: list[Queued[_Piece]]
    ahead: Decided | None = None

    @property
    def units(self) -> list[Command | Atomic]:
        """All commands of the batch, in order."""
        return [unit for waiting in self.waiting for unit in waiting.item.units]


class _Written(NamedTuple):
    """A batch that is committed, and who of it waits for an answer."""

    waiting: list[Queued[_Piece]]
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
        self._queue: FairQueue[_Piece] = FairQueue(limits.PIECE_COMMANDS_MAX, tenant_weights)
        # Whose lane was put into last, and until when others count as being about.
        self._lane = _LEDGER_LANE
        self._shared_until = 0.0
        self._wake = asyncio.Event()
        self._stopping = False
        # What was taken from the queue and not answered yet: being written, and decided ahead.
        self._taken: list[Queued[_Piece]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[Callable[[Decision], None]] = []
        self._alarms = AlarmRate()
        label = str(shard)
        self._batch_commands = metrics.BATCH_COMMANDS.labels(label)
        self._batch_seconds = metrics.BATCH_SECONDS.labels(label)
        self._queued = metrics.QUEUED_COMMANDS.labels(label)

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
        commands = commands_of(units)
        if not self.available:
            self._count_unserved(Unserved.SHARD_UNAVAILABLE)
            raise self._unavailable()
        lane = _lane_of(commands)
        self._require_room(lane, len(commands), limits.QUEUE_SAGA_STEPS_MAX if of_saga else 0)
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[DecidedOutcome]] = loop.create_future()
        request = _Request(len(commands), answers, loop.time() + limits.REQUEST_TIMEOUT_SECONDS)
        self._note_lane(lane, loop.time())
        for piece in _pieces(request, units, len(commands)):
            self._queue.put(lane, piece.command_count, piece)
        self._wake.set()
        if self._queue.size >= limits.AHEAD_COMMANDS_MIN:
            self._look_ahead.set()
        return await answers

    def _note_lane(self, lane: int, now: float) -> None:
        """Note whether tenants share the shard: whether another one than before asks."""
        if lane not in {self._lane, _LEDGER_LANE}:
            if self._lane != _LEDGER_LANE:
                self._shared_until = now + limits.SHARED_SECONDS
            self._lane = lane

    def room_of(self, tenant: int) -> int:
        """How many more commands of a tenant may wait."""
        queue = self._queue
        of_all = limits.QUEUE_COMMANDS_MAX - queue.size
        return max(0, min(of_all, limits.QUEUE_COMMANDS_PER_TENANT_MAX - queue.size_of(tenant)))

    def refuse_overloaded(self) -> NoReturn:
        """Say that too many commands wait; raises OverloadedError."""
        self._count_unserved(Unserved.OVERLOADED)
        raise OverloadedError(f"{self._queue.size} commands wait for shard {self._shard}")

    def _require_room(self, lane: int, command_count: int, more_room: int) -> None:
        """Raises OverloadedError when so many commands would be too many, of this tenant or of all."""
        queue = self._queue
        if (
            queue.size + command_count > limits.QUEUE_COMMANDS_MAX + more_room
            or queue.size_of(lane) + command_count > limits.QUEUE_COMMANDS_PER_TENANT_MAX + more_room
        ):
            self.refuse_overloaded()

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
                await asyncio.sleep(backoff.next_seconds())
        self._condition.is_over(State.AWAY)
        return True

    async def _watch(self) -> None:
        """Let nobody wait for ever: one look a second costs less than a timer for each request."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(limits.DEADLINE_CHECK_SECONDS)
            if self._writing_seconds() > limits.WRITING_SECONDS_MAX:
                self._condition.begins(State.FAILING, "what is being written does not end")
            self._condition.forget_old_failures()
            requests = {piece.request for piece in (*(taken.item for taken in self._taken), *self._queue)}
            late = [one for one in requests if one.deadline < loop.time() and not one.answers.done()]
            for request in late:
                request.fail(UnavailableError(f"shard {self._shard} did not answer in time"))
            if late:
                metrics.UNSERVED.labels(str(self._shard), Unserved.SHARD_UNAVAILABLE.value).inc(len(late))

    def _take(self) -> _Batch:
        """The next batch: all that wait, up to limits, without those whose callers have gone."""
        batch: list[Queued[_Piece]] = []
        count = 0
        shared = asyncio.get_running_loop().time() < self._shared_until
        of_tenant_max = limits.BATCH_COMMANDS_PER_TENANT_MAX if shared else limits.BATCH_COMMANDS_MAX
        of_tenant: Counter[int] = Counter()
        while self._queue and count < limits.BATCH_COMMANDS_MAX:
            waiting = self._queue.take()
            if not waiting.item.request.answers.done():
                batch.append(waiting)
                count += waiting.size
                of_tenant[waiting.lane] += waiting.size
                if of_tenant[waiting.lane] >= of_tenant_max:
                    break
        self._queued.set(self._queue.size)
        self._taken = batch
        return _Batch(batch)

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
            if self._writer.may_decide_ahead and self._queue.size >= limits.AHEAD_COMMANDS_MIN:
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

    async def _post_one_by_one(self, waiting: list[Queued[_Piece]], error: Exception) -> None:
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
        error = self._unavailable()
        for piece in self._queue.clear():
            piece.request.fail(error)

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


def _fail(batch: Sequence[Queued[_Piece]], error: Exception) -> None:
    for waiting in batch:
        waiting.item.request.fail(error)


def _lane_of(commands: Sequence[Command]) -> int:
    """Whose turn it is with these: the tenant's, or, where there are several, the ledger's own."""
    tenant = commands[0].tenant
    return tenant if all(command.tenant == tenant for command in commands) else _LEDGER_LANE


def _pieces(request: _Request, units: Sequence[Command | Atomic], command_count: int) -> Iterator[_Piece]:
    """A request in pieces, so that others can be written in between. A group that stands or falls is one piece."""
    if command_count <= limits.PIECE_COMMANDS_MAX:
        yield _Piece(request, units, command_count)
        return
    piece: list[Command | Atomic] = []
    count = 0
    for unit in units:
        size = len(unit.commands) if isinstance(unit, Atomic) else 1
        if piece and count + size > limits.PIECE_COMMANDS_MAX:
            yield _Piece(request, piece, count)
            piece, count = [], 0
        piece.append(unit)
        count += size
    yield _Piece(request, piece, count)
