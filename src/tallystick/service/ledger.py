"""The ledger for callers: open accounts, move money, hold, reverse, and read.

An outcome is a value: what was posted, or `Refused` with a stable code. Exceptions are for a request that is invalid
(ParameterError), or that the ledger could not accept (OverloadedError, UnavailableError).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tallystick import views
from tallystick.domain import limits
from tallystick.ledger.errors import UnavailableError
from tallystick.service import parameters
from tallystick.service.accounts import AccountCalls
from tallystick.service.configuration import (
    Configuration,
    ConfigurationError,
    configuration_of,
    read_configuration,
)
from tallystick.service.engine import Engine
from tallystick.service.errors import AssetNotFoundError
from tallystick.service.events import EventCalls
from tallystick.service.holds import HoldCalls
from tallystick.service.logging import leave_logging_to_application
from tallystick.service.migration import check_own_sessions, check_shards
from tallystick.service.reports import ReportCalls
from tallystick.service.statements import StatementCalls
from tallystick.service.tenancy import UNSET
from tallystick.service.transactions import TransactionCalls, TransferRequest
from tallystick.service.webhooks.endpoints import Webhooks
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.migrate import shard_number

__all__ = ["UNSET", "Ledger", "TransferRequest"]


class Ledger(AccountCalls, TransactionCalls, HoldCalls, EventCalls, StatementCalls, ReportCalls):
    """One tenant's ledger.

    Every method that moves money takes an `idempotency_key`: the same key and the same request have the same
    answer, for ever, and move money once. A key belongs to the tenant.
    """

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        *dsns: str,
        configuration: str | Path | None = None,
        tenant: int = 1,
        cross_shard: str = "saga",
    ) -> AsyncIterator["Ledger"]:
        """Serve a tenant's ledger from the databases of all its shards, inside this process.

        Args:
            dsns: without a configuration file: a libpq connection string for each shard.
            configuration: the configuration file, as for servers. Shards that are added to it are served, too.
            tenant: the tenant's number. A new installation has one tenant, 1.
            cross_shard: without a configuration file: how transfers cross shards. It must be the same in all
                processes of an installation.

        Raises:
            ConfigurationError: the file is missing or wrong, or a shard that the databases know of is not named.
            UnavailableError: a database cannot be reached.
            SchemaError: a database has another version, or is empty: run `tallystick migrate`. Or it is not prepared
                for servers; then the message has the statements that repair it.
        """
        leave_logging_to_application()
        if configuration is None:
            found = await _configuration_of(dsns, cross_shard)
        elif dsns:
            raise ConfigurationError("expected connection strings or a configuration file, not both")
        else:
            found = await asyncio.to_thread(read_configuration, Path(configuration))
        for unreachable in (await asyncio.to_thread(check_shards, found)).values():
            raise UnavailableError(str(unreachable)) from unreachable
        await check_own_sessions(found, ())
        engine = Engine.of(found)
        if configuration is not None:
            engine.follow(Path(configuration), found)
        await engine.start()
        try:
            await engine.connected()
            yield cls(engine, tenant)
        finally:
            await engine.stop()

    async def assets(self) -> list[views.Asset]:
        """The tenant's own assets, then those of ISO 4217."""
        return await self._engine.assets.all(self._tenant)

    async def assets_page(
        self, *, cursor: str | None = None, limit: int = limits.PAGE_ROWS_DEFAULT
    ) -> views.Page[views.Asset]:
        """The same, one page at a time."""
        return await self._engine.assets.page(self._tenant, cursor, limit)

    async def asset(self, code: str) -> views.Asset:
        """An asset by its code; raises AssetNotFoundError."""
        found = await self._engine.assets.find(self._tenant, parameters.asset_code(code, "id"))
        if found is None:
            raise AssetNotFoundError(code)
        return found

    async def create_asset(
        self, code: str, scale: int, name: str, *, idempotency_key: str | None = None
    ) -> views.Asset:
        """Define a custom asset. Repeating it with the same values changes nothing."""
        return await self._engine.assets.create(self._tenant, code, scale, name, idempotency_key)

    @property
    def webhooks(self) -> Webhooks:
        """The tenant's webhook endpoints."""
        return Webhooks(self._engine, self._tenant)


async def _configuration_of(dsns: Sequence[str], cross_shard: str) -> Configuration:
    try:
        numbers = [await shard_number(dsn) for dsn in dsns]
    except ShardUnavailableError as error:
        raise UnavailableError(str(error)) from error
    return configuration_of(zip(numbers, dsns, strict=True), cross_shard)
