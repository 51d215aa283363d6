"""Limits expensive work to a few places. Tenants take turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tallystick.domain import limits
from tallystick.ledger.errors import OverloadedError
from tallystick.ledger.fair_queue import FairQueue


class Turns:
    """A number of places. Tenants take turns for a free place, whatever the number of their requests."""

    def __init__(
        self, places: int, what: str, waiting_per_tenant_max: int = limits.TURNS_WAITING_PER_TENANT_MAX
    ) -> None:
        """`what` names the work, for the error if too many wait."""
        self._free = places
        self._waiting_per_tenant_max = waiting_per_tenant_max
        self._what = what
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue(1)

    @asynccontextmanager
    async def turn(self, tenant: int) -> AsyncIterator[None]:
        """Have a place until the end of the block.

        Raises:
            OverloadedError: too many of this tenant wait, or it takes too long.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._release()

    async def _wait(self, tenant: int) -> None:
        if self._queue.size_of(tenant) >= self._waiting_per_tenant_max:
            raise OverloadedError(f"{self._queue.size_of(tenant)} wait for {self._what}")
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(tenant, 1, mine)
        try:
            async with asyncio.timeout(limits.READ_WAIT_SECONDS_MAX):
                await mine
        except BaseException as error:
            if mine.done() and not mine.cancelled():
                # It got a place at the same moment.
                self._release()
            if isinstance(error, TimeoutError):
                raise OverloadedError(f"waited too long for {self._what}") from None
            raise

    def _release(self) -> None:
        while self._queue:
            waiting = self._queue.take().item
            if not waiting.done():
                waiting.set_result(None)
                return
        self._free += 1
