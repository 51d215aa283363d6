"""Follows one shard's log live: one reader for all listeners.

A listener gets no record before its commit, out of order, or twice. This process's batcher passes on what it has just
committed. If that comes exactly next, it is handed out from memory. Otherwise, and whenever another process has
written, the log is read from the last position that was handed out.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import structlog

from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.domain.decide import Decision
from tallystick.domain.record import Record, record_at
from tallystick.followers.feed.subscription import Subscription, Wanted
from tallystick.ledger import metrics
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.rounds import Rounds
from tallystick.store.errors import StoreError
from tallystick.store.feed import FeedReader, OpenedAccount
from tallystick.store.reads import Reader

Key = TypeVar("Key")
# The tenant's number, and the name of the owner.
_Owner = tuple[int, str]

_log = structlog.get_logger(__name__)


class Follower:
    """Reads one shard's log once for all listeners of this process, while there are any."""

    def __init__(self, shard: int, reader: Reader, positions: FeedReader, turns: Rounds) -> None:
        """`turns` are shared by all listeners of this process."""
        self.turns = turns
        self.shard = shard
        self._reader = reader
        self._positions = positions
        # Everything up to `position` was handed out. Records up to `horizon` are being read.
        self.position = 0
        self.horizon = 0
        self._listener_count = 0
        self._closed = False
        self._pause_seconds = limits.FEED_PAUSE_SECONDS_MIN
        self._worker: Worker | None = None
        # What listeners took last. Those that want the same share it.
        self._taken: dict[tuple[Wanted, int, int], list[Record]] = {}
        self._of_tenant: dict[int, set[Subscription]] = {}
        self._of_account: dict[int, set[Subscription]] = {}
        self._of_owner: dict[_Owner, set[Subscription]] = {}
        # The accounts of followed owners, shared by all listeners, and the owner of each account.
        self._accounts_of_owner: dict[_Owner, set[int]] = {}
        self._owner_of_account: dict[int, _Owner] = {}
        label = str(shard)
        self._lag_positions = metrics.FEED_LAG_POSITIONS.labels(label)
        self._lag_seconds = metrics.FEED_LAG_SECONDS.labels(label)
        self._level_at = time.monotonic()

    # Listeners.

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep following the log until the end of the block, once `begin` was called.

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
        """Begin to follow the log at its end for a listener, unless it is followed already. Returns the position.

        Raises:
            UnavailableError: the shard cannot be read.
        """
        if self._worker is None:
            head = await self._reader.head_position()
            if self._worker is None:
                self.position = self.horizon = head
                self._level_at = time.monotonic()
                self._pause_seconds = limits.FEED_PAUSE_SECONDS_MIN
                self._worker = Worker(
                    "change feed",
                    self._look,
                    interval_seconds=limits.FEED_RETRY_SECONDS,
                    expected=(UnavailableError, StoreError),
                    shard=self.shard,
                )
                self._worker.start()
        return self.position

    @contextmanager
    def subscribed(self, wanted: Wanted) -> Iterator[Subscription]:
        """Get all records after `joined_at`, until the end of the block."""
        subscription = Subscription(wanted, self)
        self._enter(subscription)
        try:
            yield subscription
        finally:
            self._leave(subscription)

    def narrow(self, subscription: Subscription, accounts: frozenset[int] | None) -> None:
        """Limit a subscription to an owner's accounts: these, and those that waiting records have opened."""
        if subscription.wanted.owner is not None and accounts is not None:
            self._leave(subscription)
            owner = (subscription.wanted.tenant, subscription.wanted.owner)
            subscription.accounts = self._accounts_of_owner.setdefault(owner, set())
            for account in (*accounts, *subscription.opened()):
                self._note_account(owner, account)
            self._enter(subscription)

    def close(self) -> None:
        """End all listeners, and accept no more. Otherwise they would keep the process from stopping."""
        self._closed = True
        for subscriptions in (
            *self._of_tenant.values(),
            *self._of_account.values(),
            *self._of_owner.values(),
        ):
            for subscription in subscriptions:
                subscription.wake()

    def require_open(self) -> None:
        """Raise UnavailableError if this process stops."""
        if self._closed:
            raise UnavailableError(f"shard {self.shard} is not followed any more: this process stops")

    async def stop(self) -> None:
        """Stop reading."""
        self.close()
        worker = self._worker
        self._end()
        if worker is not None:
            await worker.stop()

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None
        self._taken.clear()
        self._lag_positions.set(0)
        self._lag_seconds.set(0)

    def _enter(self, subscription: Subscription) -> None:
        wanted = subscription.wanted
        if subscription.accounts is None:
            self._of_tenant.setdefault(wanted.tenant, set()).add(subscription)
        elif wanted.owner is not None:
            self._of_owner.setdefault((wanted.tenant, wanted.owner), set()).add(subscription)
        else:
            for account in subscription.accounts:
                self._of_account.setdefault(account, set()).add(subscription)

    def _leave(self, subscription: Subscription) -> None:
        wanted = subscription.wanted
        if subscription.accounts is None:
            _remove(self._of_tenant, wanted.tenant, subscription)
        elif wanted.owner is not None:
            owner = (wanted.tenant, wanted.owner)
            _remove(self._of_owner, owner, subscription)
            if owner not in self._of_owner:
                for account in self._accounts_of_owner.pop(owner, ()):
                    del self._owner_of_account[account]
        else:
            for account in subscription.accounts:
                _remove(self._of_account, account, subscription)

    def _note_account(self, owner: "_Owner", account: int) -> None:
        """Remember the owner of an account. It never changes."""
        self._accounts_of_owner[owner].add(account)
        self._owner_of_account[account] = owner

    def _listens(self, account: int) -> bool:
        return account in self._of_account or account in self._owner_of_account

    def _listeners(self, account: int) -> Iterable[Subscription]:
        yield from self._of_account.get(account, ())
        if (owner := self._owner_of_account.get(account)) is not None:
            yield from self._of_owner.get(owner, ())

    # Records.

    def wanted_of(
        self, taken: Sequence[Record], wanted: Wanted, wants: Callable[[Record], bool]
    ) -> list[Record]:
        """The records of these that a listener wants. Listeners that want the same get the same list.

        `taken`: all records from the first to the last that may be wanted.
        """
        key = wanted, taken[0].transaction.position, taken[-1].transaction.position
        found = self._taken.get(key)
        if found is None:
            if len(self._taken) >= limits.FEED_PARTS_REMEMBERED_MAX:
                del self._taken[next(iter(self._taken))]
            found = self._taken[key] = [record for record in taken if wants(record)]
        return found

    def committed(self, decision: Decision) -> None:
        """Take a batch that this process's batcher has just committed."""
        appended = decision.appended
        if self._worker is None or not appended.transactions:
            return
        if self.horizon != self.position or decision.first_position != self.position + 1:
            # It is being read, or another process has written before it.
            self._worker.wake()
            return
        self._note_opened(
            OpenedAccount(row.state.terms.account, row.state.terms.tenant, row.state.terms.owner)
            for row in appended.accounts
        )
        positions = {row.position for row in appended.transactions if row.tenant in self._of_tenant}
        positions.update(entry.position for entry in appended.entries if self._listens(entry.account))
        positions.update(row.position for row in appended.accounts if self._listens(row.state.terms.account))
        self._hand_out(
            [record_at(decision, position) for position in sorted(positions)], decision.last_position
        )

    async def _look(self) -> float:
        """Read up to the head. Returns the pause before the next round, which grows while nothing comes."""
        try:
            moved = await self._read()
        except Exception:
            # The part will be read again. (Not after a cancellation, because another task may read already.)
            self.horizon = self.position
            self._lag_seconds.set(time.monotonic() - self._level_at)
            self._pause_seconds = limits.FEED_PAUSE_SECONDS_MIN
            raise
        self._pause_seconds = (
            limits.FEED_PAUSE_SECONDS_MIN
            if moved
            else min(2 * self._pause_seconds, limits.FEED_PAUSE_SECONDS_MAX)
        )
        return self._pause_seconds

    async def _read(self) -> bool:
        """Hand out the next records of the log; False if there are none."""
        head = await self._reader.head_position()
        found = self.position < head
        while self.position < head:
            self._lag_positions.set(head - self.position)
            self._lag_seconds.set(time.monotonic() - self._level_at)
            until = min(head, self.position + limits.FEED_POSITIONS_PER_READ_MAX)
            # A listener that joins from here on gets only records after this part.
            self.horizon = until
            records = await self._records(until)
            if not records and until < head:
                self.horizon = until = await self._reader.empty_through(until, head)
            self._hand_out(records, until)
        self._level_at = time.monotonic()
        self._lag_positions.set(0)
        self._lag_seconds.set(0)
        return found

    async def _records(self, until: int) -> list[Record]:
        """The records that listeners want, from the last position that was handed out up to another."""
        after = self.position
        if self._of_owner:
            self._note_opened(await self._positions.opened(after, until))
        accounts = [*self._of_account, *self._owner_of_account]
        if not self._of_tenant and not accounts:
            return []
        positions = await self._positions.watched(after, until, self._of_tenant, accounts)
        records = await self._reader.records(positions) if positions else {}
        return [records[position] for position in positions]

    def _note_opened(self, opened: Iterable[OpenedAccount]) -> None:
        """Note new accounts of followed owners."""
        if not self._of_owner:
            return
        for account, tenant, owner in opened:
            if (tenant, owner) in self._of_owner:
                self._note_account((tenant, owner), account)

    def _hand_out(self, records: Iterable[Record], until: int) -> None:
        """Offer records to the listeners that want them. This is one step, so no listener gets only half of it."""
        of_tenant: dict[int, list[Record]] = {}
        of_listener: dict[Subscription, list[Record]] = {}
        for record in records:
            of_tenant.setdefault(record.transaction.tenant, []).append(record)
            listeners: set[Subscription] = set()
            for entry in record.entries:
                listeners.update(self._listeners(entry.account))
            if record.account is not None:
                listeners.update(self._listeners(record.account.terms.account))
            for listener in listeners:
                of_listener.setdefault(listener, []).append(record)
        for tenant, found in of_tenant.items():
            for listener in self._of_tenant.get(tenant, ()):
                listener.offer(found)
        for listener, found in of_listener.items():
            listener.offer(found)
        self.position = self.horizon = until


def _remove(index: dict[Key, set[Subscription]], key: Key, subscription: Subscription) -> None:
    found = index.get(key)
    if found is not None:
        found.discard(subscription)
        if not found:
            del index[key]
