"""The largest number of accounts of a tenant. Closed accounts count, because they stay in the books.

Counting takes longer with more accounts, so it happens seldom. In between, accounts that this process opens are
added. Accounts that other processes open meanwhile may exceed the quota a little.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tallystick.background.worker import begin
from tallystick.domain import limits
from tallystick.domain.commands import Kind
from tallystick.domain.decide import Decision
from tallystick.ledger.errors import NotTakenError
from tallystick.ledger.shard import Shard
from tallystick.service.errors import TooManyOpenedAccountsError
from tallystick.store.errors import StoreError


class _Count(NamedTuple):
    """The number of a tenant's accounts, if this process knows it, and the time of the next count."""

    accounts: int | None
    due_seconds: float


class AccountQuota:
    """Refuses accounts beyond the quota of each tenant, on all shards together."""

    def __init__(self, shards: Callable[[], Sequence[Shard]]) -> None:
        self.accounts_max = limits.ACCOUNTS_PER_TENANT_DEFAULT
        self._shards = shards
        self._counts: dict[int, _Count] = {}
        self._counting: dict[int, asyncio.Task[None]] = {}

    async def require_room(self, tenant: int) -> None:
        """Check that one more account may be opened. It may, if accounts cannot be counted soon enough.

        Raises:
            TooManyOpenedAccountsError: the quota is used up.
        """
        known = self._counts.get(tenant)
        if known is None or time.monotonic() > known.due_seconds:
            counting = self._counting.get(tenant)
            if counting is None:
                counting = begin("count of accounts", self._count(tenant))
                self._counting[tenant] = counting
                counting.add_done_callback(lambda _: self._counting.pop(tenant, None))
            if known is None:
                await asyncio.wait([counting], timeout=limits.ACCOUNTS_COUNT_PATIENCE_SECONDS)
                known = self._counts.get(tenant)
        if known is not None and known.accounts is not None and known.accounts >= self.accounts_max:
            raise TooManyOpenedAccountsError(
                f"the tenant has {known.accounts} accounts, of {self.accounts_max} that it may have"
            )

    def committed(self, decision: Decision) -> None:
        """Add the accounts that a batch opened."""
        if not decision.appended.accounts:
            return
        for row in decision.appended.transactions:
            if row.kind is not Kind.ACCOUNT_OPENED:
                continue
            known = self._counts.get(row.tenant)
            if known is not None and known.accounts is not None:
                self._counts[row.tenant] = known._replace(accounts=known.accounts + 1)

    async def stop(self) -> None:
        """Stop counting."""
        tasks = list(self._counting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _count(self, tenant: int) -> None:
        started = time.monotonic()
        counts = await asyncio.gather(*(_counted(shard, tenant) for shard in self._shards()))
        ended = time.monotonic()
        pause_seconds = limits.ACCOUNTS_COUNT_PAUSE_FACTOR * (ended - started)
        due_seconds = ended + max(limits.ACCOUNTS_COUNT_SECONDS_MIN, pause_seconds)
        found = [count for count in counts if count is not None]
        if len(found) == len(counts):
            self._counts[tenant] = _Count(sum(found), due_seconds)
        else:
            # The other shards are not counted again each time because of this one.
            known = self._counts.get(tenant)
            self._counts[tenant] = _Count(None if known is None else known.accounts, due_seconds)


async def _counted(shard: Shard, tenant: int) -> int | None:
    """The number of a tenant's accounts on a shard; None if the shard cannot be reached."""
    try:
        async with shard.expensive_reads.turn(tenant):
            return await shard.reader.account_count(tenant)
    except (NotTakenError, StoreError):
        return None
