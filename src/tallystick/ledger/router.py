"""Finds shards: for an identifier by arithmetic, for an owner by a look-up."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from tallystick.domain.accounts import AccountState
from tallystick.domain.identifiers import shard_of
from tallystick.ledger.errors import ShardNotConfiguredError
from tallystick.ledger.expiry import expiry_worker
from tallystick.ledger.homes import Homes
from tallystick.ledger.placement import Placement
from tallystick.ledger.shard import Shard
from tallystick.ledger.shard_workers import ShardWorkers

ShardT = TypeVar("ShardT", bound=Shard)


class Router(Generic[ShardT]):
    """All shards that this process serves. Shards may be added at any time."""

    def __init__(
        self,
        dsns: Mapping[int, str],
        make_shard: Callable[[int, str], ShardT],
        *,
        open_shards: Collection[int] | None = None,
    ) -> None:
        """`dsns` has the connection string of each shard, by number. `make_shard` makes a shard of both.

        `open_shards` take new owners (default: all), until a placement was recorded with `tallystick migrate`.
        """
        self._make = make_shard
        self._shards = {number: make_shard(number, dsn) for number, dsn in sorted(dsns.items())}
        self._expiry = ShardWorkers("expiry of holds", lambda: self.shards, expiry_worker)
        self._homes = Homes(self._shards, self._shards if open_shards is None else open_shards)

    @property
    def shards(self) -> list[ShardT]:
        """The shards, by number."""
        return list(self._shards.values())

    @property
    def is_shared(self) -> bool:
        """Whether several tenants have used a shard a short time ago."""
        return any(shard.batcher.is_shared for shard in self._shards.values())

    @property
    def placement(self) -> Placement:
        """Which shards take new owners, as far as this process knows."""
        return self._homes.placement

    def is_home_of_all_keys(self, shard: ShardT) -> bool:
        """Whether no request has its key on another shard."""
        return self._homes.placement.generations == ((shard.number,),)

    @property
    def first_shard(self) -> int:
        """The shard for things that could be on any shard. It never changes, even if shards are added."""
        return self.placement.generations[0][0]

    def shard(self, identifier: int) -> ShardT:
        """The shard that an account, a transaction or a hold lives on.

        Raises:
            ShardNotConfiguredError: this process does not know the shard.
        """
        return self.numbered(shard_of(identifier))

    def numbered(self, number: int) -> ShardT:
        """A shard by its number; raises ShardNotConfiguredError."""
        if number not in self._shards:
            raise ShardNotConfiguredError(number)
        return self._shards[number]

    def has_shard_of(self, identifier: int) -> bool:
        """Whether this process knows the shard of an account, a transaction or a hold."""
        return self.has_shard(shard_of(identifier))

    def has_shard(self, number: int) -> bool:
        """Whether this process knows a shard."""
        return number in self._shards

    def opening(
        self, tenant: int, owner: str, near: int | None = None
    ) -> AbstractAsyncContextManager[ShardT]:
        """The shard on which to open an account of an owner, until the end of the `async with` block.

        `near` is the shard for a new owner.

        Raises:
            UnavailableError: that shard, or one that the owner may live on, cannot be reached.
            OwnerPlacementError: the owner does not live on `near`, or no new owner may.
        """
        return self._homes.opening(tenant, owner, near)

    async def home_of_owner(self, tenant: int, owner: str) -> int | None:
        """The shard that an owner lives on; None: it has no accounts.

        Raises:
            UnavailableError: a shard that may have some cannot be reached.
        """
        return await self._homes.home(tenant, owner)

    async def accounts_of_owner(
        self, tenant: int, owner: str, after: int, row_count: int
    ) -> list[AccountState]:
        """One page of an owner's accounts, in the order of their identifiers.

        Raises:
            UnavailableError: a shard that may have some cannot be reached.
        """
        return await self._homes.accounts(tenant, owner, after, row_count)

    async def refresh_placement(self) -> None:
        """Read the newest recorded placement. Shards that do not answer are skipped."""
        await self._homes.refresh()

    async def add(self, number: int, dsn: str) -> ShardT:
        """Serve one more shard."""
        shard = self._make(number, dsn)
        await shard.start()
        shard.pulse.start()
        # A new mapping, in the order of numbers, so that loops over the old one are not disturbed.
        self._shards[number] = shard
        for one in sorted(self._shards):
            self._shards[one] = self._shards.pop(one)
        return shard

    async def start(self) -> None:
        """Begin to serve every shard."""
        for shard in self.shards:
            await shard.start()
            shard.pulse.start()
        self._expiry.start()

    async def connected(self) -> None:
        """Wait until every shard can be written to; raises UnavailableError if one could not be reached in time."""
        for shard in self.shards:
            await shard.batcher.connected()

    async def tried(self) -> None:
        """Wait until the first attempt to connect to each shard has ended, or takes too long."""
        await asyncio.gather(*(shard.batcher.tried() for shard in self.shards))

    async def stop(self) -> None:
        """Stop the workers, write what waits, close."""
        await self._expiry.stop()
        for shard in self.shards:
            await shard.stop()
