"""Encrypt the secrets of all endpoints with the first key, if they are not encrypted or have another key."""

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
    """The result: the number of endpoints whose secrets are encrypted with `key`, and how many this run `changed`.

    `unreadable` has the endpoints whose secret could not be decrypted, with the reason. `unused_keys` are no longer
    needed.
    """

    key: str
    endpoints: int
    changed: int
    unreadable: dict[str, str]
    unused_keys: list[str]


async def rotate_keys(engine: Engine, on_progress: Callable[[int, int], None]) -> KeyRotation:
    """Encrypt with the first key, on every shard. Repeating it is harmless.

    Raises:
        WebhookKeyMissingError: there is no key.
        UnavailableError: a shard cannot be reached. Changes so far are kept.
    """
    keys = engine.secret_keys
    keys.expect_one()
    stored = await engine.directory.stored_webhook_endpoints()
    # Check each version on each shard, because a shard that missed a change still has the secret under the old key.
    old = {one.id: one.tenant for one in stored if not _is_done(keys, one)}
    unreadable: dict[str, str] = {}
    for done, (identifier, tenant) in enumerate(old.items()):
        on_progress(done, len(old))
        try:
            await _encrypt_again(engine, tenant, identifier)
        except SecretUnreadableError as error:
            unreadable[identifier] = str(error)
    on_progress(len(old), len(old))
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
    """Write a new version of an endpoint, as any change does. The newest version is in force."""
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
        # The old secret does not sign any more, so it is dropped, even if it cannot be decrypted.
        secret = keys.encrypt(Secret(bytes(limits.WEBHOOK_SECRET_BYTES)), endpoint.tenant, endpoint.id)
        return endpoint._replace(secret=secret, previous_secret=None, previous_secret_until=None)
    previous, until = endpoint.previous_secret, endpoint.previous_secret_until
    if previous is None or until is None or until <= now:
        return endpoint._replace(
            secret=again(endpoint.secret), previous_secret=None, previous_secret_until=None
        )
    return endpoint._replace(secret=again(endpoint.secret), previous_secret=again(previous))
