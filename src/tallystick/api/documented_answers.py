"""The answers of operations in the OpenAPI document."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from tallystick.api.answers import Problem
from tallystick.api.calls import CSV_TYPE, Key, Operation
from tallystick.api.error_codes import INTERNAL_ERROR, RATE_LIMITED, ErrorCode, error_code
from tallystick.api.idempotency_keys import REPLAYED_HEADER
from tallystick.api.request_ids import HEADER as REQUEST_ID_HEADER
from tallystick.api.streams import EVENT_STREAM
from tallystick.domain.outcomes import RefusalCode, Unserved
from tallystick.views import Hold, Transaction

REFERENCE: Final = "#/components/schemas/{name}"

_REPLAYED: Final[dict[str, Any]] = {
    REPLAYED_HEADER: {
        "description": "It is there if this is the answer to an earlier request with the same key.",
        "schema": {"type": "string", "const": "true"},
    }
}
_LOCATION: Final[dict[str, Any]] = {
    "description": "The path of what was made, or is on its way.",
    "schema": {"type": "string"},
}
_REQUEST_ID: Final[dict[str, Any]] = {
    REQUEST_ID_HEADER: {
        "description": "The identifier of the request: the one that was sent, or one that was made for it.",
        "schema": {"type": "string"},
    }
}
_ETAG: Final[dict[str, Any]] = {
    "ETag": {"description": "The strong entity tag of this version.", "schema": {"type": "string"}},
}
_REPLAYED_STATUSES: Final = frozenset({"200", "201", "202", "422"})
_RETRY_AFTER: Final[dict[str, Any]] = {
    "description": "The seconds to wait before trying again, with the same key.",
    "schema": {"type": "integer", "minimum": 1},
}
_RATE_LIMIT: Final[dict[str, Any]] = {
    "RateLimit-Policy": {
        "description": 'The limit: "name";q=quota;w=window in seconds.',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'The rest of it: "name";r=rest;t=seconds until it grows.',
        "schema": {"type": "string"},
    },
}
_MAY_CROSS_SHARDS: Final = (Transaction, Hold)


def responses_of(operation: Operation) -> dict[str, Any]:
    """The answers of an operation by status: success, and each error that it can have."""
    answered: dict[str, Any] = {
        str(int(operation.status)): {
            "description": operation.summary,
            "content": {"application/json": {"schema": schema_reference(operation.answer)}},
            **({"headers": {"Location": _LOCATION}} if operation.status is HTTPStatus.CREATED else {}),
        }
    }
    if operation.streamed is not None:
        # The data of each event has that schema. OpenAPI 3.1 cannot describe a stream.
        answered[str(int(operation.status))]["content"][EVENT_STREAM] = {
            "schema": {"type": "string", "contentMediaType": "application/json"},
            "example": f"id: 42\ndata: {{ … {operation.streamed.__name__} … }}\n\n",
        }
    if operation.table is not None:
        answered[str(int(operation.status))]["content"][CSV_TYPE] = {"schema": {"type": "string"}}
    if operation.answer in _MAY_CROSS_SHARDS and operation.method == "POST":
        answered["202"] = {
            "description": "On its way to another shard. Read the path in Location, or send the same request with "
            "the same key again, to get the outcome.",
            "content": {"application/json": {"schema": schema_reference(operation.answer)}},
            "headers": {"Location": _LOCATION},
        }
    by_status: dict[int, list[ErrorCode]] = {}
    for error in _errors(operation):
        read_only = operation.method == "GET" and error.status_of_reading is not None
        by_status.setdefault(error.status_of_reading or 0 if read_only else error.status, []).append(error)
    answered |= {str(status): problem_response(errors) for status, errors in sorted(by_status.items())}
    if operation.key is not Key.NONE:
        for status in _REPLAYED_STATUSES & answered.keys():
            answered[status]["headers"] = {**answered[status].get("headers", {}), **_REPLAYED}
    if operation.tagged:
        success = answered[str(int(operation.status))]
        success["headers"] = {**success.get("headers", {}), **_ETAG}
    for response in answered.values():
        response["headers"] = {**response.get("headers", {}), **_REQUEST_ID}
    return answered


_OF_KEYS: Final = ("unauthorized", "key_expired", "scope_missing", "network_not_allowed")


def _errors(operation: Operation) -> list[ErrorCode]:
    """The possible errors of an operation, with those of every call."""
    codes = ["parameter_invalid", "request_invalid", *_OF_KEYS, RATE_LIMITED, INTERNAL_ERROR]
    codes += [reason.value for reason in Unserved]
    if operation.key is not Key.NONE:
        # An empty key is none.
        codes += ["idempotency_key_missing", RefusalCode.IDEMPOTENCY_KEY_REUSED.text]
    if operation.stream is not None:
        codes.append("too_many_streams")
    if operation.body is not None:
        codes += [
            "body_timeout",
            "body_too_large",
            "content_type_unsupported",
            "content_encoding_unsupported",
        ]
    if "{identifier}" in operation.path:
        # A text that is no identifier may not be a part of a path either.
        codes.append("path_not_found")
    codes += [code.text for code in operation.refusals]
    return [error_code(code) for code in (*codes, *operation.errors)]


def problem_response(errors: Sequence[ErrorCode]) -> dict[str, Any]:
    """The answer of one status: any of these errors."""
    codes = sorted(error.code for error in errors)
    schema = {"allOf": [schema_reference(Problem), {"properties": {"code": {"enum": codes}}}]}
    described: dict[str, Any] = {
        "description": " ".join(f"`{error.code}`: {error.meaning} {error.remedy}" for error in errors),
        "content": {"application/problem+json": {"schema": schema}},
    }
    if any(error.retry_after_seconds is not None for error in errors):
        described["headers"] = {"Retry-After": _RETRY_AFTER}
    if RATE_LIMITED in codes:
        described["headers"] = {"Retry-After": _RETRY_AFTER, **_RATE_LIMIT}
    return described


def schema_reference(model: type[msgspec.Struct]) -> dict[str, Any]:
    """A reference to the schema of a type."""
    return {"$ref": REFERENCE.format(name=model.__name__)}
