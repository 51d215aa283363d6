"""Following one shard's log live: one reader for all who listen.

Nobody is told of a record before its commit, nor out of order, nor twice. This process's batcher says what it has
just committed; if that is exactly what comes next, it is handed out from memory. Otherwise, and whenever another
process has written, the log is read from the last position that was handed out.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar

import structlog

from tallystick.domain import limits
from tallystick.domain.commands import Kind
from tallystick.domain.decide import Decision
from tallystick.domain.record import Record, record_at
from tallystick.ledger import metrics
from tallystick.ledger.errors import UnavailableError
from tallystick.store.errors import StoreError
from tallystick.store.feed import FeedReader, OpenedAccount
from tallystick.store.reads import Reader

Key = TypeVar("Key")

_log = structlog.get_logger(__name__)


class Wanted(NamedTuple):
    """What of the log somebody wants: a tenant's transactions, narrowed to kinds, and to accounts or an owner."""

    tenant: int
    kinds: frozenset[Kind] | None = None
    accounts: frozenset[int] | None = None
    owner: str | None = None


class Heard(NamedTuple):
    """Records in the order of the log; nothing else that is wanted stands up to `position`."""

    records: list[Record]
    position: int


class Subscription:
    """What waits for one listener: no more than `FEED_RECORDS_WAITING_MAX` records, or it has lost its place.

    `joined_at` is the position after which it hears of everything.
    """

    def __init__(self, wanted: Wanted, follower: "Follower") -> None:
        self.wanted = wanted
        self.joined_at = follower.horizon
        # None: of all accounts, or of an owner's, which are not known yet.
        self.accounts = None if wanted.accounts is None else set(wanted.accounts)
        self._follower = follower
        self._waiting: deque[Record] = deque()
        self._woken = asyncio.Event()
        self._lost = False

    def offer(self, record: Record) -> None:
        """Keep a record for the listener, if it is one of those wanted."""
        if self._lost or not self._wants(record):
            return
        if len(self._waiting) >= limits.FEED_RECORDS_WAITING_MAX:
            # It is slower than the log. It reads on from there at its own speed.
            self._lost = True
            self._waiting.clear()
        else:
            self._waiting.append(record)
        self._woken.set()

    async def next(self) -> Heard | None:
        """What has come, or nothing after `STREAM_HEARTBEAT_SECONDS`; None when it has lost its place.

        Raises:
            UnavailableError: this process stops.
        """
        if not self._waiting and not self._lost:
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.STREAM_HEARTBEAT_SECONDS):
                    await self._woken.wait()
        self._woken.clear()
        self._follower.require_open()
        if self._lost:
            return None
        records = [record for record in self._waiting if self._wants(record)]
        self._waiting.clear()
        return Heard(records, max(self.joined_at, self._follower.position))

    def wake(self) -> None:
        """Let the listener look at once."""
        self._woken.set()

    def narrow(self, accounts: Iterable[int]) -> None:
        """Want these accounts, and those that were opened for the owner meanwhile."""
        opened = (record.account for record in self._waiting if record.account is not None)
        self.accounts = {*accounts} | {
            state.terms.account for state in opened if state.terms.owner == self.wanted.owner
        }

    def _wants(self, record: Record) -> bool:
        row = record.transaction
        if row.tenant != self.wanted.tenant:
            return False
        if self.wanted.kinds is not None and row.kind not in self.wanted.kinds:
            return False
        accounts = self.accounts
        if accounts is None:
            return True
        if record.account is not None and record.account.terms.account in accounts:
            return True
        return any(entry.account in accounts for entry in record.entries)


