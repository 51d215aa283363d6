"""Encrypting the secrets of all endpoints with the first key: those that are not encrypted, or with another key."""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from tallystick.domain import limits
from tallystick.domain.webhooks import Secret, StoredSecret, WebhookEndpoint
from tallystick.followers.errors import SecretUnreadableError
from tallystick.followers.webhooks.secret_keys import SecretKeys
from tallystick.ledger.errors import UnavailableError
from tallystick.service.engine import Engine


class KeyRotation(msgspec.Struct, frozen=True):
    """What was done: with `key` are encrypted now the secrets of so many endpoints, of them `changed` just now.

    `unreadable` says of each endpoint whose secret could not be decrypted why. `unused_keys` are needed no more.
    """

    key: str
    endpoints: int
    changed: int
    unreadable: dict[str, str]
    unused_keys: list[str]


async def rotate_keys(engine: Engine, told: Callable[[int, int], None]) -> KeyRotation:
    """Encrypt with the first key, on every shard; `told` how many of how many are done. Doing it again is harmless.

    Raises:
        WebhookKeyMissingError: there is no key.
        UnavailableError: a shard cannot be reached; what was done is done.
    """
    keys = engine.secret_keys
    keys.expect_one()
    stored = await engine.directory.stored_webhook_endpoints()
    # Of each version on any shard: one that missed a change keeps what was encrypted with the key before.
    old = {one.id: one.tenant for one in stored if not _is_done(keys, one)}
    unreadable: dict[str, str] = {}
    for done, (identifier, tenant) in enumerate(old.items()):
        told(done, len(old))
        try:
            await _encrypt_again(engine, tenant, identifier)
        except SecretUnreadableError as error:
            unreadable[identifier] = str(error)
    told(len(old), len(old))
    return KeyRotation(
        key=keys.names[0],
        endpoints=len({one.id for one in stored}) - len(unreadable),
        changed=len(old) - len(unreadable),
        unreadable=unreadable,
        unused_keys=[] if unreadable else keys.names[1:],
    )


def _is_done(keys: SecretKeys, endpoint: WebhookEndpoint) -> bool:
    return keys.is_newest(endpoint.secret) and keys.is_newest(endpoint.previous_secret)


async def _encrypt_again(engine: Engine, tenant: int, identifier: str) -> None:
    """Make a new version of an endpoint, as a change of it does: the newest of several is in force."""
    for _ in range(limits.WEBHOOK_CHANGE_TRIES_MAX):
        endpoint = await engine.directory.newest_endpoint(tenant, identifier)
        if endpoint is None:
            return
        now = datetime.now(UTC)
        changed = _encrypted(engine.secret_keys, endpoint, now)
        if await engine.directory.put_webhook_endpoint(
            changed._replace(version=endpoint.version + 1, changed_at=now)
        ):
            return
    raise UnavailableError(f"others change endpoint {identifier} all the time: run it again")


def _encrypted(keys: SecretKeys, endpoint: WebhookEndpoint, now: datetime) -> WebhookEndpoint:
    def again(stored: StoredSecret) -> StoredSecret:
        return keys.encrypt(keys.decrypt(stored, endpoint.tenant, endpoint.id), endpoint.tenant, endpoint.id)

    if endpoint.state == "removed":
        # Nothing is signed with it any more: what it was is forgotten, whether it can be decrypted or not.
        secret = keys.encrypt(Secret(bytes(limits.WEBHOOK_SECRET_BYTES)), endpoint.tenant, endpoint.id)
        return endpoint._replace(secret=secret, previous_secret=None, previous_secret_until=None)
    previous, until = endpoint.previous_secret, endpoint.previous_secret_until
    if previous is None or until is None or until <= now:
        return endpoint._replace(
            secret=again(endpoint.secret), previous_secret=None, previous_secret_until=None
        )
    return endpoint._replace(secret=again(endpoint.secret), previous_secret=again(previous))
