"""Look up owners on a shard. All owners that wait are looked up in one query."""

import asyncio
from typing import NamedTuple

from tallystick.domain import limits
from tallystick.store.connection import Database
from tallystick.store.placements import OwnerLookup, look_up_owners


class _WaitingOwner(NamedTuple):
    """An owner, and the callers that wait for the answer."""

    tenant: int
    owner: str
    answer: asyncio.Future[OwnerLookup]


class OwnerLookups:
    """Look-ups on one shard. Each is answered by a query that is sent after it was requested."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_WaitingOwner] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, tenant: int, owner: str) -> OwnerLookup:
        """The shard's answer about an owner. Raises what `database.rows` raises."""
        answer: asyncio.Future[OwnerLookup] = asyncio.get_running_loop().create_future()
        self._waiting.append(_WaitingOwner(tenant, owner, answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all(), name="look-ups of owners")
        return await answer

    async def _ask_all(self) -> None:
        while self._waiting:
            owners = self._waiting[: limits.OWNER_LOOKUPS_AT_A_TIME]
            del self._waiting[: limits.OWNER_LOOKUPS_AT_A_TIME]
            try:
                answers = await look_up_owners(
                    self._database, [(owner.tenant, owner.owner) for owner in owners]
                )
            except Exception as error:  # noqa: BLE001 - after any error the waiting callers need an answer
                for owner in owners:
                    if not owner.answer.done():
                        owner.answer.set_exception(error)
                continue
            for owner, answer in zip(owners, answers, strict=True):
                if not owner.answer.done():
                    owner.answer.set_result(answer)
