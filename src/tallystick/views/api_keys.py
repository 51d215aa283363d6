"""API keys, as their tenants and operators see them."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tallystick.domain import limits
from tallystick.domain.access import Scope, StoredKey
from tallystick.views.fields import text

KEY_ID_PATTERN: Final = "^[0-9a-f]{12}$"

KeyId = Annotated[
    str, Meta(description="A key. Its secret contains it.", extra_json_schema={"pattern": KEY_ID_PATTERN})
]
KeyName = Annotated[str, text("What the key is for.", limits.OWNER_CHARACTERS_MAX)]
Scopes = Annotated[
    list[Scope],
    Meta(
        description="What the key may do: see the scope of each operation.",
        examples=[["read", "post"]],
        extra_json_schema={"minItems": 1},
    ),
]
KeyNetworks = Annotated[
    list[str],
    Meta(
        description="Networks in CIDR notation, of IPv4 or IPv6, that callers must be in; none: everywhere.",
        examples=[["192.0.2.0/24", "2001:db8::/32"]],
        extra_json_schema={"maxItems": limits.API_KEY_NETWORKS_MAX},
    ),
]


class ApiKey(msgspec.Struct, frozen=True):
    """An API key, without its secret.

    `previous_until`: the time until which the secret before the last rotation is valid, too. `last_used_at` is
    written once a minute at most.
    """

    id: KeyId
    name: KeyName
    scopes: Scopes
    networks: KeyNetworks
    expires_at: datetime | None
    created_at: datetime
    changed_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    previous_until: datetime | None


class NewApiKey(msgspec.Struct, frozen=True):
    """A key, and its new secret. Keep the secret now: it is not shown again."""

    api_key: ApiKey
    key: Annotated[str, Meta(description="What callers send as `Authorization: Bearer`.")]

    @property
    def id(self) -> str:
        """The key's identifier."""
        return self.api_key.id


def api_key_view(key: StoredKey, used_at: datetime | None = None) -> ApiKey:
    """A key as callers see it."""
    return ApiKey(
        id=key.id,
        name=key.name,
        scopes=list(key.scopes),
        networks=list(key.networks),
        expires_at=key.expires_at,
        created_at=key.created_at,
        changed_at=key.changed_at,
        revoked_at=key.revoked_at,
        last_used_at=used_at,
        previous_until=key.previous_until,
    )
