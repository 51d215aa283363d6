"""Examples in the description of the API, one for each field.

Fields with the same name have the same example everywhere. An example in the type itself takes precedence.
"""

from typing import Any, Final

from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.system_owners import PATTERN
from tallystick.domain.webhooks import ID_PREFIX
from tallystick.views.api_keys import KEY_ID_PATTERN

_TIME: Final = "2026-01-31T12:00:00.000000Z"
_POSITION: Final = 1234
_SHARD: Final = 1

ACCOUNT: Final = format_identifier(Prefix.ACCOUNT, make_identifier(_SHARD, 271_828_182_845_904))
TRANSACTION: Final = format_identifier(Prefix.TRANSACTION, make_identifier(_SHARD, _POSITION))
HOLD: Final = format_identifier(Prefix.HOLD, make_identifier(_SHARD, _POSITION))
ENDPOINT: Final = format_identifier(ID_PREFIX, make_identifier(_SHARD, 314_159_265_358_979))

_OF_PATTERN: Final = {
    f"^{text.partition('_')[0]}_": text for text in (ACCOUNT, TRANSACTION, HOLD, ENDPOINT)
} | {f"^{PATTERN}$": "@fees", KEY_ID_PATTERN: "0123456789ab", "^[A-Z]": "POINTS"}

# By name. None: the field is usually absent.
_OF_NAME: Final[dict[str, Any]] = {
    "Idempotency-Key": "order 4711",
    "accounts": 2,
    "If-Match": '"5f0c1a"',
    "by": "owner",
    "label": "alice",
    "closed_at_position": _POSITION,
    "counterparties": [ACCOUNT],
    "opened_at_position": 0,
    "until": _TIME,
    "attempts": 3,
    "changed_at": _TIME,
    "code": "insufficient_funds",
    "counterpart": TRANSACTION,
    "created_at": _TIME,
    "description": "Lunch",
    "detail": "The account has 100 available.",
    "effective_at": _TIME,
    "error": None,
    "expires_at": _TIME,
    "expires_in": 604_800,
    "failing_since": None,
    "head": _POSITION,
    "idempotency_key": "order 4711",
    "key": "tally_0123456789ab_7rT1NXb0a3cPZkH2mVw9uQeLyJ5sGdF8oI4xK6tC0Rn",  # an example for people to read
    "kind": "transfer",
    "kinds": ["transfer"],
    "last_error": None,
    "last_used_at": _TIME,
    "metadata": {"order": "4711"},
    "min_positions": {ACCOUNT: _POSITION},
    "name": "Loyalty points",
    "near": "alice",
    "next_after": _POSITION,
    "next_attempt_at": None,
    "next_cursor": None,
    "overlap_seconds": 86_400,
    "owner": "alice",
    "param": "amount",
    "parked_at": None,
    "position": _POSITION,
    "previous_until": None,
    "previous_secret_until": None,  # nosec B105  # an example for people to read
    "reason": None,
    "recorded_at": _TIME,
    "refers_to": TRANSACTION,
    "revoked_at": None,
    "scale": 2,
    "seconds": 0.125,
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # nosec B105  # an example for people to read
    "shard": _SHARD,
    "since": _TIME,
    "status": 422,
    "timestamp": _TIME,
    "title": "Insufficient funds",
    "instance": "urn:uuid:0f2e4cbe-6f6d-4bd6-8a3c-0d1f4d3c8b5e",
    "type": "/errors/insufficient_funds",
    "unreachable_shards": [],
    "version": 1,
    "url": "https://shop.example/webhooks",
}


def with_examples(components: dict[str, Any]) -> dict[str, Any]:
    """The schemas of objects, with an example for each field that has none yet."""
    for schema in components.values():
        for name, field in schema.get("properties", {}).items():
            if not _says_itself(field):
                field["examples"] = [example_of(name, field)]
    return components


def example_of(name: str, schema: dict[str, Any]) -> Any:
    """An example of a field or a parameter.

    Raises:
        KeyError: its name is not in the table above.
    """
    found = _first(schema, "examples")
    if found is not None:
        return found[0]
    choices = _first(schema, "enum")
    if choices is not None:
        return choices[0]
    if "pattern" in schema.get("items", {}):
        return [example_of(name, schema["items"])]
    pattern = _first(schema, "pattern") or ""
    for beginning, text in _OF_PATTERN.items():
        if pattern.startswith(beginning):
            return text
    return _OF_NAME[name]


def _first(schema: dict[str, Any], word: str) -> Any:
    """The value of a key in a schema, or in the first of its choices that has it."""
    return next((one[word] for one in (schema, *schema.get("anyOf", ())) if word in one), None)


def _says_itself(schema: dict[str, Any]) -> bool:
    """Whether a field needs no example, as another object, an enumeration, or a boolean."""
    alternatives = (schema, schema.get("items", {}), *schema.get("anyOf", ()))
    return any(
        "$ref" in one or "enum" in one or "examples" in one or one.get("type") == "boolean"
        for one in alternatives
    )
