"""The ledger as the commands use it: in this process, on the databases of the configuration file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from tallystick.cli.errors import CommandError
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.service.configuration import OWNER_FILE, Configuration
from tallystick.service.engine import Engine
from tallystick.service.errors import ParameterError
from tallystick.service.ledger import Ledger
from tallystick.service.migration import ShardUnreachableError, check_own_sessions, check_shards
from tallystick.service.owners_directory import owners_directory
from tallystick.store.errors import NotPermittedError

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_engine(configuration: Configuration) -> AsyncIterator[Engine]:
    """Serve the shards in this process, once each shard that can be reached can be written to."""
    unavailable = await _check_shards(configuration)
    await check_own_sessions(configuration, unavailable)
    # Recovery of sagas is the job of servers, not of a short command.
    engine = Engine.of(configuration, recover=False)
    await engine.start()
    try:
        alive = [shard for shard in engine.router.shards if shard.number not in unavailable]
        # A shard that still cannot be reached raises its error when it is used.
        await asyncio.gather(*(shard.batcher.connected() for shard in alive), return_exceptions=True)
        yield engine
    finally:
        await engine.stop()


@asynccontextmanager
async def open_owners_directory(configuration: Configuration) -> AsyncIterator[ReplicatedDirectory]:
    """Open the tenants and API keys of all shards for writing, as the owner of the tables."""
    await _check_shards(configuration.as_owner())
    try:
        async with owners_directory(configuration.owner_dsns) as directory:
            yield directory
    except NotPermittedError as error:
        raise CommandError(
            f"only the owner of the tables writes tenants and API keys ({error}): name the owner's address in "
            f"{OWNER_FILE}, beside the configuration file (see docs/existing-postgres.md)"
        ) from error


@asynccontextmanager
async def open_ledger(configuration: Configuration, tenant: str) -> AsyncIterator[Ledger]:
    """Open one tenant's ledger in this process."""
    async with open_engine(configuration) as engine:
        number = await engine.directory.find_tenant(tenant)
        if number is None:
            raise ParameterError(
                "tenant", f"expected one that exists: make {tenant!r} with tallystick keys create --tenant"
            )
        yield Ledger(engine, number)


async def _check_shards(configuration: Configuration) -> dict[int, ShardUnreachableError]:
    """Print which shards cannot be reached. If none can, the command ends."""
    unavailable = await asyncio.to_thread(check_shards, configuration)
    for error in unavailable.values():
        if len(unavailable) == len(configuration.shards):
            raise CommandError(str(error))
        _log.warning(str(error))
    return unavailable
