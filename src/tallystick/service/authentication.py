"""API keys as callers use them: which tenant they belong to, and what they may do."""

import hashlib
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import structlog

from tallystick.domain import limits
from tallystick.domain.access import Scope, StoredKey
from tallystick.domain.networks import Network, Networks, client_address, is_within, read_networks
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.ledger.errors import UnavailableError
from tallystick.service.errors import AuthenticationError, KeyExpiredError, NetworkNotAllowedError

DEFAULT_TENANT: Final = "default"

_log = structlog.get_logger(__name__)


class Access(NamedTuple):
    """What the caller with a key may do. `secret` is the key as it was sent."""

    key_id: str
    tenant: int
    scopes: frozenset[Scope]
    networks: Networks
    secret: str

    def __repr__(self) -> str:
        """The access without the secret, so that no log and no error has it."""
        return f"Access(key_id={self.key_id!r}, tenant={self.tenant})"


class ApiKeys:
    """Finds what a key may do. A key that was revoked, changed or expired is refused within a few seconds."""

    def __init__(self, directory: ReplicatedDirectory, trusted_proxies: Iterable[str] = ()) -> None:
        """`trusted_proxies` are networks of proxies that tell the addresses of their clients."""
        self._directory = directory
        self._proxies: tuple[Network, ...] = read_networks(trusted_proxies)
        self._known: dict[str, tuple[Access, float]] = {}
        # By key: when this process will write again that the key is used; and those to be written now.
        self._noted: dict[str, float] = {}
        self._used: set[str] = set()

    def remembered(self, key: str) -> Access | None:
        """What a key could do a few seconds ago at most; None if that is not known."""
        known = self._known.get(key)
        return known[0] if known is not None and time.monotonic() < known[1] else None

    async def access_of(self, key: str) -> Access:
        """What a key may do.

        Raises:
            AuthenticationError: the key is unknown or revoked.
            KeyExpiredError: it has expired.
        """
        if (access := self.remembered(key)) is not None:
            return access
        found = await self._directory.find_api_key(hash_of(key))
        if found is None:
            self._known.pop(key, None)
            raise AuthenticationError("the API key is unknown or revoked")
        seconds = _seconds_in_force(found)
        if seconds <= 0:
            self._known.pop(key, None)
            raise KeyExpiredError(f"the API key has expired ({found.expires_at:%Y-%m-%dT%H:%M:%SZ})")
        if len(self._known) >= limits.API_KEY_CACHE_MAX:
            self._known.clear()
        access = Access(found.id, found.tenant, frozenset(found.scopes), read_networks(found.networks), key)
        now = time.monotonic()
        self._known[key] = access, now + min(seconds, limits.API_KEY_CACHE_SECONDS)
        self._note(found.id, now)
        return access

    def require_network(self, access: Access, peer: str | None, forwarded_for: str | None) -> None:
        """Refuse a caller whose address is in none of the networks of its key.

        Raises:
            NetworkNotAllowedError: the address is in none of them.
        """
        address = client_address(peer, forwarded_for, self._proxies)
        if access.networks and not is_within(address, access.networks):
            raise NetworkNotAllowedError(f"the API key is not valid for callers at {address or 'no address'}")

    def _note(self, identifier: str, now: float) -> None:
        if self._noted.get(identifier, 0.0) <= now:
            if len(self._noted) >= limits.API_KEY_CACHE_MAX:
                self._noted.clear()
            self._noted[identifier] = now + limits.API_KEY_USE_SECONDS
            self._used.add(identifier)

    async def record_uses(self) -> None:
        """Write which keys were used since the last time. No request waits for this."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await self._directory.record_api_key_uses(used, datetime.now(UTC))
        except UnavailableError as error:
            self._used |= used
            _log.debug("the use of keys was not recorded", reason=str(error))


def hash_of(key: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).digest()


def _seconds_in_force(key: StoredKey) -> float:
    """For how long a key is known to be valid. The secret before the last rotation may end sooner than the key."""
    now = time.time()
    left = limits.API_KEY_CACHE_SECONDS if key.expires_at is None else key.expires_at.timestamp() - now
    if key.previous_until is not None and (until := key.previous_until.timestamp()) > now:
        left = min(left, until - now)
    return left
