"""A worker for each shard, so that one that waits for its shard does not delay the others."""

import asyncio
from collections.abc import Callable, Sequence

from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.ledger.shard import Shard


class ShardWorkers:
    """A worker for each shard of this process, also for those that are added later."""

    def __init__(
        self, name: str, shards: Callable[[], Sequence[Shard]], make: Callable[[Shard], Worker]
    ) -> None:
        """`shards` returns the current shards; `make` makes the worker of one."""
        self._shards = shards
        self._make = make
        self._workers: dict[int, Worker] = {}
        self._looking = Worker(
            f"{name} of new shards", self._look, interval_seconds=limits.SHARD_WORKERS_INTERVAL_SECONDS
        )

    def start(self) -> None:
        """Begin to work."""
        self._looking.start()

    async def stop(self) -> None:
        """Stop all workers, also in the middle of a round."""
        await self._looking.stop()
        await asyncio.gather(*(worker.stop() for worker in self._workers.values()))

    async def _look(self) -> None:
        for shard in self._shards():
            if shard.number not in self._workers:
                worker = self._workers[shard.number] = self._make(shard)
                worker.start()
