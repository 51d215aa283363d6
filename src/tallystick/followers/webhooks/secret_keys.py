"""The keys that encrypt secrets of webhooks in databases: AES-256-GCM, bound to tenant and endpoint."""

import base64
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from tallystick.domain.webhooks import Secret, StoredSecret, WebhookEndpoint
from tallystick.extras import require_extra
from tallystick.followers.errors import SecretUnreadableError, WebhookKeyMissingError

KEY_BYTES: Final = 32
_TEXT_PREFIX: Final = "whkey_"
# Random nonces of this size are safe for four thousand million secrets under one key (NIST SP 800-38D, 8.3).
_NONCE_BYTES: Final = 12
# A name only distinguishes the few keys of one installation, so 64 bits are enough.
_NAME_DIGITS: Final = 16


class SecretKey:
    """One key. Its `repr` shows only its name, which reveals nothing about the key."""

    def __init__(self, value: bytes) -> None:
        """A key from its bytes; raises MissingExtraError if the package for encryption is not installed."""
        require_extra("webhooks", "the encryption of webhooks' secrets")
        from tallystick.followers.webhooks.cipher import Cipher  # noqa: PLC0415 - an extra

        if len(value) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._value = value
        self.name = hashlib.sha256(b"tallystick webhook key\n" + value).hexdigest()[:_NAME_DIGITS]
        self.cipher = Cipher(value)

    def __repr__(self) -> str:
        return f"SecretKey({self.name})"

    @classmethod
    def new(cls) -> "SecretKey":
        """A new random key."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def read(cls, text: str) -> "SecretKey":
        """A key from its text; raises ValueError, whose message does not contain the text."""
        encoded = text.removeprefix(_TEXT_PREFIX)
        if encoded == text:
            raise ValueError(f"expected a key, {_TEXT_PREFIX}…")
        try:
            return cls(base64.b64decode(encoded, validate=True))
        except ValueError:
            raise ValueError(f"expected {_TEXT_PREFIX} and base 64 of {KEY_BYTES} bytes") from None

    def text(self) -> str:
        """The text of the key, for the file of keys."""
        return _TEXT_PREFIX + base64.b64encode(self._value).decode()


class SecretKeys:
    """The keys. The first one encrypts; all of them decrypt."""

    def __init__(self, keys: Sequence[SecretKey] = ()) -> None:
        self._keys = {key.name: key for key in keys}

    def __repr__(self) -> str:
        return f"SecretKeys({', '.join(self._keys)})"

    def replace(self, keys: Sequence[SecretKey]) -> None:
        """Replace the keys."""
        self._keys = {key.name: key for key in keys}

    @property
    def names(self) -> list[str]:
        """The names of all keys, the one that encrypts first."""
        return list(self._keys)

    def expect_one(self) -> None:
        """Raise WebhookKeyMissingError if there is no key."""
        if not self._keys:
            raise WebhookKeyMissingError

    def encrypt(self, secret: Secret, tenant: int, endpoint: str) -> StoredSecret:
        """Encrypt the secret of an endpoint, bound to that endpoint; raises WebhookKeyMissingError."""
        self.expect_one()
        key = next(iter(self._keys.values()))
        nonce = os.urandom(_NONCE_BYTES)
        return StoredSecret(
            nonce + key.cipher.encrypt(nonce, secret.reveal(), _identity(tenant, endpoint)), key.name
        )

    def decrypt(self, stored: StoredSecret, tenant: int, endpoint: str) -> Secret:
        """The secret itself; raises SecretUnreadableError."""
        if stored.key_name is None:
            return Secret(stored.value)
        key = self._keys.get(stored.key_name)
        if key is None:
            raise SecretUnreadableError(
                f"the secret of webhook endpoint {endpoint} is encrypted with key {stored.key_name[:64]}, which is "
                f"not in webhooks_key_file: put it back there, or give the endpoint a new secret"
            )
        nonce, encrypted = stored.value[:_NONCE_BYTES], stored.value[_NONCE_BYTES:]
        try:
            return Secret(key.cipher.decrypt(nonce, encrypted, _identity(tenant, endpoint)))
        except ValueError:
            raise SecretUnreadableError(
                f"the secret of webhook endpoint {endpoint} is not what key {key.name} has encrypted for it: it was "
                f"altered in the database; give the endpoint a new one"
            ) from None

    def why_unreadable(self, stored: StoredSecret, tenant: int, endpoint: str) -> str | None:
        """Why a secret cannot be decrypted; None if it can be."""
        try:
            self.decrypt(stored, tenant, endpoint)
        except SecretUnreadableError as error:
            return str(error)
        return None

    def secrets(self, endpoint: WebhookEndpoint, now: datetime) -> list[Secret]:
        """The secrets of an endpoint that are valid, the newest first, without an older one that is unreadable.

        Raises:
            SecretUnreadableError: the newest cannot be decrypted.
        """
        newest, *older = endpoint.secrets(now)
        found = [self.decrypt(newest, endpoint.tenant, endpoint.id)]
        for stored in older:
            with suppress(SecretUnreadableError):
                found.append(self.decrypt(stored, endpoint.tenant, endpoint.id))
        return found

    def is_newest(self, stored: StoredSecret | None) -> bool:
        """Whether a secret is encrypted with the first key, or there is none."""
        return stored is None or stored.key_name == next(iter(self._keys), None)


def _identity(tenant: int, endpoint: str) -> bytes:
    """The endpoint that a secret is bound to: in the row of another endpoint it cannot be decrypted."""
    return f"tallystick webhook secret\n{tenant}\n{endpoint}".encode()
