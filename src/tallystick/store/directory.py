"""The tables beside the log: tenants, API keys, custom assets and webhook endpoints."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

from tallystick.domain.access import StoredKey, known_scopes
from tallystick.domain.webhooks import WebhookEndpoint
from tallystick.store.connection import Database
from tallystick.store.errors import BatchRejectedError, LastAdminKeyError
from tallystick.store.kept_requests import KeptRequests
from tallystick.store.webhooks import endpoint_of, endpoint_parameters, is_known

_LAST_ADMIN: Final = "23T01"


class ApiKeyRow(NamedTuple):
    """An API key as it is listed, with the name of its tenant, and when it was last used."""

    key: StoredKey
    tenant: str
    used_at: datetime | None


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

    async def find_api_key(self, hashed: bytes) -> StoredKey | None:
        """The key with a secret; None if the secret is unknown, or no longer valid, or the key is revoked."""
        rows = await self._rows("find_api_key", hashed)
        return _api_key(rows[0]) if rows else None

    async def api_key(self, identifier: str) -> ApiKeyRow | None:
        """A key by its identifier, even if it was revoked."""
        rows = await self._rows("api_key", identifier)
        return _listed_api_key(rows[0]) if rows else None

    async def list_api_keys(
        self, tenant: int | None, after: tuple[datetime, str] | None, row_count: int
    ) -> list[ApiKeyRow]:
        """The keys of a tenant, or of all, oldest first, after the time and the identifier of one of them."""
        rows = await self._rows("list_api_keys", tenant, *(after or (None, None)), row_count)
        return [_listed_api_key(row) for row in rows]

    async def put_api_key(self, key: StoredKey, caller: str | None, *, decides: bool) -> bool:
        """Make or change a key. Returns False if there is a newer version, or, with `decides`, the same.

        Args:
            key: the key as it is to be.
            caller: the secret of the key that manages it; None: this is the owner of the tables.
            decides: this shard decides which of two equal versions is recorded.

        Raises:
            NotPermittedError: the caller may not do this.
            LastAdminKeyError: no key that may manage keys would be left.
        """
        scopes, networks = [scope.value for scope in key.scopes], list(key.networks)
        values = (*key[:4], scopes, networks, *key[6:12])
        with _last_admin_named():
            rows = await self._write("put_api_key", caller, *values, decides)
        return bool(rows[0][0])

    async def revoke_api_key(self, identifier: str, caller: str | None) -> bool:
        """Revoke a key. Returns False if there is no such valid key. Raises what `put_api_key` raises."""
        with _last_admin_named():
            rows = await self._write("revoke_api_key", caller, identifier)
        return bool(rows[0][0])

    async def record_api_key_uses(self, identifiers: Collection[str], at: datetime) -> None:
        """Record when keys were last used."""
        await self._rows("record_api_key_uses", list(identifiers), at)

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


@contextmanager
def _last_admin_named() -> Iterator[None]:
    try:
        yield
    except BatchRejectedError as error:
        if error.sqlstate == _LAST_ADMIN:
            raise LastAdminKeyError(str(error)) from error
        raise


def _api_key(row: Iterable[Any]) -> StoredKey:
    found = StoredKey(*row)
    return found._replace(scopes=known_scopes(found.scopes), networks=tuple(found.networks))


def _listed_api_key(row: Iterable[Any]) -> ApiKeyRow:
    *key, tenant, used_at = row
    return ApiKeyRow(_api_key(key), tenant, used_at)
