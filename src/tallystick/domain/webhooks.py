"""Webhooks as the Standard Webhooks specification says: endpoints, secrets, signatures, and when to try again."""

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
    """What messages are signed with. It does not show itself: not in a log, not in an error."""

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
        """The secret itself, to be encrypted."""
        return self._value

    def text(self) -> str:
        """The secret as receivers are given it, once: `whsec_…`."""
        return _TEXT_PREFIX + base64.b64encode(self._value).decode()

    def signature(self, message: str, timestamp: int, body: bytes) -> str:
        """The signature of a message: `v1,…`."""
        signed = b".".join((message.encode(), str(timestamp).encode(), body))
        digest = hmac.new(self._value, signed, hashlib.sha256).digest()
        return f"{_SIGNATURE_VERSION},{base64.b64encode(digest).decode()}"


class StoredSecret(NamedTuple):
    """A secret as databases keep it: encrypted with the key of that name. Without a name: as it is, from earlier."""

    value: bytes
    key_name: str | None

    def __repr__(self) -> str:
        return f"StoredSecret(***, {self.key_name!r})"


class WebhookEndpoint(NamedTuple):
    """Where a tenant wants to be told, and of what. No kinds: all of them; no owner: everybody's.

    Messages are signed with both secrets until `previous_secret_until`. Of two versions the higher one is in force,
    of two that are equal the one changed later.
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
        """Whether it is told of each stage of what crosses shards: it asked for a kind of stages."""
        return asks_for_stages(self.kinds)

    @property
    def stored_kinds(self) -> Collection[Kind]:
        """As which kinds the log has what it asked for."""
        return self.kinds if self.stages else stored_kinds(self.kinds or None)

    def shows(self, shard: int, record: Record) -> bool:
        """Whether it asked for a transaction of one of those kinds, as far as that says what was asked for."""
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
    """How long a header `Retry-After` asks to wait: seconds or a date (RFC 9110, 10.2.3). None: it cannot be read.

    Never shorter than the shortest pause between attempts, and never longer than the longest.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        # A number of more digits than that is longer than any pause, and costs time to read.
        seconds = float(text[:_RETRY_AFTER_DIGITS_MAX])
    else:
        try:
            date = parsedate_to_datetime(text)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now.timestamp()
        except (ValueError, OverflowError, TypeError, IndexError):
            return None
    return min(max(seconds, limits.WEBHOOK_RETRY_DELAY_SECONDS_MIN), limits.WEBHOOK_RETRY_DELAY_SECONDS_MAX)


def retry_delay_seconds(attempts: int) -> float:
    """How long to wait at most after so many attempts that failed: twice as long each time, up to an hour."""
    doubled = limits.WEBHOOK_RETRY_DELAY_SECONDS_MIN * 2.0 ** min(attempts - 1, _DOUBLINGS_MAX)
    return min(doubled, limits.WEBHOOK_RETRY_DELAY_SECONDS_MAX)
