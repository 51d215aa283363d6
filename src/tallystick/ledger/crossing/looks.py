"""Looking at every shard again and again: one that does not answer does not delay the look at the others."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from tallystick.ledger.pauses import jittered
from tallystick.ledger.shard import Shard


class Looks:
    """Looks at each shard, at one that is still being looked at no second time."""

    def __init__(
        self,
        name: str,
        shards: Callable[[], Sequence[Shard]],
        look: Callable[[Shard], Coroutine[Any, Any, None]],
        interval_seconds: float,
    ) -> None:
        """`shards` tells which there are now: shards may be added meanwhile. `look` raises nothing."""
        self._name = name
        self._shards = shards
        self._look = look
        self._interval_seconds = interval_seconds
        self._task: asyncio.Task[None] | None = None
        self._looks: dict[int, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            tasks = [self._task, *self._looks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            for shard in self._shards():
                if shard.number not in self._looks or self._looks[shard.number].done():
                    name = f"{self._name}, shard {shard.number}"
                    self._looks[shard.number] = asyncio.create_task(self._look(shard), name=name)
            await asyncio.sleep(jittered(self._interval_seconds))
