"""Which shard: of an identifier by arithmetic, of an owner by asking."""

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager

from tallystick.domain.accounts import AccountState
from tallystick.domain.identifiers import shard_of
from tallystick.ledger.expiry import ExpiryWorker
from tallystick.ledger.homes import Homes
from tallystick.ledger.placement import Placement
from tallystick.ledger.shard import Shard
from tallystick.store.cache import Cache


class Router:
    """All shards that this process serves. Some may be added while it does."""

    def __init__(
        self,
        dsns: Mapping[int, str],
        *,
        open_shards: Collection[int] | None = None,
        cache: Cache | None = None,
    ) -> None:
        """Take the connection string of each shard, by number.

        `open_shards` take new owners (default: all), until a placement was recorded with `tallystick migrate`.
        `cache` has the balances that are read often.
        """
        self._cache = cache
        self._shards = {number: Shard(number, dsn, cache) for number, dsn in sorted(dsns.items())}
        self._workers = {shard.number: ExpiryWorker(shard) for shard in self._shards.values()}
        self._homes = Homes(self._shards, self._shards if open_shards is None else open_shards)

    @property
    def shards(self) -> list[Shard]:
        """The shards, by number."""
        return list(self._shards.values())

    @property
    def placement(self) -> Placement:
        """Which shards take new owners, as far as this process knows."""
        return self._homes.placement

    def shard(self, identifier: int) -> Shard | None:
        """The shard that an account, a transaction or a hold lives on; None when it is not configured."""
        return self._shards.get(shard_of(identifier))

    def opening(self, tenant: int, owner: str) -> AbstractAsyncContextManager[Shard]:
        """The shard on which to open an account of an owner, for `async with`: right until the end of the block.

        Raises:
            UnavailableError: that shard, or one that the owner may live on, cannot be reached.
        """
        return self._homes.opening(tenant, owner)

    async def accounts_of_owner(
        self, tenant: int, owner: str, after: int, row_count: int
    ) -> list[AccountState]:
        """One page of an owner's accounts, in the order of their identifiers.

        Raises:
            UnavailableError: a shard that may have some cannot be reached.
        """
        return await self._homes.accounts(tenant, owner, after, row_count)

    async def refresh_placement(self) -> None:
        """Learn of a placement that was recorded since; shards that do not answer are passed over."""
        await self._homes.refresh()

    async def add(self, number: int, dsn: str) -> Shard:
        """Serve one more shard, beside those that are served."""
        shard = Shard(number, dsn, self._cache)
        await shard.start()
        worker = self._workers[number] = ExpiryWorker(shard)
        worker.start()
        # In one step, and by number: whoever goes through the shards now goes on with those there were.
        self._shards[number] = shard
        for one in sorted(self._shards):
            self._shards[one] = self._shards.pop(one)
        return shard

    async def start(self) -> None:
        """Begin to serve every shard."""
        for shard in self.shards:
            await shard.start()
        for worker in self._workers.values():
            worker.start()

    async def connected(self) -> None:
        """Wait until every shard can be written to; raises UnavailableError when one could not be reached in time."""
        for shard in self.shards:
            await shard.batcher.connected()

    async def stop(self) -> None:
        """Stop the workers, write what waits, close."""
        for worker in self._workers.values():
            await worker.stop()
        for shard in self.shards:
            await shard.stop()
