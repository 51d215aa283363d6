"""Write batches, each in one database transaction. The next batch is decided while one is written.

The log is serial, but a processor that waits for PostgreSQL is idle. So a batch may be decided *ahead*, on top of
the one that is still being written. This is a guess. If the head of the log is then not exactly the batch that it was
decided on, the database refuses the rows, because their positions and hash do not follow. The batch is decided again.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import structlog

from tallystick.background.pauses import Backoff
from tallystick.domain import limits
from tallystick.domain.accounts import AccountState
from tallystick.domain.canonical import EncodedBatch, chain, encode
from tallystick.domain.commands import Command
from tallystick.domain.decide import NOTHING_DECIDED, Atomic, Deciding, Decision, commands_of
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.holds import HoldState
from tallystick.domain.identifiers import shard_of
from tallystick.domain.needs import Needs
from tallystick.domain.rows import BatchRow
from tallystick.domain.sagas import SagaState
from tallystick.domain.snapshot import Head, Snapshot
from tallystick.ledger import metrics
from tallystick.ledger.clock import Clock
from tallystick.store.errors import BatchRejectedError, CommitUnknownError, ShardUnavailableError
from tallystick.store.log import LogWriter

Units = Sequence[Command | Atomic]
Key = TypeVar("Key")
Value = TypeVar("Value")

_log = structlog.get_logger(__name__)


class Decided(NamedTuple):
    """A decided batch that is not written yet. It is valid only directly after `follows`."""

    follows: Head
    decision: Decision
    rows: EncodedBatch
    row: BatchRow


class BatchWriter:
    """Writes one shard's batches for this process. Only `decide_ahead` may be used concurrently.

    It remembers the newest state of accounts, and uses it only while it has written the head itself.
    """

    def __init__(
        self, shard: int, dsn: str, clock: Clock, on_decided: Callable[[], None], on_lost: Callable[[], None]
    ) -> None:
        """A writer of one shard.

        `on_decided` is called when the current batch is decided, so that the next one can be. `on_lost` is called
        when the connection is lost.
        """
        self._shard = shard
        self._clock = clock
        self._on_decided = on_decided
        self._writer = LogWriter(dsn, shard)
        self._writer.on_lost = on_lost
        self.ready = asyncio.Event()
        self._reached = False
        # The end of the log after all decided batches, and the states known as of there. None while it is not known.
        # Then no batch can be decided ahead.
        self._head: Head | None = None
        self._known: dict[int, AccountState] = {}
        # Open sagas that this process has reserved. It will end most of them itself.
        self._open_sagas: dict[int, SagaState] = {}
        self._decision: Decision = NOTHING_DECIDED

    @property
    def connected(self) -> bool:
        """Whether the shard can be written to, as far as this process knows."""
        return self.ready.is_set()

    @property
    def reachable(self) -> bool:
        """Whether the last attempt to connect succeeded. A connection that was just lost does not count yet."""
        return self._reached

    async def connect(self) -> None:
        """Connect, or connect again.

        Raises:
            ShardUnavailableError: PostgreSQL cannot be reached.
            ClockError: the clock of PostgreSQL or of this server is wrong, or the newest time of the log.
        """
        try:
            await self._writer.reconnect()
            asked_at_us = self._clock.own_us()
            head, database_us = await self._writer.look()
            self._clock.recorded_at_us(database_us, head.recorded_at_us, asked_at_us)
        except Exception:
            self._reached = False
            raise
        self._reached = True
        self.ready.set()

    @property
    def derivation(self) -> Derivation:
        """The inputs for deriving accounts that the ledger opens by itself; raises ShardUnavailableError."""
        return self._writer.derivation

    def disconnected(self) -> None:
        """Note that the connection is lost, and forget all remembered states."""
        self._forget()
        self.ready.clear()

    def abandon_connections(self) -> None:
        """Close the connections at once, whatever runs over them."""
        self._writer.abandon()

    async def close(self) -> None:
        """Close the connections."""
        self.disconnected()
        await self._writer.close()

    async def roll_back(self) -> None:
        """Roll back a batch that failed.

        Raises:
            ShardUnavailableError: the connection is gone; the server rolls back by itself.
        """
        self._forget()
        await self._writer.roll_back()

    @property
    def may_decide_ahead(self) -> bool:
        """Whether the current batch is decided, so that the next one can be."""
        return self._head is not None

    async def write(self, units: Units, ahead: Decided | None = None) -> Decision:
        """Write a batch. If the connection is lost meanwhile, find out whether it was written, or write it again.

        Args:
            units: the commands of the batch, in order.
            ahead: the result of `decide_ahead` for them.

        Raises:
            ShardUnavailableError, CommitUnknownError: PostgreSQL cannot be reached.
            BatchRejectedError: it refused the rows; roll back.
        """
        for _ in range(limits.WRITE_ATTEMPTS_MAX - 1):
            try:
                return await self._write(units, ahead)
            except ShardUnavailableError as error:
                # Nothing was written: COMMIT was never sent, or has failed.
                _log.warning("connection lost, writing the batch again", shard=self._shard, reason=str(error))
                ahead = None
                self._forget()
                await self.connect()
        return await self._write(units, None)

    async def decide_ahead(self, units: Units) -> Decided | None:
        """Decide the next batch while the current one is written. None: it must wait for its turn."""
        follows = self._head
        needs = Needs() if follows is None else self._needs(units)
        if follows is None or needs.originals:
            return None
        try:
            asked_at_us = self._clock.own_us()
            database_us, snapshot = await self._peek(follows, needs)
            if snapshot is None:
                return None
            now_us = self._clock.recorded_at_us(database_us, follows.recorded_at_us, asked_at_us)
            deciding = Deciding(snapshot, now_us)
            for _ in deciding.steps(units, limits.AHEAD_COMMANDS_AT_A_TIME):
                # The batch before this one is being written: let it continue.
                await asyncio.sleep(0)
                if self._head is not follows:
                    return None
            decision = deciding.decision()
            if not _appends(decision):
                # If there are only repeated requests, nothing is written, so the database cannot detect a wrong
                # guess.
                return None
            return self._remember(follows, decision, deciding.now_us)
        except Exception as error:  # noqa: BLE001 - it is raised again under the lock, and handled there
            _log.info("batch was not decided ahead", shard=self._shard, reason=str(error))
            return None

    async def _peek(self, follows: Head, needs: Needs) -> tuple[int, Snapshot | None]:
        """The server's clock, and the states needed as of after the current batch; None if they are not known."""
        needs.accounts = self._unknown(needs.accounts)
        needs.look_for(self._known)
        known_sagas = self._take_known_sagas(needs)
        database_us, loaded = await self._writer.peek(needs)
        if self._head is not follows:
            return database_us, None
        loaded.sagas.update(known_sagas)
        # The states after the current batch are newer than the committed ones.
        for account, state in loaded.accounts.items():
            self._known.setdefault(account, state)
        before = self._decision
        _overlay(loaded.holds, before.holds, needs.holds)
        _overlay(loaded.sagas, before.sagas, needs.sagas)
        _overlay(loaded.requests, before.requests, needs.requests)
        if not self._knows_accounts_of(loaded.holds.values()):
            return database_us, None
        return database_us, Snapshot(
            self.derivation, follows, self._known, loaded.holds, loaded.sagas, {}, loaded.requests
        )

    async def _write(self, units: Units, ahead: Decided | None) -> Decision:
        """One database transaction: lock, head, load, decide, append, commit."""
        if ahead is not None:
            try:
                await self._writer.begin_after()
                return await self._append(ahead)
            except BatchRejectedError:
                # Another process has written since, so the database refused rows that do not follow the head.
                await self.roll_back()
        snapshot, now_us = await self._begin(self._needs(units))
        deciding = Deciding(snapshot, now_us)
        for _ in deciding.steps(units, limits.DECIDED_COMMANDS_AT_A_TIME):
            # A large group must not delay requests that need nothing of it.
            await asyncio.sleep(0)
        return await self._append(self._remember(snapshot.head, deciding.decision(), now_us))

    async def _begin(self, needs: Needs) -> tuple[Snapshot, int]:
        """Lock the shard, and load the states that are needed and not known. Also returns the time of the batch."""
        expected, self._head = self._head, None
        wanted_accounts = needs.accounts
        needs.accounts = self._unknown(wanted_accounts)
        needs.look_for(self._known)
        known_sagas = self._take_known_sagas(needs)
        asked_at_us = self._clock.own_us()
        head, database_us, loaded = await self._writer.begin(needs)
        now_us = self._clock.recorded_at_us(database_us, head.recorded_at_us, asked_at_us)
        if head != expected:
            # Another process has written since, so the remembered states may be old.
            self._known.clear()
            self._open_sagas.clear()
            missing = Needs()
            missing.accounts, missing.derived = wanted_accounts, needs.derived
            missing.look_for(self._known)
            missing.accounts = missing.accounts - loaded.accounts.keys()
            missing.sagas = set(known_sagas)
            again = await self._writer.load(missing)
            self._known.update(again.accounts)
            known_sagas = again.sagas
        loaded.sagas.update(known_sagas)
        self._known.update(loaded.accounts)
        snapshot = Snapshot(
            self.derivation, head, self._known, loaded.holds, loaded.sagas, loaded.originals, loaded.requests
        )
        return snapshot, now_us

    def _remember(self, head: Head, decision: Decision, now_us: int) -> Decided:
        """Make the batch row of a decision, and remember the states after it."""
        rows = encode(decision.appended)
        row = chain(head.hash, head.number + 1, decision.last_position, now_us, rows)
        decided = Decided(head, decision, rows, row)
        self._head = (
            Head(row.number, row.last_position, row.recorded_at_us, row.hash) if _appends(decision) else head
        )
        self._decision = decision
        # The states that this batch changes cannot be read before it is committed, and the next batch may be decided
        # before that. So they become the newest ones, which are forgotten last, and all of them are kept.
        for account in decision.accounts:
            self._known.pop(account, None)
        self._known.update(decision.accounts)
        for saga in decision.appended.sagas:
            if saga.has_ended:
                self._open_sagas.pop(saga.saga, None)
            else:
                self._open_sagas[saga.saga] = saga
        if len(self._open_sagas) > limits.KNOWN_SAGAS_MAX:
            # They can be read again.
            self._open_sagas.clear()
        excess = len(self._known) - max(limits.KNOWN_ACCOUNTS_MAX, len(decision.accounts))
        if excess > 0:
            for account in list(islice(self._known, excess)):
                del self._known[account]
        self._on_decided()
        return decided

    async def _append(self, decided: Decided) -> Decision:
        """Append a decided batch in the current transaction, and commit."""
        if not _appends(decided.decision):
            await self._writer.commit_nothing()
            return decided.decision
        await self._writer.append(decided.row, decided.rows)
        try:
            await self._writer.commit()
        except CommitUnknownError as error:
            if not await self._was_committed(decided.row, str(error)):
                raise ShardUnavailableError("the commit was lost before it took effect") from None
        metrics.HEAD_POSITION.labels(str(self._shard)).set(decided.row.last_position)
        return decided.decision

    async def _was_committed(self, row: BatchRow, reason: str) -> bool:
        """Find out whether a commit took effect, and is on the synchronous standbys, after its answer was lost.

        An unknown commit is never reported as failed.
        """
        metrics.COMMITS_UNKNOWN.labels(str(self._shard)).inc()
        _log.warning("commit unknown, asking the ledger", shard=self._shard, batch=row.number, reason=reason)
        self.disconnected()
        deadline = time.monotonic() + limits.COMMIT_RESOLUTION_SECONDS_MAX
        backoff = Backoff(limits.RECONNECT_DELAY_SECONDS_MIN, limits.RECONNECT_DELAY_SECONDS_MAX)
        while True:
            try:
                await self.connect()
                committed = await self._writer.was_committed(row)
            except Exception as error:
                # Whatever the error is, the commit stays unknown until the log was read.
                self.disconnected()
                if time.monotonic() > deadline:
                    raise CommitUnknownError(str(error)) from error
                await asyncio.sleep(backoff.next_seconds())
            else:
                _log.info("commit resolved", shard=self._shard, batch=row.number, committed=committed)
                return committed

    def _needs(self, units: Units) -> Needs:
        needs = Needs()
        needs.add(commands_of(units), self.derivation)
        return needs

    def _unknown(self, accounts: set[int]) -> set[int]:
        # Not a difference of sets, which would iterate over all known accounts.
        return {account for account in accounts if account not in self._known}

    def _take_known_sagas(self, needs: Needs) -> dict[int, SagaState]:
        """The needed sagas that are known, and need not be read."""
        known = {saga: self._open_sagas[saga] for saga in needs.sagas if saga in self._open_sagas}
        needs.sagas.difference_update(known)
        return known

    def _knows_accounts_of(self, holds: Iterable[HoldState]) -> bool:
        """Whether the accounts of these holds are known.

        The holds were read before the current batch was committed.
        """
        return all(
            account in self._known
            for hold in holds
            for account in (hold.account, hold.destination)
            if shard_of(account) == self._shard
        )

    def _forget(self) -> None:
        self._head = None
        self._known.clear()
        self._open_sagas.clear()
        self._decision = NOTHING_DECIDED


def _overlay(older: dict[Key, Value], newer: Mapping[Key, Value], wanted: Iterable[Key]) -> None:
    """Replace older states by newer ones, but only wanted ones. Otherwise they would grow from batch to batch."""
    older.update((key, newer[key]) for key in wanted if key in newer)


def _appends(decision: Decision) -> bool:
    return bool(decision.appended.transactions or decision.appended.requests)
