"""The ledger in its callers' words: open accounts, move money, hold, reverse, and read it all back.

An outcome is a value: what was posted, or `Refused` with a stable code. Exceptions are for a request that could
not be read (ParameterError), and for a ledger that could not take it (OverloadedError, UnavailableError).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tallystick.ledger.errors import UnavailableError
from tallystick.service import views
from tallystick.service.accounts import AccountCalls
from tallystick.service.configuration import CrossShard
from tallystick.service.engine import Engine
from tallystick.service.events import EventCalls
from tallystick.service.holds import HoldCalls
from tallystick.service.tenancy import UNSET
from tallystick.service.transactions import TransactionCalls, TransferRequest
from tallystick.service.webhooks.endpoints import Webhooks
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.migrate import shard_number

__all__ = ["UNSET", "Ledger", "TransferRequest"]


class Ledger(AccountCalls, TransactionCalls, HoldCalls, EventCalls):
    """One tenant's ledger.

    Every method that moves money takes an `idempotency_key`: the same key and the same request have the same
    answer, for ever, and move money once. A key belongs to the tenant and to the shard of the payer.
    """

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, *dsns: str, tenant: int = 1, cross_shard: CrossShard = "saga"
    ) -> AsyncIterator["Ledger"]:
        """Serve a tenant's ledger from the databases of its shards, inside this process.

        Args:
            dsns: a libpq connection string for each shard, migrated with `tallystick migrate`.
            tenant: the tenant's number; a new installation has one, 1.
            cross_shard: how transfers cross shards, alike in all processes of an installation.

        Raises:
            UnavailableError: a database cannot be reached.
            SchemaError: a database is of another version, or empty: run `tallystick migrate`.
        """
        try:
            numbered = {await shard_number(dsn): dsn for dsn in dsns}
        except ShardUnavailableError as error:
            raise UnavailableError(str(error)) from error
        engine = Engine(numbered, cross_shard=cross_shard)
        await engine.start()
        try:
            await engine.connected()
            yield cls(engine, tenant)
        finally:
            await engine.stop()

    async def assets(self) -> list[views.Asset]:
        """The tenant's own assets, then those of ISO 4217."""
        return await self._engine.assets.all(self._tenant)

    async def create_asset(self, code: str, scale: int, name: str) -> views.Asset:
        """Define a custom asset; doing it again with the same values changes nothing."""
        return await self._engine.assets.create(self._tenant, code, scale, name)

    @property
    def webhooks(self) -> Webhooks:
        """The tenant's webhook endpoints."""
        return Webhooks(self._engine, self._tenant)
