"""The batcher: everything that waits for a shard is decided together and committed once.

One task owns the connection that writes. Requests only wait for its answer, so a caller that goes away
cancels its waiting, never a COMMIT.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import structlog

from tallystick.domain import limits
from tallystick.domain.accounts import AccountState
from tallystick.domain.canonical import chain, encode
from tallystick.domain.commands import Command
from tallystick.domain.decide import Atomic, Decision, IdentifierTakenError, commands_of, decide
from tallystick.domain.needs import Needs
from tallystick.domain.outcomes import Outcome, Posted, Unserved
from tallystick.domain.record import Record, records_of
from tallystick.domain.rows import BatchRow
from tallystick.domain.snapshot import Head, Snapshot
from tallystick.ledger import metrics
from tallystick.ledger.errors import FaultyCommandError, OverloadedError, UnavailableError
from tallystick.store.errors import CommitUnknownError, ShardUnavailableError, StoreError
from tallystick.store.log import LogWriter

_log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """An outcome, and what it appended; None for a refusal, or when an earlier batch appended it."""

    outcome: Outcome
    record: Record | None


class _Waiting(NamedTuple):
    """The commands of one request in the queue, and who waits for their answers."""

    units: Sequence[Command | Atomic]
    command_count: int
    answers: asyncio.Future[list[Answer]]
    deadline: float


class Batcher:
    """Writes one shard's log for this process.

    `submit` puts commands in a bounded queue and waits; `run` is the loop that writes. Between batches it
    remembers the newest state of accounts, and believes it only while the head is the one it wrote itself.
    """

    def __init__(self, shard: int, dsn: str) -> None:
        self._shard = shard
        self._writer = LogWriter(dsn, shard)
        self._queue: deque[_Waiting] = deque()
        self._queued_commands = 0
        self._wake = asyncio.Event()
        self._connected = False
        self._ready = asyncio.Event()
        self._stopping = False
        self._head: Head | None = None
        self._known: dict[int, AccountState] = {}
        self._batch: list[_Waiting] = []
        self._tasks: list[asyncio.Task[None]] = []
        label = str(shard)
        self._batch_commands = metrics.BATCH_COMMANDS.labels(label)
        self._batch_seconds = metrics.BATCH_SECONDS.labels(label)
        self._queued = metrics.QUEUED_COMMANDS.labels(label)
        self._up = metrics.SHARD_UP.labels(label)

    @property
    def available(self) -> bool:
        """Whether the shard can be written to now, as far as this process knows."""
        return self._connected and not self._stopping

    async def connected(self) -> None:
        """Wait until the shard can be written to.

        Raises:
            UnavailableError: it could not be reached in time.
        """
        try:
            await asyncio.wait_for(self._ready.wait(), limits.CONNECT_TIMEOUT_SECONDS)
        except TimeoutError:
            raise UnavailableError(f"shard {self._shard} cannot be written to now") from None

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

    async def submit(self, units: Sequence[Command | Atomic]) -> list[Answer]:
        """Have the commands of one request decided and written; an answer for each, after the commit.

        Raises:
            OverloadedError: the queue is full.
            UnavailableError: the shard cannot be reached, or did not answer in time.
            FaultyCommandError: a bug refused this command; nothing was written.
        """
        command_count = sum(len(commands_of(unit)) for unit in units)
        if not self.available:
            self._count_unserved(Unserved.SHARD_UNAVAILABLE)
            raise UnavailableError(f"shard {self._shard} cannot be written to now")
        if self._queued_commands + command_count > limits.QUEUE_COMMANDS_MAX:
            self._count_unserved(Unserved.OVERLOADED)
            raise OverloadedError(f"{self._queued_commands} commands wait for shard {self._shard}")
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[Answer]] = loop.create_future()
        deadline = loop.time() + limits.REQUEST_TIMEOUT_SECONDS
        self._queue.append(_Waiting(units, command_count, answers, deadline))
        self._queued_commands += command_count
        self._wake.set()
        return await answers

    # The loop.

    async def _run(self) -> None:
        while await self._connect():
            await self._wake.wait()
            self._wake.clear()
            while self._queue and self._connected:
                self._batch = self._take()
                await self._post(self._batch)
                self._batch = []
            if self._stopping:
                return

    async def _connect(self) -> bool:
        """Be connected: try until it works, with growing pauses. False when stopped meanwhile."""
        delay_seconds = limits.RECONNECT_DELAY_SECONDS_MIN
        while not self._connected:
            if self._stopping:
                return False
            try:
                await self._writer.reconnect()
            except StoreError as error:
                self._fail_queue()
                _log.warning("shard unavailable", shard=self._shard, reason=str(error))
                await asyncio.sleep(delay_seconds * random.uniform(0.5, 1.0))  # noqa: S311
                delay_seconds = min(2 * delay_seconds, limits.RECONNECT_DELAY_SECONDS_MAX)
            else:
                self._set_connected(True)
        return True

    async def _watch(self) -> None:
        """Let nobody wait for ever: one look a second costs less than a timer for each request."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(limits.DEADLINE_CHECK_SECONDS)
            late = [
                waiting
                for waiting in (*self._batch, *self._queue)
                if waiting.deadline < loop.time() and not waiting.answers.done()
            ]
            if late:
                _fail(late, UnavailableError(f"shard {self._shard} did not answer in time"))
                metrics.UNSERVED.labels(str(self._shard), Unserved.SHARD_UNAVAILABLE.value).inc(len(late))

    def _take(self) -> list[_Waiting]:
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
        return batch

    async def _post(self, batch: list[_Waiting]) -> None:
        """Write a batch and answer it; if it is refused as a whole, find out who is at fault."""
        if not batch:
            return
        started = time.perf_counter()
        try:
            answers = await self._write_surely([unit for waiting in batch for unit in waiting.units])
        except (ShardUnavailableError, CommitUnknownError) as error:
            self._lose_connection()
            _log.warning("batch failed", shard=self._shard, reason=str(error))
            _fail(batch, UnavailableError(f"shard {self._shard} cannot be written to now"))
        except Exception as error:  # noqa: BLE001 - whatever it is, its neighbours must be answered
            await self._post_one_by_one(batch, error)
        else:
            self._batch_commands.observe(len(answers))
            self._batch_seconds.observe(time.perf_counter() - started)
            self._answer(batch, answers)

    async def _post_one_by_one(self, batch: list[_Waiting], error: Exception) -> None:
        """A bug, or an identifier drawn twice: the faulty unit fails alone, its neighbours are answered."""
        if not await self._roll_back():
            _fail(batch, UnavailableError(f"shard {self._shard} cannot be written to now"))
            return
        if len(batch) > 1:
            for waiting in batch:
                await self._post([waiting])
            return
        if isinstance(error, IdentifierTakenError):
            _fail(batch, error)
            return
        metrics.FAULTY_COMMANDS.labels(str(self._shard)).inc()
        _log.error("ALARM: command failed alone", shard=self._shard, exc_info=error)
        _fail(batch, FaultyCommandError("the command could not be carried out; nothing was written"))

    async def _write_surely(self, units: Sequence[Command | Atomic]) -> list[Answer]:
        """Write a batch; where the connection is lost on the way, find out what became of it, or write it again."""
        for _ in range(limits.WRITE_ATTEMPTS_MAX - 1):
            try:
                return await self._write(units)
            except ShardUnavailableError as error:
                # Nothing was written: COMMIT was never sent.
                _log.warning("connection lost, writing the batch again", shard=self._shard, reason=str(error))
                self._head = None
                await self._writer.reconnect()
        return await self._write(units)

    async def _write(self, units: Sequence[Command | Atomic]) -> list[Answer]:
        """One database transaction: lock, head, load, decide, append, commit."""
        needs = Needs()
        for unit in units:
            needs.add(commands_of(unit))
        snapshot, now_us = await self._begin(needs)
        decision = decide(snapshot, units, now_us)
        if not decision.appended.transactions and not decision.appended.requests:
            await self._writer.roll_back()
            return _answers(decision)
        head = snapshot.head
        rows = encode(decision.appended)
        row = chain(head.hash, head.number + 1, decision.last_position, now_us, rows)
        await self._writer.append(rows)
        try:
            await self._writer.commit(row)
        except CommitUnknownError:
            if not await self._was_committed(row):
                raise ShardUnavailableError("the commit was lost before it took effect") from None
        self._remember(decision, row)
        return _answers(decision)

    async def _begin(self, needs: Needs) -> tuple[Snapshot, int]:
        """Lock the shard, and load what is needed and not known. Returns the server's clock beside it."""
        wanted_accounts = needs.accounts
        needs.accounts = wanted_accounts - self._known.keys()
        head, now_us, loaded = await self._writer.begin(needs)
        if head != self._head:
            # Somebody else wrote since: what was known may be old.
            self._known.clear()
            missing = Needs()
            missing.accounts = wanted_accounts - loaded.accounts.keys()
            self._known.update((await self._writer.load(missing)).accounts)
            self._head = head
        self._known.update(loaded.accounts)
        return Snapshot(head, self._known, loaded.holds, loaded.originals, loaded.requests), now_us

    def _remember(self, decision: Decision, row: BatchRow) -> None:
        self._head = Head(row.number, row.last_position, row.recorded_at_us, row.hash)
        self._known.update(decision.accounts)
        excess = len(self._known) - limits.KNOWN_ACCOUNTS_MAX
        if excess > 0:
            for account in list(islice(self._known, excess)):
                del self._known[account]
        metrics.HEAD_POSITION.labels(str(self._shard)).set(row.last_position)

    # When things go wrong.

    async def _was_committed(self, row: BatchRow) -> bool:
        """Ask the ledger what became of a commit whose answer was lost. Unknown is never reported as failed."""
        metrics.COMMITS_UNKNOWN.labels(str(self._shard)).inc()
        _log.warning("commit unknown, asking the ledger", shard=self._shard, batch=row.number)
        self._lose_connection()
        deadline = time.monotonic() + limits.COMMIT_RESOLUTION_SECONDS_MAX
        delay_seconds = limits.RECONNECT_DELAY_SECONDS_MIN
        while True:
            try:
                await self._writer.reconnect()
                committed = await self._writer.was_committed(row)
            except StoreError as error:
                if time.monotonic() > deadline or self._stopping:
                    raise CommitUnknownError(str(error)) from error
                await asyncio.sleep(delay_seconds * random.uniform(0.5, 1.0))  # noqa: S311
                delay_seconds = min(2 * delay_seconds, limits.RECONNECT_DELAY_SECONDS_MAX)
            else:
                self._set_connected(True)
                _log.info("commit resolved", shard=self._shard, batch=row.number, committed=committed)
                return committed

    async def _roll_back(self) -> bool:
        self._head = None
        try:
            await self._writer.roll_back()
        except StoreError:
            self._lose_connection()
            return False
        return True

    def _lose_connection(self) -> None:
        self._head = None
        self._set_connected(False)
        self._wake.set()

    def _set_connected(self, connected: bool) -> None:
        self._connected = connected
        if connected:
            self._ready.set()
        else:
            self._ready.clear()
        self._up.set(int(connected))

    def _fail_queue(self) -> None:
        waiting, self._queue = list(self._queue), deque()
        self._queued_commands = 0
        _fail(waiting, UnavailableError(f"shard {self._shard} cannot be written to now"))

    # Answers.

    def _answer(self, batch: list[_Waiting], answers: list[Answer]) -> None:
        start = 0
        for waiting in batch:
            end = start + waiting.command_count
            if not waiting.answers.done():
                waiting.answers.set_result(answers[start:end])
            start = end
        self._count(answers)

    def _count(self, answers: list[Answer]) -> None:
        counts: dict[str, int] = {}
        for outcome, _ in answers:
            name = "posted" if isinstance(outcome, Posted) else outcome.code.text
            counts[name] = counts.get(name, 0) + 1
        for name, count in counts.items():
            metrics.OUTCOMES.labels(str(self._shard), name).inc(count)

    def _count_unserved(self, reason: Unserved) -> None:
        metrics.UNSERVED.labels(str(self._shard), reason.value).inc()


def _answers(decision: Decision) -> list[Answer]:
    records = records_of(decision)
    return [
        Answer(outcome, records.get(outcome.position) if isinstance(outcome, Posted) else None)
        for outcome in decision.outcomes
    ]


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answers.done():
            waiting.answers.set_exception(error)
