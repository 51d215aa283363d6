"""Fingerprints: the contents of a request in a few bytes, to detect a key that is reused for another request.

A fingerprint is a MessagePack array of the operation and its fields in a fixed order. A long text is replaced by its
digest. Because the fields stay separate, the refusal can name the field that differs.
"""

import hashlib
from enum import IntEnum
from typing import Final

import msgspec

_VALUE_BYTES_MAX: Final = 32
_DIGEST_BYTES: Final = 16
_KEY_BYTES: Final = 16

Field = str | int | bool | bytes | None | list[list[int | str]]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[object])


class RequestKind(IntEnum):
    """The call that a fingerprint belongs to. The numbers are stored and never change."""

    OPEN_ACCOUNT = 1
    CHANGE_ACCOUNT = 2
    TRANSFER = 3
    TRANSACTION = 4
    HOLD = 5
    CAPTURE = 6
    VOID = 7
    REVERSE = 8


FIELDS: Final[dict[RequestKind, tuple[str, ...]]] = {
    RequestKind.OPEN_ACCOUNT: ("owner", "asset", "kind", "min_balance", "max_balance", "metadata", "near"),
    RequestKind.CHANGE_ACCOUNT: ("id", "status", "min_balance", "max_balance", "metadata"),
    RequestKind.TRANSFER: (
        "source",
        "destination",
        "amount",
        "asset",
        "description",
        "metadata",
        "effective_at",
    ),
    RequestKind.TRANSACTION: ("entries", "description", "metadata", "effective_at"),
    RequestKind.HOLD: (
        "source",
        "destination",
        "amount",
        "asset",
        "expires_in",
        "description",
        "metadata",
        "effective_at",
    ),
    RequestKind.CAPTURE: ("id", "amount", "final", "description", "metadata", "effective_at"),
    RequestKind.VOID: ("id", "description", "metadata", "effective_at"),
    RequestKind.REVERSE: ("id", "amount", "description", "metadata", "effective_at"),
}


def request_key(tenant: int, idempotency_key: str) -> bytes:
    """The 128-bit hash of a tenant's idempotency key, as it is in the log."""
    text = idempotency_key.encode()
    return hashlib.sha256(tenant.to_bytes(4, "big") + text).digest()[:_KEY_BYTES]


def fingerprint(operation: RequestKind, *values: Field) -> bytes:
    """The fingerprint of a request. `values` are in the order of FIELDS; missing ones at the end take no space."""
    last = len(values)
    while last and values[last - 1] is None:
        last -= 1
    short = [value if value is None or isinstance(value, int) else _short(value) for value in values[:last]]
    return _encoder.encode([int(operation), *short])


def _short(value: Field) -> Field:
    if isinstance(value, str) and len(value) > _VALUE_BYTES_MAX:
        return hashlib.sha256(value.encode()).digest()[:_DIGEST_BYTES]
    if isinstance(value, list):
        return hashlib.sha256(_encoder.encode(value)).digest()[:_DIGEST_BYTES]
    return value


def asked_for(fingerprint: bytes) -> tuple[RequestKind, list[object]] | None:
    """The operation of a fingerprint, and its fields in the order of FIELDS; None if it cannot be read."""
    try:
        operation, *values = _decoder.decode(fingerprint)
        return RequestKind(operation), values  # type: ignore[arg-type]  # raises for what is none
    except (msgspec.DecodeError, ValueError):
        return None


def differing_field(recorded: bytes, requested: bytes) -> str:
    """The name of the first field in which two fingerprints differ; `path` if the operations differ.

    The step of a saga has no operation and no fields, so it always differs in `path`.
    """
    first, second = asked_for(recorded), asked_for(requested)
    if first is None or second is None or first[0] is not second[0]:
        return "path"
    for index, name in enumerate(FIELDS[first[0]]):
        if _at(first[1], index) != _at(second[1], index):
            return name
    return "body"


def _at(values: list[object], index: int) -> object:
    return values[index] if index < len(values) else None
