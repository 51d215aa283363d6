"""How many accounts a tenant may have. Those that are closed count: they stay in the books.

To count them takes longer the more there are, so they are counted seldom. In between what is opened here is
added. What others open meanwhile may be a little too much.
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
    """How many accounts a tenant has, if this process knows, and when they are to be counted again."""

    accounts: int | None
    due_seconds: float


class AccountQuota:
    """Refuses to open more accounts than each tenant may have, on all shards together."""

    def __init__(self, shards: Callable[[], Sequence[Shard]]) -> None:
        self.accounts_max = limits.ACCOUNTS_PER_TENANT_DEFAULT
        self._shards = shards
        self._counts: dict[int, _Count] = {}
        self._counting: dict[int, asyncio.Task[None]] = {}

    async def require_room(self, tenant: int) -> None:
        """Let one more account be opened. Where they cannot be counted soon, it may be.

        Raises:
            TooManyOpenedAccountsError: the tenant has as many as it may have.
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
        """Add what was opened here."""
        if not decision.appended.accounts:
            return
        for row in decision.appended.transactions:
            if row.kind is not Kind.ACCOUNT_OPENED:
                continue
            known = self._counts.get(row.tenant)
            if known is not None and known.accounts is not None:
                self._counts[row.tenant] = known._replace(accounts=known.accounts + 1)

    async def stop(self) -> None:
        """Count no more."""
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
            # The others are not counted again and again for it.
            known = self._counts.get(tenant)
            self._counts[tenant] = _Count(None if known is None else known.accounts, due_seconds)


async def _counted(shard: Shard, tenant: int) -> int | None:
    """How many accounts a tenant has on a shard; None when the shard is away."""
    try:
        async with shard.expensive_reads.turn(tenant):
            return await shard.reader.account_count(tenant)
    except (NotTakenError, StoreError):
        return None
