"""Which shard: of an identifier by arithmetic, of a new owner by a hash."""

import hashlib
from collections.abc import Mapping

from tallystick.domain.identifiers import shard_of
from tallystick.ledger.expiry import ExpiryWorker
from tallystick.ledger.shard import Shard


class Router:
    """All shards that this process serves."""

    def __init__(self, dsns: Mapping[int, str]) -> None:
        self._shards = {number: Shard(number, dsn) for number, dsn in sorted(dsns.items())}
        self._workers = [ExpiryWorker(shard) for shard in self._shards.values()]

    @property
    def shards(self) -> list[Shard]:
        """The shards, by number."""
        return list(self._shards.values())

    def shard(self, identifier: int) -> Shard | None:
        """The shard that an account, a transaction or a hold lives on; None when it is not configured."""
        return self._shards.get(shard_of(identifier))

    def home(self, tenant: int, owner: str) -> Shard:
        """The shard of an owner: rendezvous hashing, so that an added shard takes owners from all others alike."""

        def weight(shard: Shard) -> bytes:
            return hashlib.sha256(f"{shard.number}/{tenant}/{owner}".encode()).digest()

        if len(self._shards) == 1:
            return next(iter(self._shards.values()))
        return max(self._shards.values(), key=weight)

    async def start(self) -> None:
        """Begin to serve every shard."""
        for shard in self._shards.values():
            await shard.start()
        for worker in self._workers:
            worker.start()

    async def connected(self) -> None:
        """Wait until every shard can be written to; raises UnavailableError when one could not be reached in time."""
        for shard in self._shards.values():
            await shard.batcher.connected()

    async def stop(self) -> None:
        """Stop the workers, write what waits, close."""
        for worker in self._workers:
            await worker.stop()
        for shard in self._shards.values():
            await shard.stop()
