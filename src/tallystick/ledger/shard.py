"""One shard as this process sees it: its batcher, a pool to read with, and whoever follows its log."""

from typing import Any

from tallystick.domain.identifiers import make_identifier
from tallystick.ledger.balances import Balances
from tallystick.ledger.batcher import Batcher
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.feed import Feed
from tallystick.ledger.tailer import Tailer
from tallystick.store.cache import Cache
from tallystick.store.connection import Database, Rows
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.feed import FeedReader
from tallystick.store.reads import Reader


class _ShardDatabase(Database):
    """A shard's database, whose loss callers hear of as they do when they write."""

    def __init__(self, shard: int, dsn: str) -> None:
        super().__init__(dsn)
        self._shard = shard

    async def rows(self, name: str, *parameters: Any) -> Rows:
        """Run a named query and fetch all of its rows; raises UnavailableError."""
        try:
            return await super().rows(name, *parameters)
        except ShardUnavailableError as error:
            raise UnavailableError(f"shard {self._shard} cannot be read now") from error


class Shard:
    """A shard's number, its writer, its reader, its change feed, and balances that may be cached."""

    def __init__(self, number: int, dsn: str, cache: Cache | None = None) -> None:
        self.number = number
        self.dsn = dsn
        self.database: Database = _ShardDatabase(number, dsn)
        self.reader = Reader(self.database)
        self.batcher = Batcher(number, dsn)
        self.feed = Feed(number, self.reader, FeedReader(self.database))
        self.balances = Balances(number, self.reader, cache)
        self._tailer = None if cache is None else Tailer(number, self.reader, cache)
        self.batcher.on_committed(self.feed.follower.committed)
        self.batcher.on_committed(self.balances.committed)

    async def start(self) -> None:
        """Begin to serve, or to try to connect."""
        await self.database.open()
        self.batcher.start()
        if self._tailer is not None:
            self._tailer.start()

    async def stop(self) -> None:
        """Write what waits, then close."""
        await self.batcher.stop()
        await self.feed.follower.stop()
        if self._tailer is not None:
            await self._tailer.stop()
        await self.balances.stop()
        await self.database.close()

    def identifier(self, position: int) -> int:
        """The identifier of a transaction or a hold at a position of this shard."""
        return make_identifier(self.number, position)