class Follower:
    """Reads one shard's log once for all who listen in this process, while somebody does."""

    def __init__(self, shard: int, reader: Reader, positions: FeedReader) -> None:
        self._shard = shard
        self._reader = reader
        self._positions = positions
        # Everything up to `position` was handed out; what comes up to `horizon` is being read.
        self.position = 0
        self.horizon = 0
        self._listener_count = 0
        self._closed = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._of_tenant: dict[int, set[Subscription]] = {}
        self._of_account: dict[int, set[Subscription]] = {}
        self._of_owner: dict[tuple[int, str], set[Subscription]] = {}
        label = str(shard)
        self._lag_positions = metrics.FEED_LAG_POSITIONS.labels(label)
        self._lag_seconds = metrics.FEED_LAG_SECONDS.labels(label)
        self._level_at = time.monotonic()

    # Who listens.

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Follow the log, once it is begun, until the end of the block.

        Raises:
            UnavailableError: this process stops.
        """
        self.require_open()
        self._listener_count += 1
        try:
            yield
        finally:
            self._listener_count -= 1
            if not self._listener_count:
                self._end()

    async def begin(self) -> int:
        """Begin to follow the log at its end, for somebody who listens, unless it is followed already; where it is.

        Raises:
            UnavailableError: the shard cannot be read.
        """
        if self._task is None:
            head = await self._reader.head_position()
            if self._task is None:
                self.position = self.horizon = head
                self._level_at = time.monotonic()
                self._task = asyncio.create_task(self._run(), name=f"follower of shard {self._shard}")
        return self.position

    @contextmanager
    def subscribed(self, wanted: Wanted) -> Iterator[Subscription]:
        """Hear of all that comes after `joined_at`, until the end of the block."""
        subscription = Subscription(wanted, self)
        self._enter(subscription)
        try:
            yield subscription
        finally:
            self._leave(subscription)

    def narrow(self, subscription: Subscription, accounts: frozenset[int] | None) -> None:
        """Tell whose accounts an owner's are: those opened up to where this is, some of which may wait unread."""
        if subscription.wanted.owner is not None and accounts is not None:
            self._leave(subscription)
            subscription.narrow(accounts)
            self._enter(subscription)

    def close(self) -> None:
        """End all that listen, and take no more: those who wait for ever would keep the process from stopping."""
        self._closed = True
        for subscriptions in (
            *self._of_tenant.values(),
            *self._of_account.values(),
            *self._of_owner.values(),
        ):
            for subscription in subscriptions:
                subscription.wake()

    def require_open(self) -> None:
        """Raises UnavailableError when this process stops."""
        if self._closed:
            raise UnavailableError(f"shard {self._shard} is not followed any more: this process stops")

    async def stop(self) -> None:
        """Stop reading."""
        self.close()
        task = self._task
        self._end()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._lag_positions.set(0)
        self._lag_seconds.set(0)

    def _enter(self, subscription: Subscription) -> None:
        wanted = subscription.wanted
        if subscription.accounts is None:
            self._of_tenant.setdefault(wanted.tenant, set()).add(subscription)
            return
        for account in subscription.accounts:
            self._of_account.setdefault(account, set()).add(subscription)
        if wanted.owner is not None:
            self._of_owner.setdefault((wanted.tenant, wanted.owner), set()).add(subscription)

    def _leave(self, subscription: Subscription) -> None:
        wanted = subscription.wanted
        _remove(self._of_tenant, wanted.tenant, subscription)
        for account in subscription.accounts or ():
            _remove(self._of_account, account, subscription)
        if wanted.owner is not None:
            _remove(self._of_owner, (wanted.tenant, wanted.owner), subscription)

    # What is heard.

    def committed(self, decision: Decision) -> None:
        """Hear from this process's batcher what it has just committed."""
        appended = decision.appended
        if self._task is None or not appended.transactions:
            return
        if self.horizon != self.position or decision.first_position != self.position + 1:
            # It is being read, or others have written before it.
            self._wake.set()
            return
        self._note_opened(
            OpenedAccount(row.state.terms.account, row.state.terms.tenant, row.state.terms.owner)
            for row in appended.accounts
        )
        heard = {row.position for row in appended.transactions if row.tenant in self._of_tenant}
        heard.update(entry.position for entry in appended.entries if entry.account in self._of_account)
        heard.update(row.position for row in appended.accounts if row.state.terms.account in self._of_account)
        self._hand_out([record_at(decision, position) for position in sorted(heard)], decision.last_position)

    async def _run(self) -> None:
        """Look at the head: at once when woken, and otherwise after a pause that grows while nothing comes."""
        pause_seconds = limits.FEED_PAUSE_SECONDS_MIN
        while True:
            self._wake.clear()
            try:
                moved = await self._read()
            except (UnavailableError, StoreError) as error:
                _log.warning("the log cannot be followed now", shard=self._shard, reason=str(error))
                moved = await self._pause_after_failure()
            except Exception as error:  # noqa: BLE001 - a bug must not leave streams that wait for ever
                _log.error("ALARM: following the log failed", shard=self._shard, exc_info=error)
                moved = await self._pause_after_failure()
            pause_seconds = (
                limits.FEED_PAUSE_SECONDS_MIN
                if moved
                else min(2 * pause_seconds, limits.FEED_PAUSE_SECONDS_MAX)
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._wake.wait()

    async def _pause_after_failure(self) -> bool:
        # What was being read will be read again. (A task that was cancelled says nothing: another may read already.)
        self.horizon = self.position
        self._lag_seconds.set(time.monotonic() - self._level_at)
        await asyncio.sleep(limits.FEED_RETRY_SECONDS)
        return False

    async def _read(self) -> bool:
        """Hand out what stands in the log and was not heard of; False when there is nothing."""
        head = await self._reader.head_position()
        found = self.position < head
        while self.position < head:
            self._lag_positions.set(head - self.position)
            self._lag_seconds.set(time.monotonic() - self._level_at)
            until = min(head, self.position + limits.FEED_POSITIONS_PER_READ_MAX)
            # Whoever joins from here on hears only of what comes after this part.
            self.horizon = until
            self._hand_out(await self._records(until), until)
        self._level_at = time.monotonic()
        self._lag_positions.set(0)
        self._lag_seconds.set(0)
        return found

    async def _records(self, until: int) -> list[Record]:
        """What somebody listens for, from the last position handed out to another."""
        after = self.position
        if self._of_owner:
            self._note_opened(await self._positions.opened(after, until))
        if not self._of_tenant and not self._of_account:
            return []
        positions = await self._positions.watched(after, until, self._of_tenant, self._of_account)
        records = await self._reader.records(positions) if positions else {}
        return [records[position] for position in positions]

    def _note_opened(self, opened: Iterable[OpenedAccount]) -> None:
        """An owner who is followed may have got another account."""
        if not self._of_owner:
            return
        for account, tenant, owner in opened:
            for subscription in self._of_owner.get((tenant, owner), ()):
                if subscription.accounts is not None:
                    subscription.accounts.add(account)
                    self._of_account.setdefault(account, set()).add(subscription)

    def _hand_out(self, records: Iterable[Record], until: int) -> None:
        """Offer records to those who listen for them; in one step, so that nobody sees half of it."""
        for record in records:
            listeners = set(self._of_tenant.get(record.transaction.tenant, ()))
            for entry in record.entries:
                listeners |= self._of_account.get(entry.account, set())
            if record.account is not None:
                listeners |= self._of_account.get(record.account.terms.account, set())
            for listener in listeners:
                listener.offer(record)
        self.position = self.horizon = until


def _remove(index: dict[Key, set[Subscription]], key: Key, subscription: Subscription) -> None:
    found = index.get(key)
    if found is not None:
        found.discard(subscription)
        if not found:
            del index[key]
