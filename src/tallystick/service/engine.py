"""Everything that the tenants of one installation share: the shards, and what stands beside the log."""

from collections.abc import Mapping

from tallystick.ledger.router import Router
from tallystick.service.assets import Assets
from tallystick.service.authentication import ApiKeys
from tallystick.store.directory import Directory


class Engine:
    """A running ledger. API keys and custom assets are kept on the first shard."""

    def __init__(self, dsns: Mapping[int, str]) -> None:
        self.router = Router(dsns)
        directory = Directory(self.router.shards[0].database)
        self.assets = Assets(directory)
        self.api_keys = ApiKeys(directory)

    async def start(self) -> None:
        """Begin to serve."""
        await self.router.start()

    async def connected(self) -> None:
        """Wait until every shard can be written to; raises UnavailableError when one could not be reached in time."""
        await self.router.connected()

    async def stop(self) -> None:
        """Answer what waits, then close all connections."""
        await self.router.stop()
