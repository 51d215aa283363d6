"""The calls about API keys, with their requests and answers, for keys with the scope `admin`.

They take no idempotency key: the answer to one would have to be kept, with the secret, of which only the hash is.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from tallystick import views
from tallystick.api.calls import Call, Operation
from tallystick.api.fields import number
from tallystick.api.requests import PageQuery
from tallystick.domain import limits
from tallystick.domain.access import LEAST_SCOPES, Action
from tallystick.service.api_keys import KeyManagement
from tallystick.views.api_keys import ApiKey, KeyName, KeyNetworks, NewApiKey, Scopes

Expiry = Annotated[datetime, Meta(description="When the key expires, with its zone; null: never.")] | None


class ApiKeyRequest(Struct, forbid_unknown_fields=True):
    """A new key. With nothing else asked for it may read."""

    name: KeyName
    scopes: Scopes = field(default_factory=lambda: list(LEAST_SCOPES))
    networks: KeyNetworks = []
    expires_at: Expiry = None


class ChangeApiKeyRequest(Struct, forbid_unknown_fields=True):
    """Changes of a key. Fields that are left out stay."""

    name: KeyName | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET
    networks: KeyNetworks | UnsetType = UNSET
    expires_at: Expiry | UnsetType = UNSET


class RotateApiKeyRequest(Struct, forbid_unknown_fields=True):
    """How long the secret before is valid, too."""

    overlap_seconds: Annotated[
        int,
        number("Seconds for which both secrets are valid.", 0, limits.API_KEY_OVERLAP_SECONDS_MAX),
    ] = limits.API_KEY_OVERLAP_SECONDS_DEFAULT


class ApiKeyList(views.Page[ApiKey], frozen=True):
    """One page of API keys, oldest first, with those that were revoked or have expired."""


async def create(call: Call) -> NewApiKey:
    """Make a key."""
    body: ApiKeyRequest = call.body
    return await _keys(call).create(
        body.name,
        tenant=call.access.tenant,
        scopes=body.scopes,
        networks=body.networks,
        expires_at=body.expires_at,
    )


async def page(call: Call) -> views.Page[ApiKey]:
    """List the keys."""
    return await _keys(call).page(call.query.cursor, call.query.limit)


async def get(call: Call) -> ApiKey:
    """Get one key."""
    return await _keys(call).get(call.identifier)


async def change(call: Call) -> ApiKey:
    """Change a key."""
    body: ChangeApiKeyRequest = call.body
    return await _keys(call).change(
        call.identifier,
        name=body.name,
        scopes=body.scopes,
        networks=body.networks,
        expires_at=body.expires_at,
    )


async def revoke(call: Call) -> ApiKey:
    """Revoke a key."""
    await _keys(call).revoke(call.identifier)
    return await _keys(call).get(call.identifier)


async def rotate(call: Call) -> NewApiKey:
    """Give a key a new secret."""
    return await _keys(call).rotate(call.identifier, call.body.overlap_seconds)


def _keys(call: Call) -> KeyManagement:
    return KeyManagement(call.directory, call.access)


_KEYS: Final = "/v1/api-keys"
_KEY: Final = f"{_KEYS}/{{identifier}}"
_MANAGE: Final = Action.MANAGE_KEYS
_NOT_FOUND: Final = ("api_key_not_found",)

KEY_OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        "POST", _KEYS, _MANAGE, "createApiKey", "Make an API key", create, NewApiKey, HTTPStatus.CREATED,
        body=ApiKeyRequest, errors=("too_many_api_keys",),
    ),
    Operation("GET", _KEYS, _MANAGE, "listApiKeys", "List API keys", page, ApiKeyList, query=PageQuery),
    Operation("GET", _KEY, _MANAGE, "getApiKey", "Get an API key", get, ApiKey, errors=_NOT_FOUND),
    Operation(
        "PATCH", _KEY, _MANAGE, "changeApiKey", "Change an API key", change, ApiKey, body=ChangeApiKeyRequest,
        errors=(*_NOT_FOUND, "last_admin_key"),
    ),
    Operation(
        "DELETE", _KEY, _MANAGE, "revokeApiKey", "Revoke an API key", revoke, ApiKey,
        errors=(*_NOT_FOUND, "last_admin_key"),
    ),
    Operation(
        "POST", f"{_KEY}/rotate", _MANAGE, "rotateApiKey", "Give an API key a new secret", rotate, NewApiKey,
        body=RotateApiKeyRequest, errors=(*_NOT_FOUND, "last_admin_key"),
    ),
)  # fmt: skip
