"""Subscriptions to a shard's log: what a listener wants, and the records that wait for it."""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

from tallystick.domain import limits
from tallystick.domain.commands import Kind
from tallystick.domain.parts import is_shown, stored_kinds
from tallystick.domain.record import Record
from tallystick.ledger.rounds import Rounds


class Wanted(NamedTuple):
    """The records that a listener wants: a tenant's transactions, limited to kinds, and to accounts or an owner.

    `stages`: each stage of transfers between shards, as in the log. Otherwise parts of payments, of the kinds that
    were asked for.
    """

    tenant: int
    kinds: frozenset[Kind] | None = None
    accounts: frozenset[int] | None = None
    owner: str | None = None
    stages: bool = False

    @property
    def stored_kinds(self) -> frozenset[Kind] | None:
        """The kinds under which the log may have wanted records; None: all kinds."""
        return self.kinds if self.stages else stored_kinds(self.kinds)

    def shows(self, shard: int, record: Record) -> bool:
        """Whether a transaction of one of those kinds is wanted, as far as it records what was asked for."""
        return self.stages or is_shown(shard, record, self.kinds)


class NewRecords(NamedTuple):
    """Records in the order of the log. There are no other wanted records up to `position`.

    Listeners share `records`, which must not be changed.
    """

    records: list[Record]
    position: int


class Following(Protocol):
    """What a subscription needs of the follower that hands it records."""

    turns: Rounds
    shard: int
    position: int
    horizon: int

    def require_open(self) -> None:
        """Raise UnavailableError if this process stops."""

    def wanted_of(
        self, taken: Sequence[Record], wanted: Wanted, wants: Callable[[Record], bool]
    ) -> list[Record]:
        """The records of these that a listener wants."""


class Subscription:
    """The records that wait for one listener. If there are too many, the listener loses its place.

    Listeners to a whole tenant share their waiting records, so each may have more of them. Records are given out a
    few at a time, in turns with other listeners. It gets all records after `joined_at`.
    """

    def __init__(self, wanted: Wanted, follower: Following) -> None:
        self.wanted = wanted
        self._kinds = wanted.stored_kinds
        self.joined_at = follower.horizon
        # None: all accounts, or those of an owner, which are not known yet.
        self.accounts = None if wanted.accounts is None else set(wanted.accounts)
        self._follower = follower
        self._waiting: deque[Record] = deque()
        self._woken = asyncio.Event()
        self._turn_asked = False
        self._lost = False

    def offer(self, records: Sequence[Record]) -> None:
        """Keep records for the listener. They are filtered when it has its turn."""
        if self._lost:
            return
        if len(self._waiting) + len(records) > self._waiting_max():
            # The listener is slower than the log. It goes on by reading the log at its own speed.
            self._lost = True
            self._waiting.clear()
        else:
            self._waiting.extend(records)
        self._ask_for_turn()

    def _waiting_max(self) -> int:
        # (A listener to an owner gets all records of the tenant until it knows the owner's accounts.)
        if self.accounts is None:
            return limits.FEED_RECORDS_WAITING_OF_TENANT_MAX
        return limits.FEED_RECORDS_WAITING_MAX

    def _ask_for_turn(self) -> None:
        if not self._turn_asked:
            self._turn_asked = True
            self._follower.turns.call(self.wanted.tenant, cost_of(len(self._waiting)), self._take_turn)

    def _take_turn(self) -> bool:
        self._turn_asked = False
        self._woken.set()
        return True

    async def next(self) -> NewRecords | None:
        """New records, or none after `STREAM_HEARTBEAT_SECONDS`; None if the listener has lost its place.

        Raises:
            UnavailableError: this process stops.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.STREAM_HEARTBEAT_SECONDS):
                    await self._woken.wait()
            self._woken.clear()
            self._follower.require_open()
            if self._lost:
                return None
            new = self._take()
            if new.records or not self._waiting:
                return new

    def _take(self) -> NewRecords:
        """The next waiting records, as many as are sent at once."""
        waiting = self._waiting
        taken = [waiting.popleft() for _ in range(min(len(waiting), limits.STREAM_CHUNK_EVENTS_MAX))]
        position = self._follower.position
        if waiting:
            for _ in range(_beyond_common_end(taken)):
                waiting.appendleft(taken.pop())
            position = taken[-1].transaction.position
            self._ask_for_turn()
        records = self._follower.wanted_of(taken, self.wanted, self._wants) if taken else []
        return NewRecords(records, max(self.joined_at, position))

    def wake(self) -> None:
        """Wake the listener."""
        self._woken.set()

    def opened(self) -> set[int]:
        """The owner's accounts that waiting records have opened."""
        opened = (record.account for record in self._waiting if record.account is not None)
        return {state.terms.account for state in opened if state.terms.owner == self.wanted.owner}

    def _wants(self, record: Record) -> bool:
        row = record.transaction
        if row.tenant != self.wanted.tenant:
            return False
        if self._kinds is not None and row.kind not in self._kinds:
            return False
        if not self.wanted.shows(self._follower.shard, record):
            return False
        accounts = self.accounts
        if accounts is None:
            return True
        if record.account is not None and record.account.terms.account in accounts:
            return True
        return any(entry.account in accounts for entry in record.entries)


def _beyond_common_end(taken: Sequence[Record]) -> int:
    """How many of these records come after the last position at which all listeners end what they take.

    So listeners that began at different positions soon take the same records.
    """
    last = taken[-1].transaction.position
    end = last - last % limits.STREAM_CHUNK_EVENTS_MAX
    return len(taken) - (bisect_right(taken, end, key=_position) or len(taken))


def cost_of(record_count: int) -> int:
    """The cost of sending a number of records at once, in units of sending one."""
    return 1 + min(record_count, limits.STREAM_CHUNK_EVENTS_MAX) // limits.FEED_RECORDS_FOR_COST_OF_ONE


_position: Final = attrgetter("transaction.position")
