"""Homes of owners: an owner stays on the shard of its first account, even if shards are added or closed.

Why two processes never give one owner two homes: docs/decisions/0008-homes-of-owners.md.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Generic, NamedTuple, TypeVar

from tallystick.domain.accounts import AccountState
from tallystick.domain.system_owners import SIGN
from tallystick.ledger.errors import NotTakenError, OwnerPlacementError, UnavailableError
from tallystick.ledger.fence import Fence
from tallystick.ledger.owner_lookups import OwnerLookups
from tallystick.ledger.placement import Placement, read_placement, unrecorded
from tallystick.ledger.shard import Shard
from tallystick.store.errors import StoreError
from tallystick.store.placements import record_owner_home, recorded_placement

ShardT = TypeVar("ShardT", bound=Shard)


class _HomeAnswer(NamedTuple):
    """A shard's answer about an owner: its home, if the shard knows it, or why the answer is missing."""

    shard: int
    home: int | None
    silence: str | None = None


class _HomeLookup(NamedTuple):
    """The result of a look-up: the home of an owner, if a shard knows it, and why other shards did not answer."""

    home: int | None
    silent: dict[int, str]

    def raise_if_unknown(self) -> None:
        """Raise UnavailableError if the owner may live on a shard that did not answer."""
        if self.home is None:
            for shard, why in self.silent.items():
                raise UnavailableError(f"the owner may have accounts on shard {shard}, which {why}")


