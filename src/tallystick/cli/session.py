"""The ledger as the commands use it: in this process, on the databases of the configuration file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from tallystick.cli.errors import CommandError
from tallystick.service.configuration import Configuration
from tallystick.service.engine import Engine
from tallystick.service.errors import ParameterError
from tallystick.service.ledger import Ledger
from tallystick.store.directory import Directory
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.migrate import check_schema

_log = structlog.get_logger(__name__)


def check_shards(configuration: Configuration) -> dict[int, ShardUnavailableError]:
    """Make sure that every shard has the schema of this version; return those that cannot be reached.

    Raises:
        SchemaError: a shard has another schema.
    """
    unavailable = {}
    for shard in configuration.shard:
        try:
            check_schema(shard.dsn, shard.number)
        except ShardUnavailableError as error:
            unavailable[shard.number] = error
    return unavailable


def unreachable(shard: int, error: ShardUnavailableError) -> str:
    """Say that a shard cannot be reached, and what to do about it."""
    return f"shard {shard} cannot be reached ({error}): start its database, or correct the configuration"


@asynccontextmanager
async def open_engine(configuration: Configuration) -> AsyncIterator[Engine]:
    """Serve the shards in this process, once every one of them that lives can be written to."""
    unavailable = await asyncio.to_thread(check_shards, configuration)
    for number, error in unavailable.items():
        if len(unavailable) == len(configuration.shard):
            raise CommandError(unreachable(number, error))
        _log.warning(unreachable(number, error))
    engine = Engine(configuration.dsns)
    await engine.start()
    try:
        alive = [shard for shard in engine.router.shards if shard.number not in unavailable]
        # One that cannot be reached after all says so itself when it is asked for something.
        await asyncio.gather(*(shard.batcher.connected() for shard in alive), return_exceptions=True)
        yield engine
    finally:
        await engine.stop()


@asynccontextmanager
async def open_ledger(configuration: Configuration, tenant: str) -> AsyncIterator[Ledger]:
    """Open one tenant's ledger in this process."""
    async with open_engine(configuration) as engine:
        number = await Directory(engine.router.shards[0].database).tenant(tenant)
        if number is None:
            raise ParameterError(
                "tenant", f"expected one that exists: make {tenant!r} with tallystick keys create --tenant"
            )
        yield Ledger(engine, number)
