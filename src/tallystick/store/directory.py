"""The tables beside the log: tenants, API keys, custom assets and webhook endpoints."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple

from tallystick.domain.webhooks import WebhookEndpoint
from tallystick.store.connection import Database
from tallystick.store.kept_requests import KeptRequests
from tallystick.store.webhooks import endpoint_of, endpoint_parameters, is_known


class ApiKeyRow(NamedTuple):
    """An API key as it is listed: never the key itself."""

    id: str
    tenant: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


class AssetRow(NamedTuple):
    """A custom asset of one tenant."""

    code: str
    scale: int
    name: str


class Directory:
    """The directory of one shard's database. Every method raises what the database's `rows` and `write` raise."""

    def __init__(self, database: Database) -> None:
        self.kept_requests = KeptRequests(database)
        self._rows = database.rows
        self._write = database.write
        self._holding = database.holding

    async def ping(self) -> None:
        """Make one round trip."""
        await self._rows("ping")

    async def find_api_key(self, hashed: bytes) -> tuple[str, int] | None:
        """The name and the tenant of a valid key; None if the key is unknown or revoked."""
        rows = await self._rows("find_api_key", hashed)
        return (rows[0][0], rows[0][1]) if rows else None

    async def add_api_key(self, identifier: str, tenant: int, name: str, hashed: bytes) -> None:
        """Add a key. Repeating it changes nothing."""
        await self._write("add_api_key", identifier, tenant, name, hashed)

    async def list_api_keys(self) -> list[ApiKeyRow]:
        """All keys, oldest first."""
        return [ApiKeyRow(*row) for row in await self._rows("list_api_keys")]

    async def revoke_api_key(self, identifier: str) -> bool:
        """Revoke a key. Returns False if there is no such valid key."""
        return bool(await self._write("revoke_api_key", identifier))

    async def find_tenant(self, name: str) -> int | None:
        """The number of a tenant by name."""
        rows = await self._rows("find_tenant", name)
        return rows[0][0] if rows else None

    async def add_tenant(self, name: str, number: int | None = None) -> None:
        """Add a tenant with this number, or the next one, unless the name or the number is in use."""
        await self._write("add_tenant", name, number)

    async def assets(self, tenant: int) -> list[AssetRow]:
        """A tenant's custom assets, by code."""
        return [AssetRow(*row) for row in await self._rows("list_assets", tenant)]

    async def add_asset(self, tenant: int, asset: AssetRow) -> None:
        """Define a custom asset, unless its code is taken."""
        await self._write("add_asset", tenant, *asset)

    async def webhook_endpoints(self, tenant: int) -> list[WebhookEndpoint]:
        """The endpoints of a tenant that were not removed, oldest first.

        Without those of a newer version of the ledger.
        """
        rows = await self._rows("webhook_endpoints", tenant)
        return [endpoint_of(tuple(row)) for row in rows if is_known(tuple(row))]

    async def webhook_endpoint(self, tenant: int, identifier: str) -> WebhookEndpoint | None:
        """One endpoint of a tenant, even if it was removed."""
        rows = await self._rows("webhook_endpoint", tenant, identifier)
        return endpoint_of(tuple(rows[0])) if rows else None

    async def stored_webhook_endpoints(self) -> list[WebhookEndpoint]:
        """The endpoints of all tenants, including removed ones; without those of a newer version of the ledger."""
        rows = await self._rows("directory_webhook_endpoints")
        return [endpoint_of(tuple(row)) for row in rows if is_known(tuple(row))]

    def making_webhook_endpoints(self) -> AbstractAsyncContextManager[None]:
        """A block that only one process may execute at a time."""
        return self._holding("webhook_endpoints_lock")

    async def put_webhook_endpoint(self, endpoint: WebhookEndpoint) -> None:
        """Record an endpoint, unless a newer version of it is recorded."""
        await self._write("webhook_put_endpoint", *endpoint_parameters(endpoint), False)

    async def make_webhook_version(self, endpoint: WebhookEndpoint) -> bool:
        """Record a new version of an endpoint. Returns False if the version exists."""
        return bool(await self._write("webhook_put_endpoint", *endpoint_parameters(endpoint), True))
