"""Tenants and API keys as they are written: by the owner of the tables, and by no server."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.store.connection import Database
from tallystick.store.directory import Directory


@asynccontextmanager
async def owners_directory(owner_dsns: Mapping[int, str]) -> AsyncIterator[ReplicatedDirectory]:
    """Open the directory of all shards for writing, with what the owner of each connects with, by number."""
    async with AsyncExitStack() as opened:
        directories = {}
        for number, dsn in owner_dsns.items():
            database = Database(dsn)
            await database.open()
            opened.push_async_callback(database.close)
            directories[number] = Directory(database)
        yield ReplicatedDirectory(directories)
