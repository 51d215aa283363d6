"""Writing tenants and API keys, which only the owner of the tables may do."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.store.connection import Database
from tallystick.store.directory import Directory


@asynccontextmanager
async def owners_directory(owner_dsns: Mapping[int, str]) -> AsyncIterator[ReplicatedDirectory]:
    """Open the directory of all shards for writing.

    `dsns` are the connection strings of the owners, by shard number.
    """
    async with AsyncExitStack() as opened:
        directories = {}
        for number, dsn in owner_dsns.items():
            database = Database(dsn)
            await database.open()
            opened.push_async_callback(database.close)
            directories[number] = Directory(database)
        yield ReplicatedDirectory(directories)
