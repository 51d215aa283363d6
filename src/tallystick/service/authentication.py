"""API keys: created, shown once, and stored as hashes."""

import hashlib
import secrets
import time
from typing import Final, NamedTuple

from tallystick.domain import limits
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.service.errors import AuthenticationError
from tallystick.store.directory import ApiKeyRow

_PREFIX: Final = "tally"
_IDENTIFIER_BYTES: Final = 6
_SECRET_BYTES: Final = 32
DEFAULT_TENANT: Final = "default"


class NewApiKey(NamedTuple):
    """A key that was just created. `key` is stored nowhere, so it cannot be shown again."""

    id: str
    key: str


class ApiKeys:
    """Finds the tenant of a key. A revoked key is refused within a few seconds, on every server."""

    def __init__(self, directory: ReplicatedDirectory) -> None:
        self.directory = directory
        self._known: dict[str, tuple[int, float]] = {}

    def remembered(self, key: str) -> int | None:
        """The tenant that a key belonged to a few seconds ago at most; None if that is not known."""
        known = self._known.get(key)
        return known[0] if known is not None and time.monotonic() < known[1] else None

    async def tenant_of(self, key: str) -> int:
        """The tenant that a key belongs to.

        Raises:
            AuthenticationError: the key is unknown or revoked.
        """
        if (tenant := self.remembered(key)) is not None:
            return tenant
        found = await self.directory.find_api_key(_hash(key))
        if found is None:
            self._known.pop(key, None)
            raise AuthenticationError("the API key is unknown or revoked")
        if len(self._known) >= limits.API_KEY_CACHE_MAX:
            self._known.clear()
        self._known[key] = found[1], time.monotonic() + limits.API_KEY_CACHE_SECONDS
        return found[1]

    async def create(self, name: str, tenant_name: str = DEFAULT_TENANT) -> NewApiKey:
        """Create a key for a tenant. A new tenant is created, too.

        Raises:
            DirectoryIncompleteError: a shard cannot be reached. The key was not shown, so create another one later.
        """
        tenant = await self.directory.make_tenant(tenant_name)
        identifier = secrets.token_hex(_IDENTIFIER_BYTES)
        key = f"{_PREFIX}_{identifier}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        await self.directory.add_api_key(identifier, tenant, name, _hash(key))
        return NewApiKey(identifier, key)

    async def all(self) -> list[ApiKeyRow]:
        """Every key's name, tenant and times."""
        return await self.directory.list_api_keys()

    async def revoke(self, identifier: str) -> bool:
        """Revoke a key. Returns False if there is no such valid key.

        Raises:
            DirectoryIncompleteError: a shard cannot be reached. The key is revoked on the others.
        """
        return await self.directory.revoke_api_key(identifier)


def identifier_of(key: str) -> str:
    """The identifier of a key, which is a part of its text."""
    return key.split("_", 2)[1] if key.count("_") > 1 else ""


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
