"""Webhooks after the Standard Webhooks specification: endpoints, secrets, signatures, and pauses between attempts."""

import base64
import hashlib
import hmac
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, NamedTuple

from tallystick.domain import limits
from tallystick.domain.commands import Kind
from tallystick.domain.parts import asks_for_stages, is_shown, stored_kinds
from tallystick.domain.record import Record

State = Literal["active", "paused", "removed"]

ID_PREFIX: Final = "hook"
_TEXT_PREFIX: Final = "whsec_"
_SIGNATURE_VERSION: Final = "v1"
_DOUBLINGS_MAX: Final = 32
_RETRY_AFTER_DIGITS_MAX: Final = 10


class Secret:
    """A secret that signs messages. Its `repr` does not show it, so it appears in no log and no error."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def reveal(self) -> bytes:
        """The bytes of the secret, for encryption."""
        return self._value

    def text(self) -> str:
        """The secret in the form that receivers get, once: `whsec_…`."""
        return _TEXT_PREFIX + base64.b64encode(self._value).decode()

    def signature(self, message: str, timestamp: int, body: bytes) -> str:
        """The signature of a message: `v1,…`."""
        signed = b".".join((message.encode(), str(timestamp).encode(), body))
        digest = hmac.new(self._value, signed, hashlib.sha256).digest()
        return f"{_SIGNATURE_VERSION},{base64.b64encode(digest).decode()}"


class StoredSecret(NamedTuple):
    """A secret as databases keep it: encrypted with the named key.

    Without a name it is not encrypted (earlier versions).
    """

    value: bytes
    key_name: str | None

    def __repr__(self) -> str:
        return f"StoredSecret(***, {self.key_name!r})"


class WebhookEndpoint(NamedTuple):
    """A tenant's URL for messages, and the events that it wants. No kinds: all kinds. No owner: all owners.

    Messages are signed with both secrets until `previous_secret_until`. The highest version is in force; of equal
    versions, the one that was changed last.
    """

    id: str
    tenant: int
    url: str
    kinds: tuple[Kind, ...]
    owner: str | None
    state: State
    secret: StoredSecret
    previous_secret: StoredSecret | None
    previous_secret_until: datetime | None
    created_at: datetime
    version: int
    changed_at: datetime

    @property
    def stages(self) -> bool:
        """Whether the endpoint asked for a kind of stages, so that it gets each stage."""
        return asks_for_stages(self.kinds)

    @property
    def stored_kinds(self) -> Collection[Kind]:
        """The kinds of the log that may have the events it asked for."""
        return self.kinds if self.stages else stored_kinds(self.kinds or None)

    def shows(self, shard: int, record: Record) -> bool:
        """Whether it may have asked for a transaction of one of these kinds."""
        return self.stages or is_shown(shard, record, self.kinds or None)

    def secrets(self, now: datetime) -> list[StoredSecret]:
        """The secrets that are valid, the newest first."""
        secrets = [self.secret]
        if self.previous_secret and self.previous_secret_until and now < self.previous_secret_until:
            secrets.append(self.previous_secret)
        return secrets


def signatures(secrets: Sequence[Secret], message: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret."""
    return " ".join(secret.signature(message, timestamp, body) for secret in secrets)


def retry_after_seconds(value: str, now: datetime) -> float | None:
    """The pause in seconds that a header `Retry-After` asks for (RFC 9110, 10.2.3); None if it cannot be read.

    The pause is never shorter than the shortest pause between attempts, and never longer than the longest.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        # A number with more digits is longer than any pause, and takes time to read.
        seconds = float(text[:_RETRY_AFTER_DIGITS_MAX])
    else:
        try:
            date = parsedate_to_datetime(text)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now.timestamp()
        except (ValueError, OverflowError, TypeError, IndexError):
            return None
    return min(max(seconds, limits.WEBHOOK_RETRY_DELAY_SECONDS_MIN), limits.WEBHOOK_RETRY_DELAY_SECONDS_MAX)


def retry_delay_seconds(attempts: int) -> float:
    """The longest pause after a number of failed attempts: it doubles each time, up to an hour."""
    doubled = limits.WEBHOOK_RETRY_DELAY_SECONDS_MIN * 2.0 ** min(attempts - 1, _DOUBLINGS_MAX)
    return min(doubled, limits.WEBHOOK_RETRY_DELAY_SECONDS_MAX)
