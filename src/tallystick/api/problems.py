"""Errors as problem documents (RFC 9457): a stable code, what is wrong, and what would be right."""

import re
from http import HTTPStatus
from typing import Final, NamedTuple

import falcon
import msgspec

from tallystick.api.answers import Problem
from tallystick.domain import limits
from tallystick.domain.outcomes import RefusalCode, Refused, Unserved
from tallystick.ledger.directory import DirectoryIncompleteError
from tallystick.ledger.errors import NotTakenError, OverloadedError
from tallystick.service.errors import (
    AssetConflictError,
    AuthenticationError,
    IdempotencyKeyMissingError,
    ParameterError,
    TooManyWebhooksError,
    WebhookNotFoundError,
)
from tallystick.store.errors import CommitUnknownError, ShardUnavailableError

PROBLEM_TYPE: Final = "application/problem+json"

_NOT_FOUND: Final = frozenset(
    {RefusalCode.ACCOUNT_NOT_FOUND, RefusalCode.TRANSACTION_NOT_FOUND, RefusalCode.HOLD_NOT_FOUND}
)
# msgspec ends its messages with the place: "Expected `str`, got `int` - at `$.source`".
_PLACE: Final = re.compile(r"^(?P<detail>.*?)(?: - at `(?P<place>.*)`)?$", re.DOTALL)
_FIELD: Final = re.compile(r"(?:unknown|required) field `(?P<field>[^`]*)`")
_QUOTED_CHARACTERS_MAX: Final = 200


class Answer(NamedTuple):
    """A problem and the headers that go with it."""

    problem: Problem
    headers: dict[str, str]


def problem(status: int, code: str, detail: str, param: str | None = None) -> Problem:
    """A problem document."""
    title = code.replace("_", " ").capitalize()
    return Problem(f"urn:tallystick:problem:{code}", title, status, code, detail, param)


def refusal(refused: Refused, *, reading: bool = False) -> Problem:
    """The problem document of a refusal: 422, or 404 where something was only to be read."""
    missing = reading and refused.code in _NOT_FOUND
    status = HTTPStatus.NOT_FOUND if missing else HTTPStatus.UNPROCESSABLE_ENTITY
    return problem(status, refused.code.text, refused.detail, refused.param)


def malformed(error: msgspec.DecodeError, where: str) -> Problem:
    """What is wrong with a body or a query that does not have the right form."""
    match = _PLACE.match(str(error))
    detail, place = (match["detail"], match["place"]) if match else (str(error), None)
    # A place inside of metadata reads `metadata[...]`.
    param = (place or "").removeprefix("$").removeprefix(".").replace("[...]", "")
    field = _FIELD.search(detail)
    if field:
        param = f"{param}.{field['field']}" if param else field["field"]
    detail = f"{detail[:_QUOTED_CHARACTERS_MAX]}. See /docs for the form of this {where}."
    return problem(HTTPStatus.BAD_REQUEST, "parameter_invalid", detail, param or where)


def of_error(error: Exception) -> Answer | None:  # noqa: PLR0911 - a table
    """The problem document of an expected error; None for a bug."""
    match error:
        case ParameterError():
            return _plain(HTTPStatus.BAD_REQUEST, "parameter_invalid", error.detail, error.param)
        case IdempotencyKeyMissingError():
            return _plain(
                HTTPStatus.BAD_REQUEST,
                "idempotency_key_missing",
                "Send an Idempotency-Key header: your own name for this request, so that sending it again "
                "cannot move money twice.",
                error.param,
            )
        case AssetConflictError():
            return _plain(HTTPStatus.CONFLICT, "asset_exists", f"{error}.", "code")
        case WebhookNotFoundError():
            return _plain(HTTPStatus.NOT_FOUND, "webhook_not_found", f"{error}: see GET /v1/webhooks.", "id")
        case TooManyWebhooksError():
            return _plain(HTTPStatus.CONFLICT, "too_many_webhooks", f"{error}.")
        case AuthenticationError():
            found = problem(
                HTTPStatus.UNAUTHORIZED, "unauthorized", f"Send a valid key: {error}.", "Authorization"
            )
            return Answer(found, {"WWW-Authenticate": "Bearer"})
        case OverloadedError():
            return _retry(Unserved.OVERLOADED, limits.OVERLOADED_RETRY_AFTER_SECONDS, "Too much is waiting.")
        case DirectoryIncompleteError():
            # It says what was done where, and what to do: not always the same again.
            return _unserved(Unserved.SHARD_UNAVAILABLE, limits.UNAVAILABLE_RETRY_AFTER_SECONDS, f"{error}.")
        case NotTakenError() | ShardUnavailableError() | CommitUnknownError():
            return _retry(
                Unserved.SHARD_UNAVAILABLE,
                limits.UNAVAILABLE_RETRY_AFTER_SECONDS,
                "The shard did not answer.",
            )
        case falcon.HTTPError():
            return _of_framework(error)
        case _:
            return None


def _plain(status: int, code: str, detail: str, param: str | None = None) -> Answer:
    return Answer(problem(status, code, detail, param), {})


def _retry(reason: Unserved, after_seconds: int, what: str) -> Answer:
    again = "Send the same request again: with the same Idempotency-Key it is carried out at most once."
    return _unserved(reason, after_seconds, f"{what} {again}")


def _unserved(reason: Unserved, after_seconds: int, detail: str) -> Answer:
    found = problem(HTTPStatus.SERVICE_UNAVAILABLE, reason.value, detail)
    return Answer(found, {"Retry-After": str(after_seconds)})


def _of_framework(error: falcon.HTTPError) -> Answer:
    code = {
        HTTPStatus.NOT_FOUND: "path_not_found",
        HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
        HTTPStatus.CONTENT_TOO_LARGE if hasattr(HTTPStatus, "CONTENT_TOO_LARGE") else 413: "body_too_large",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "content_type_unsupported",
    }.get(error.status_code, "request_invalid")
    detail = error.description or "See /docs for what this server answers to."
    return Answer(problem(error.status_code, code, detail), dict(error.headers or {}))