class Homes(Generic[ShardT]):
    """Looks up owners on the shards that may have them, and places new owners."""

    def __init__(self, shards: Mapping[int, ShardT], open_shards: Collection[int]) -> None:
        """`shards` may grow later; `open_shards` are used until a placement is recorded."""
        self._shards = shards
        self._fences: dict[int, Fence] = {}
        self._lookups: dict[int, OwnerLookups] = {}
        self.placement = unrecorded(shards, open_shards)

    @asynccontextmanager
    async def opening(self, tenant: int, owner: str, near: int | None = None) -> AsyncIterator[ShardT]:
        """The shard on which to open an account of this owner. It stays the right one until the end of the block.

        `near` is the shard for a new owner.

        Raises:
            UnavailableError: that shard, or one that the owner may live on, cannot be reached.
            OwnerPlacementError: the owner does not live on `near`, or no new owner may.
        """
        if near is not None:
            await self._place(tenant, owner, near)
        async with self._opening(tenant, owner) as shard:
            if near not in (None, shard.number):
                raise OwnerPlacementError(
                    f"the owner has accounts on shard {shard.number}, and not on shard {near}"
                )
            yield shard

    @asynccontextmanager
    async def _opening(self, tenant: int, owner: str) -> AsyncIterator[ShardT]:
        if len(self.placement.candidates(tenant, owner)) > 1:
            # An owner that lives on another shard does not need the shard that takes new owners.
            found = await self._look_up(tenant, owner)
            found.raise_if_unknown()
            if found.home is not None:
                yield self._shard(found.home)
                return
        async with self._placing(tenant, owner) as shard:
            yield shard

    @asynccontextmanager
    async def _placing(self, tenant: int, owner: str) -> AsyncIterator[ShardT]:
        """The same for an owner that may be new: the placement cannot change during the look-up."""
        while True:
            choice = self.placement.choice(tenant, owner)
            async with self._fence(choice).held():
                found = await self._look_up(tenant, owner)
                found.raise_if_unknown()
                if found.home is not None:
                    yield self._shard(found.home)
                    return
                # Another placement may have come into force before this shard was fenced.
                if self.placement.choice(tenant, owner) == choice:
                    yield self._shards[choice]
                    return

    async def _place(self, tenant: int, owner: str, shard: int) -> None:
        """Place a new owner on a shard. The shard that the placement would have chosen records it.

        Raises what `opening` raises.
        """
        while (choice := self.placement.choice(tenant, owner)) != shard:
            # An owner that has a home already does not need the lock.
            if (await self._look_up(tenant, owner)).home is not None:
                return
            async with self._fence(choice).held_alone():
                found = await self._look_up(tenant, owner)
                found.raise_if_unknown()
                if found.home is not None:
                    return
                if shard not in self.placement.generations[-1]:
                    raise OwnerPlacementError(f"shard {shard} takes no new owners")
                # Another placement may have come into force before this shard was fenced.
                if self.placement.choice(tenant, owner) == choice:
                    await record_owner_home(self._shard(choice).database, tenant, owner, shard)
                    return

    async def home(self, tenant: int, owner: str) -> int | None:
        """The shard that an owner lives on; None: it has no accounts.

        Raises:
            UnavailableError: a shard that may have some cannot be reached.
        """
        found = await self._look_up(tenant, owner)
        found.raise_if_unknown()
        return found.home

    async def accounts(self, tenant: int, owner: str, after: int, row_count: int) -> list[AccountState]:
        """One page of an owner's accounts, in the order of their identifiers.

        Raises:
            UnavailableError: a shard that may have some cannot be reached.
        """
        if owner.startswith(SIGN):
            return await self._accounts_everywhere(tenant, owner, after, row_count)
        home = await self.home(tenant, owner)
        if home is None:
            return []
        return await self._shard(home).reader.accounts_of_owner(tenant, owner, after, row_count)

    async def _accounts_everywhere(
        self, tenant: int, owner: str, after: int, row_count: int
    ) -> list[AccountState]:
        """The same for a system owner, which lives on every shard."""
        shards = [self._shard(number) for number in sorted({*self.placement.shards, *self._shards})]
        pages = await asyncio.gather(
            *(shard.reader.accounts_of_owner(tenant, owner, after, row_count) for shard in shards)
        )
        # Identifiers begin with the shard's number, so this is their order too.
        return [state for page in pages for state in page][:row_count]

    async def refresh(self) -> None:
        """Read the newest recorded placement. Shards that do not answer are skipped."""

        async def ask(shard: Shard) -> None:
            try:
                self._take_over(read_placement(await recorded_placement(shard.database)))
            except (StoreError, NotTakenError):
                return

        await asyncio.gather(*map(ask, list(self._shards.values())))

    # Looking up.

    async def _look_up(self, tenant: int, owner: str) -> _HomeLookup:
        """Ask every shard that may have this owner, according to the newest placement that any of them has."""
        while True:
            placement = self.placement
            candidates = placement.candidates(tenant, owner)
            asked = [asyncio.create_task(self._ask(shard, placement, tenant, owner)) for shard in candidates]
            try:
                found = await _until_home_is_known(asked)
            finally:
                for task in asked:
                    task.cancel()
            if self.placement is placement:
                return found

    async def _ask(self, number: int, placement: Placement, tenant: int, owner: str) -> _HomeAnswer:
        shard = self._shards.get(number)
        if shard is None:
            return _HomeAnswer(number, None, "this server does not know yet")
        try:
            answer = await self._lookups_on(shard).ask(tenant, owner)
        except (StoreError, NotTakenError):
            return _HomeAnswer(number, None, "cannot be reached now")
        recorded = read_placement(answer.placement)
        self._take_over(recorded)
        home = number if answer.has_accounts else answer.placed_on
        if recorded.version < placement.version and home is None:
            # Other servers may still place owners here by an older placement.
            return _HomeAnswer(number, None, "does not have the newest placement: run `tallystick migrate`")
        return _HomeAnswer(number, home)

    def _take_over(self, recorded: Placement) -> None:
        if recorded.version > self.placement.version:
            self.placement = recorded

    def _lookups_on(self, shard: Shard) -> OwnerLookups:
        return self._lookups.setdefault(shard.number, OwnerLookups(shard.database))

    def _shard(self, number: int) -> ShardT:
        shard = self._shards.get(number)
        if shard is None:
            raise UnavailableError(f"this server does not know shard {number} yet")
        return shard

    def _fence(self, number: int) -> Fence:
        shard = self._shards.get(number)
        if shard is None:
            raise UnavailableError(f"new owners live on shard {number}, which this server does not know yet")
        return self._fences.setdefault(number, Fence(shard.database))


async def _until_home_is_known(asked: list[asyncio.Task[_HomeAnswer]]) -> _HomeLookup:
    """Collect answers. Once the owner's home is known, do not wait for shards that cannot matter."""
    silent: dict[int, str] = {}
    for next_answer in asyncio.as_completed(asked):
        answer = await next_answer
        if answer.home is not None:
            return _HomeLookup(answer.home, silent)
        if answer.silence is not None:
            silent[answer.shard] = answer.silence
    return _HomeLookup(None, silent)
