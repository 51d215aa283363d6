"""Balances of one shard from a standby, for reads that ask for one. The cache has no part in it."""

import asyncio
import time
from collections.abc import Sequence

from tallystick.domain import limits
from tallystick.followers.cache.balances import FoundBalance
from tallystick.followers.errors import NoStandbyError, PositionNotReachedError, StandbyUnavailableError
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.standby import StandbyBalances, Standbys


class StandbyReader:
    """Reads the balances of one shard from a standby, and never from the primary."""

    def __init__(self, shard: int, standbys: Standbys) -> None:
        self._shard = shard
        self._standbys = standbys

    async def read(self, accounts: Sequence[int], *, min_position: int = 0) -> dict[int, FoundBalance]:
        """Balances of accounts, by identifier, at least as new as a position. Unknown accounts are left out.

        Raises:
            NoStandbyError: the configuration names none.
            StandbyUnavailableError: none answers in time.
            PositionNotReachedError: the standby has not replayed the log so far, after a short wait.
        """
        if not self._standbys.are_named:
            raise NoStandbyError(self._shard)
        deadline = time.monotonic() + limits.POSITION_WAIT_SECONDS_MAX
        while (found := await self._look(accounts)).last_position < min_position:
            if time.monotonic() > deadline:
                raise PositionNotReachedError(
                    self._shard, min_position, found.last_position, from_standby=True
                )
            await asyncio.sleep(limits.POSITION_LOOK_SECONDS)
        return {balance.account: FoundBalance(balance, "standby") for balance in found.balances}

    async def _look(self, accounts: Sequence[int]) -> StandbyBalances:
        try:
            return await self._standbys.balances(accounts)
        except ShardUnavailableError as error:
            raise StandbyUnavailableError(self._shard) from error
