"""Managing API keys: made, shown once, listed, changed, rotated, revoked.

The owner of the tables manages those of all tenants (`tallystick keys`). Over HTTP a key with the scope `admin`
manages those of its tenant: the database itself asks for the secret of that key, and lets it grant no more than it
has.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from tallystick.domain import limits
from tallystick.domain.access import LEAST_SCOPES, Scope, StoredKey, known_scopes
from tallystick.domain.networks import Network, are_within, read_networks
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.ledger.errors import UnavailableError
from tallystick.service import parameters
from tallystick.service.authentication import DEFAULT_TENANT, Access, hash_of
from tallystick.service.cursor import read_text_cursor, write_text_cursor
from tallystick.service.errors import (
    AuthenticationError,
    KeyNotFoundError,
    LastAdminError,
    ParameterError,
    ScopeMissingError,
    TooManyKeysError,
)
from tallystick.store.directory import ApiKeyRow
from tallystick.store.errors import LastAdminKeyError, NotPermittedError
from tallystick.views.api_keys import ApiKey, NewApiKey, api_key_view
from tallystick.views.pages import Page

Unset = msgspec.UnsetType
UNSET: Final = msgspec.UNSET

_PREFIX: Final = "tally"
_IDENTIFIER_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_NO_MORE: Final = "an API key cannot grant more than it has"
_SCOPES: Final = {scope.value: scope for scope in Scope}


class KeyManagement:
    """The keys of a tenant, managed with one of them; or all keys, managed by the owner of the tables.

    Methods with an identifier raise KeyNotFoundError if there is no such key in force. Those that write raise
    DirectoryIncompleteError if a shard cannot be reached: the message says what was done.
    """

    def __init__(self, directory: ReplicatedDirectory, caller: Access | None = None) -> None:
        """`caller` is the key that manages; None: the owner of the tables."""
        self._directory = directory
        self._caller = caller
        self._secret = None if caller is None else caller.secret
        self._tenant = None if caller is None else caller.tenant

    async def create(
        self,
        name: str,
        *,
        tenant: int,
        scopes: Sequence[str] = LEAST_SCOPES,
        networks: Sequence[str] = (),
        expires_at: datetime | None = None,
    ) -> NewApiKey:
        """Make a key. With nothing else asked for it may read.

        Raises:
            ParameterError, ScopeMissingError: the caller's key has less than this.
            TooManyKeysError: the tenant has the largest allowed number.
        """
        identifier = secrets.token_hex(_IDENTIFIER_BYTES)
        secret = _new_secret(identifier)
        now = datetime.now(UTC)
        key = StoredKey(
            id=identifier,
            tenant=tenant,
            name=parameters.text(name, "name", limits.OWNER_CHARACTERS_MAX),
            hash=hash_of(secret),
            scopes=_scopes(scopes),
            networks=_networks(networks),
            expires_at=_expiry(expires_at, now),
            previous_hash=None,
            previous_until=None,
            version=1,
            created_at=now,
            changed_at=now,
            revoked_at=None,
        )
        self._require_no_more(key)
        if self._caller is not None and await self._count(tenant) >= limits.API_KEYS_PER_TENANT_MAX:
            raise TooManyKeysError(
                f"there may be {limits.API_KEYS_PER_TENANT_MAX} API keys in force: revoke one first"
            )
        with self._told():
            await self._directory.put_api_key(key, self._secret)
        return NewApiKey(api_key_view(key), secret)

    async def page(self, cursor: str | None = None, limit: int = limits.PAGE_ROWS_DEFAULT) -> Page[ApiKey]:
        """A page of the tenant's keys, oldest first, also of those that were revoked or have expired."""
        limit = parameters.page_limit(limit)
        rows = await self._directory.list_api_keys(self._tenant, _place(cursor), limit + 1)
        last = rows[limit - 1].key if len(rows) > limit else None
        return Page(
            [api_key_view(row.key, row.used_at) for row in rows[:limit]],
            None if last is None else write_text_cursor([last.created_at.isoformat(), last.id]),
        )

    async def all(self) -> AsyncIterator[ApiKeyRow]:
        """Every key that may be managed, oldest first."""
        after = None
        while rows := await self._directory.list_api_keys(self._tenant, after, limits.PAGE_ROWS_MAX):
            for row in rows:
                yield row
            after = rows[-1].key.created_at, rows[-1].key.id

    async def get(self, identifier: str) -> ApiKey:
        """One key, also when it was revoked."""
        found = await self._find(identifier)
        return api_key_view(found.key, found.used_at)

    async def change(
        self,
        identifier: str,
        *,
        name: str | Unset = UNSET,
        scopes: Sequence[str] | Unset = UNSET,
        networks: Sequence[str] | Unset = UNSET,
        expires_at: datetime | None | Unset = UNSET,
    ) -> ApiKey:
        """Change the given fields. Every server knows of it in a few seconds. Raises what `create` raises.

        Raises:
            LastAdminError: no key would be left that may manage keys.
        """
        changes: dict[str, Any] = {}
        if name is not UNSET:
            changes["name"] = parameters.text(name, "name", limits.OWNER_CHARACTERS_MAX)
        if scopes is not UNSET:
            changes["scopes"] = _scopes(scopes)
        if networks is not UNSET:
            changes["networks"] = _networks(networks)
        if expires_at is not UNSET:
            changes["expires_at"] = _expiry(expires_at, datetime.now(UTC))
        return await self._change(identifier, lambda key: key._replace(**changes))

    async def rotate(
        self, identifier: str, overlap_seconds: int = limits.API_KEY_OVERLAP_SECONDS_DEFAULT
    ) -> NewApiKey:
        """Give a key a new secret. The one before is valid until the end of the overlap, too."""
        parameters.between(overlap_seconds, "overlap_seconds", 0, limits.API_KEY_OVERLAP_SECONDS_MAX)
        secret = _new_secret(identifier)
        until = datetime.now(UTC) + timedelta(seconds=overlap_seconds)

        def rotated(key: StoredKey) -> StoredKey:
            if not overlap_seconds:
                return key._replace(hash=hash_of(secret), previous_hash=None, previous_until=None)
            return key._replace(hash=hash_of(secret), previous_hash=key.hash, previous_until=until)

        return NewApiKey(await self._change(identifier, rotated), secret)

    async def revoke(self, identifier: str) -> None:
        """Revoke a key for ever. Repeat it, so that a shard that could not be reached learns of it.

        Raises:
            LastAdminError: no key would be left that may manage keys.
        """
        await self._find(identifier)
        with self._told():
            if not await self._directory.revoke_api_key(identifier, self._secret):
                raise KeyNotFoundError(identifier)

    async def _count(self, tenant: int) -> int:
        rows = await self._directory.list_api_keys(tenant, None, limits.PAGE_ROWS_MAX)
        count = 0
        while rows:
            count += sum(row.key.revoked_at is None for row in rows)
            last = rows[-1].key
            rows = await self._directory.list_api_keys(
                tenant, (last.created_at, last.id), limits.PAGE_ROWS_MAX
            )
        return count

    async def _find(self, identifier: str) -> ApiKeyRow:
        found = await self._directory.newest_api_key(identifier)
        if found is None or self._tenant not in {None, found.key.tenant}:
            raise KeyNotFoundError(identifier)
        return found

    async def _change(self, identifier: str, change: Callable[[StoredKey], StoredKey]) -> ApiKey:
        """Change the current version of a key, so that changes of others at the same time are kept."""
        for _ in range(limits.API_KEY_CHANGE_TRIES_MAX):
            found = await self._find(identifier)
            if found.key.revoked_at is not None:
                raise KeyNotFoundError(identifier)
            changed = change(found.key)._replace(version=found.key.version + 1, changed_at=datetime.now(UTC))
            self._require_no_more(changed, found.key)
            with self._told():
                if await self._directory.put_api_key(changed, self._secret):
                    return api_key_view(changed, found.used_at)
        raise UnavailableError(f"others change API key {identifier} all the time: send the request again")

    def _require_no_more(self, key: StoredKey, before: StoredKey | None = None) -> None:
        """Refuse to grant what the caller's key does not have. The database also compares the ends."""
        if self._caller is None or (before is not None and not _grants(key, before)):
            return
        for scope in key.scopes:
            if scope not in self._caller.scopes:
                raise ScopeMissingError(scope, f"grant it: {_NO_MORE}")
        if not _is_valid_within(key, self._caller.networks):
            own = ", ".join(map(str, self._caller.networks))
            raise ParameterError("networks", f"expected networks inside {own}: {_NO_MORE}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in the words of callers what the database refused."""
        try:
            yield
        except LastAdminKeyError as error:
            raise LastAdminError(
                "it is the last API key of the tenant that may manage keys: give another one the scope admin first"
            ) from error
        except NotPermittedError as error:
            if self._caller is None:
                raise
            if _NO_MORE in str(error):
                raise ParameterError("expires_at", f"expected no later end: {_NO_MORE}") from error
            # It was revoked or changed since it was looked up.
            raise AuthenticationError("the API key may not manage keys any more") from error


async def create_key(
    directory: ReplicatedDirectory, name: str, tenant_name: str = DEFAULT_TENANT, **grant: Any
) -> NewApiKey:
    """Make a key as the owner of the tables. A tenant that does not exist is made, too."""
    tenant = await directory.make_tenant(tenant_name)
    return await KeyManagement(directory).create(name, tenant=tenant, **grant)


def _grants(key: StoredKey, before: StoredKey) -> bool:
    """Whether a key gets a secret, scopes, networks or time: it is granted anew, so all of it counts."""
    ends_later = before.expires_at is not None and (
        key.expires_at is None or key.expires_at > before.expires_at
    )
    return (
        key.hash != before.hash
        or not set(key.scopes) <= set(before.scopes)
        or ends_later
        or not _is_valid_within(key, read_networks(before.networks))
    )


def _is_valid_within(key: StoredKey, networks: Sequence[Network]) -> bool:
    """Whether a key is valid in these networks at most. No networks: anywhere."""
    inner = read_networks(key.networks)
    return not networks or (bool(inner) and are_within(inner, networks))


def _new_secret(identifier: str) -> str:
    return f"{_PREFIX}_{identifier}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def _scopes(names: Sequence[str]) -> tuple[Scope, ...]:
    if not names:
        raise ParameterError("scopes", f"expected at least one of {', '.join(_SCOPES)}")
    return known_scopes(
        parameters.choice(name, _SCOPES, f"scopes[{place}]").value for place, name in enumerate(names)
    )


def _networks(texts: Sequence[str]) -> tuple[str, ...]:
    parameters.count(texts, "networks", 0, limits.API_KEY_NETWORKS_MAX)
    found: list[str] = []
    for place, text in enumerate(texts):
        try:
            (network,) = read_networks([text])
        except ValueError as error:
            raise ParameterError(
                f"networks[{place}]", f"expected a network such as 192.0.2.0/24 or 2001:db8::/32 ({error})"
            ) from None
        found.append(str(network))
    return tuple(dict.fromkeys(found))


def _expiry(value: datetime | None, now: datetime) -> datetime | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ParameterError("expires_at", "expected a time with its zone, such as 2027-01-31T12:00:00Z")
    if value <= now:
        raise ParameterError("expires_at", "expected a time in the future")
    return value.astimezone(UTC)


def _place(cursor: str | None) -> tuple[datetime, str] | None:
    parts = read_text_cursor(cursor, 2)
    if parts is None:
        return None
    try:
        return datetime.fromisoformat(parts[0]).astimezone(UTC), parts[1]
    except (ValueError, OverflowError):
        raise ParameterError("cursor", "expected next_cursor of an earlier page, unchanged") from None
