"""A shard with its followers: the change feed, and balances that may be cached, or read from a standby."""

from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tallystick.domain import limits
from tallystick.followers.cache.balances import BalanceReader, FoundBalance
from tallystick.followers.cache.tailer import Tailer
from tallystick.followers.feed.feed import Feed
from tallystick.followers.standby import StandbyReader
from tallystick.ledger.fair_queue import NO_WEIGHTS
from tallystick.ledger.rounds import Rounds
from tallystick.ledger.shard import Shard
from tallystick.store.cache.balances import Cache
from tallystick.store.feed import FeedReader
from tallystick.store.standby import Standbys

if TYPE_CHECKING:
    from tallystick.background.tracing import Tracing


class ServedShard(Shard):
    """A shard, its change feed, and its balances."""

    def __init__(
        self,
        number: int,
        dsn: str,
        cache: Cache | None = None,
        clock_tolerance_seconds: float = limits.CLOCK_TOLERANCE_SECONDS_DEFAULT,
        tenant_weights: Mapping[int, int] = NO_WEIGHTS,
        *,
        listeners_turns: Rounds | None = None,
        tracing: "Tracing | None" = None,
    ) -> None:
        """`listeners_turns` are shared by all shards of this process. Without them the shard has its own."""
        super().__init__(number, dsn, clock_tolerance_seconds, tenant_weights, tracing)
        self.feed = Feed(
            number,
            self.reader,
            FeedReader(self.database),
            listeners_turns or Rounds(limits.FEED_COST_PER_ROUND, 1),
        )
        self.balances = BalanceReader(number, self.reader, cache)
        self._standbys = Standbys(dsn)
        self._standby_balances = StandbyReader(number, self._standbys)
        self._tailer = None if cache is None else Tailer(number, self.reader, cache)
        self.batcher.on_committed(self.feed.follower.committed)
        self.batcher.on_committed(self.balances.committed)

    def newest_balances(
        self, accounts: Sequence[int], *, min_position: int, strong: bool, standby: bool
    ) -> Coroutine[Any, Any, dict[int, FoundBalance]]:
        """Read balances where the caller asks for them. This is the only place where that is chosen.

        The coroutine is that of `BalanceReader.read`, or with `standby` of `StandbyReader.read`.
        """
        if standby:
            return self._standby_balances.read(accounts, min_position=min_position)
        return self.balances.read(accounts, min_position=min_position, strong=strong)

    async def start(self) -> None:
        """Begin to connect and serve."""
        await super().start()
        if self._tailer is not None:
            self._tailer.start()

    async def _stop_followers(self) -> None:
        await self.feed.follower.stop()
        if self._tailer is not None:
            await self._tailer.stop()
        await self.balances.stop()
        await self._standbys.close()
