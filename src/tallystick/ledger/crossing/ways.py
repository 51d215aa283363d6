"""The ways to cross shards, by their name in the configuration. No other module names them.

To remove a way, delete its folder and its line in `WAYS`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from typing import Final

from tallystick.ledger.request_queue import DecidedOutcome
from tallystick.ledger.shard import Shard
from tallystick.ledger.writing import Units

WAYS: Final = {
    "saga": "tallystick.ledger.crossing.ways:Way",
    "two_phase": "tallystick.ledger.crossing.two_phase.way:TwoPhaseWay",
}


class Way:
    """A way to write transfers between shards. This one is `saga`: each command is written by its own shard.

    A process has an object of every way. The configured way may change, and the unfinished work of the earlier one
    must still be ended.
    """

    def __init__(self, shards: Callable[[], Sequence[Shard]], tenant_weights: Mapping[int, int]) -> None:
        """`shards` returns the present shards. Tenants take turns by weight, as in the queue of a shard."""
        self._shards = shards
        self._tenant_weights = tenant_weights

    @staticmethod
    def check(dsns: Mapping[int, str]) -> None:
        """Check that the servers of these shards are set up for this way.

        Raises:
            PreparationError: a server is not. The message says what it needs.
        """

    @staticmethod
    def connections_to_shard(_shards: int, /) -> int:
        """How many more connections a process opens to each shard than without it. `_shards`: how many there are."""
        return 0

    def submit(self, home: Shard, units: Units) -> Awaitable[Sequence[DecidedOutcome]]:
        """Have the commands of one request decided and written. Returns an answer for each of them.

        Raises:
            OverloadedError: a queue is full.
            UnavailableError: a shard cannot be reached, or did not answer in time.
            FaultyCommandError: a bug refused a command, which was not written.
        """
        return home.batcher.submit(units)

    def start(self) -> None:
        """Begin to look for unfinished work of processes that died."""

    async def stop(self) -> None:
        """Write the requests that wait, and stop looking."""


def way_of(name: str) -> type[Way]:
    """The class of a way, by its name in the configuration."""
    module, _, class_name = WAYS[name].partition(":")
    way: type[Way] = getattr(import_module(module), class_name)
    return way
