"""Keep the placement of a shard unchanged while owners are placed on it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tallystick.domain import limits
from tallystick.ledger.errors import UnavailableError
from tallystick.store.connection import Database
from tallystick.store.errors import ShardUnavailableError


class Fence:
    """One database lock for all tasks of this process that place an owner on the shard at the same time.

    They share it in rounds. A task that comes some time after a round has begun starts another round, which waits
    behind `migrate` if `migrate` wants the lock.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._round: _Round | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep the placement until the end of the block. Raises UnavailableError."""
        now = asyncio.get_running_loop().time()
        if self._round is None or self._round.ended or self._round.closes_at < now:
            self._round = _Round(self._database, now + limits.PLACEMENT_ROUND_SECONDS_MAX)
        async with self._round.joined():
            yield

    @asynccontextmanager
    async def held_alone(self) -> AsyncIterator[None]:
        """The same, and no other server places an owner on the shard in the meantime. Raises UnavailableError."""
        try:
            async with self._database.holding("hold_placement_alone"):
                yield
        except ShardUnavailableError as error:
            raise UnavailableError("the shard that takes this owner cannot be reached now") from error


class _Round:
    """The tasks that hold the lock together. The first takes it, the last releases it."""

    def __init__(self, database: Database, closes_at: float) -> None:
        self.closes_at = closes_at
        self.ended = False
        self._members = 0
        self._lock = AsyncExitStack()
        self._taking = asyncio.create_task(self._lock.enter_async_context(database.holding("hold_placement")))

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        self._members += 1
        try:
            await self._taken()
            yield
        finally:
            self._members -= 1
            if self._members == 0:
                self.ended = True
                await self._end()

    async def _taken(self) -> None:
        try:
            # Shielded: a cancelled task must not take the lock away from the others.
            await asyncio.shield(self._taking)
        except ShardUnavailableError as error:
            raise UnavailableError("the shard that takes this owner cannot be reached now") from error

    async def _end(self) -> None:
        await asyncio.gather(self._taking, return_exceptions=True)
        await self._lock.aclose()
