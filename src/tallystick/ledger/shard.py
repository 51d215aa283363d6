"""One shard as this process sees it: its batcher, and a pool to read with."""

from tallystick.domain.identifiers import make_identifier
from tallystick.ledger.batcher import Batcher
from tallystick.store.connection import Database
from tallystick.store.reads import Reader


class Shard:
    """A shard's number, its writer and its reader."""

    def __init__(self, number: int, dsn: str) -> None:
        self.number = number
        self.batcher = Batcher(number, dsn)
        self.database = Database(dsn)
        self.reader = Reader(self.database)

    async def start(self) -> None:
        """Begin to serve, or to try to connect."""
        await self.database.open()
        self.batcher.start()

    async def stop(self) -> None:
        """Write what waits, then close."""
        await self.batcher.stop()
        await self.database.close()

    def identifier(self, position: int) -> int:
        """The identifier of a transaction or a hold at a position of this shard."""
        return make_identifier(self.number, position)
