"""The way `two_phase`: a coordinator for each pair of shards writes the transfers between them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from tallystick.domain.commands import Command, PostTransaction, Reach, Transfer
from tallystick.domain.decide import Atomic
from tallystick.domain.identifiers import shard_of
from tallystick.ledger.crossing.two_phase.databases import check_prepared_transactions
from tallystick.ledger.crossing.two_phase.deciding import CrossingCommand
from tallystick.ledger.crossing.two_phase.pairs import Coordinator
from tallystick.ledger.crossing.two_phase.resolver import Resolver
from tallystick.ledger.crossing.ways import Way
from tallystick.ledger.request_queue import DecidedOutcome
from tallystick.ledger.shard import Shard
from tallystick.ledger.writing import Units


class TwoPhaseWay(Way):
    """A coordinator is made at the first transfer between its shards."""

    def __init__(self, shards: Callable[[], Sequence[Shard]], tenant_weights: Mapping[int, int]) -> None:
        """See `Way`."""
        super().__init__(shards, tenant_weights)
        self._coordinators: dict[frozenset[int], Coordinator] = {}
        self._resolver = Resolver(shards)

    @staticmethod
    def check(dsns: Mapping[int, str]) -> None:
        """See `Way`; raises PreparationError."""
        check_prepared_transactions(dsns)

    @staticmethod
    def connections_to_shard(shards: int, /) -> int:
        """See `Way`. One for the resolver, and one for each other shard."""
        return shards

    async def submit(self, home: Shard, units: Units) -> Sequence[DecidedOutcome]:
        """See `Way`. Commands that cross are written on both shards together, the others by their own shard."""
        places: dict[Shard | None, list[int]] = {}
        for place, unit in enumerate(units):
            places.setdefault(self._other_shard(home, unit), []).append(place)
        if places.keys() == {None}:
            return await home.batcher.submit(units)
        found = await asyncio.gather(
            *(self._write(home, other, [units[place] for place in mine]) for other, mine in places.items())
        )
        answers: dict[int, DecidedOutcome] = {}
        for mine, answered in zip(places.values(), found, strict=True):
            answers.update(zip(mine, answered, strict=True))
        return [answers[place] for place in range(len(units))]

    def start(self) -> None:
        """Begin to end halves that were left prepared."""
        self._resolver.start()

    async def stop(self) -> None:
        """Write the requests that wait, and close."""
        await asyncio.gather(*(coordinator.stop() for coordinator in self._coordinators.values()))
        await self._resolver.stop()

    async def _write(self, home: Shard, other: Shard | None, units: Units) -> Sequence[DecidedOutcome]:
        if other is None:
            return await home.batcher.submit(units)
        crossings = [
            CrossingCommand(home.number, unit)
            for unit in units
            if isinstance(unit, Transfer | PostTransaction)
        ]
        pair = frozenset((home.number, other.number))
        if pair not in self._coordinators:
            self._coordinators[pair] = Coordinator(home, other, self._tenant_weights)
        return await self._coordinators[pair].submit(crossings)

    def _other_shard(self, home: Shard, unit: Command | Atomic) -> Shard | None:
        """The other shard of a command that crosses; None if one shard alone decides it."""
        match unit:
            case Transfer(reach=Reach.REACHABLE):
                numbers = {shard_of(unit.destination)}
            case PostTransaction():
                numbers = {shard_of(account) for account, _ in unit.entries}
            case _:
                return None
        others = numbers - {home.number}
        if len(others) != 1:
            return None
        return next((shard for shard in self._shards() if shard.number in others), None)
