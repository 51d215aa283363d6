"""Errors as problem documents (RFC 9457): a stable code, what is wrong, and what is expected."""

import re
from http import HTTPStatus
from typing import Final, NamedTuple

import falcon
import msgspec

from tallystick.api.answers import Problem
from tallystick.api.error_codes import (
    NO_STANDBY,
    POSITION_NOT_REACHED,
    RATE_LIMITED,
    STANDBY_UNAVAILABLE,
    error_code,
    page_of,
)
from tallystick.domain.outcomes import RefusalCode, Refused, Unserved, refuse
from tallystick.followers.errors import (
    NoStandbyError,
    PositionNotReachedError,
    SecretUnreadableError,
    StandbyUnavailableError,
    WebhookKeyMissingError,
)
from tallystick.ledger.directory import DirectoryIncompleteError
from tallystick.ledger.errors import (
    NotTakenError,
    OverloadedError,
    OwnerPlacementError,
    ShardNotConfiguredError,
)
from tallystick.service.errors import (
    AccessDeniedError,
    AssetConflictError,
    AssetNotFoundError,
    AuthenticationError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    KeyExpiredError,
    KeyNotFoundError,
    LastAdminError,
    NetworkNotAllowedError,
    NotFoundError,
    ParameterError,
    PreconditionFailedError,
    RateLimitedError,
    ScopeMissingError,
    TooManyAssetsError,
    TooManyKeysError,
    TooManyOpenedAccountsError,
    TooManyStreamsError,
    TooManyWebhooksError,
    WebhookNotFoundError,
)
from tallystick.store.errors import CommitUnknownError, ShardUnavailableError

PROBLEM_TYPE: Final = "application/problem+json"

# msgspec ends its messages with the place: "Expected `str`, got `int` - at `$.source`".
_PLACE: Final = re.compile(r"^(?P<detail>.*?)(?: - at `(?P<place>.*)`)?$", re.DOTALL)
_FIELD: Final = re.compile(r"(?:unknown|required) field `(?P<field>[^`]*)`")
_QUOTED_CHARACTERS_MAX: Final = 200
_NOT_FROM_A_STANDBY: Final = "The primary is not read in its place: for that, leave `consistency` out."


class ProblemResponse(NamedTuple):
    """A problem and the headers that go with it."""

    problem: Problem
    headers: dict[str, str]


def answer(code: str, detail: str, param: str | None = None, *, reading: bool = False) -> ProblemResponse:
    """A problem document with the status of its code, and when to try again."""
    known = error_code(code)
    status = known.status_of_reading if reading and known.status_of_reading is not None else known.status
    after_seconds = known.retry_after_seconds
    headers = {} if after_seconds is None else {"Retry-After": str(after_seconds)}
    return ProblemResponse(_problem(status, code, detail, param), headers)


def _problem(status: int, code: str, detail: str, param: str | None = None) -> Problem:
    title = code.replace("_", " ").capitalize()
    return Problem(page_of(code), title, status, code, detail, param)


def refusal(refused: Refused, *, reading: bool = False) -> ProblemResponse:
    """The answer to a refusal. `reading`: the call only reads."""
    return answer(refused.code.text, refused.detail, refused.param, reading=reading)


def malformed(error: msgspec.DecodeError, where: str) -> ProblemResponse:
    """The error in the form of a body or a query."""
    match = _PLACE.match(str(error))
    detail, place = (match["detail"], match["place"]) if match else (str(error), None)
    # A place inside of metadata reads `metadata[...]`.
    param = (place or "").removeprefix("$").removeprefix(".").replace("[...]", "")
    field = _FIELD.search(detail)
    if field:
        param = f"{param}.{field['field']}" if param else field["field"]
    detail = f"{detail[:_QUOTED_CHARACTERS_MAX]}. See /docs for the form of this {where}."
    return answer("parameter_invalid", detail, param or where)


def of_error(error: Exception) -> ProblemResponse | None:  # noqa: C901, PLR0911, PLR0912 - a table
    """The problem document of an expected error; None for a bug."""
    match error:
        case ParameterError():
            return answer("parameter_invalid", error.detail, error.param)
        case IdempotencyKeyMissingError():
            return answer(
                "idempotency_key_missing",
                "Send an Idempotency-Key header: your own name for this request, so that sending it again "
                "cannot carry it out twice.",
                error.param,
            )
        case IdempotencyKeyReusedError():
            return refusal(refuse(RefusalCode.IDEMPOTENCY_KEY_REUSED, error.param))
        case PreconditionFailedError():
            return refusal(refuse(RefusalCode.PRECONDITION_FAILED, "If-Match"))
        case SecretUnreadableError():
            return answer("webhook_key_missing", f"{error}.")
        case AssetConflictError():
            return answer("asset_exists", f"{error}.", "code")
        case OwnerPlacementError():
            return answer("owner_placed_elsewhere", f"{str(error).capitalize()}.", "near")
        case NotFoundError():
            return _not_found(error)
        case TooManyStreamsError():
            return answer("too_many_streams", f"{error}.")
        case TooManyOpenedAccountsError():
            return answer("too_many_accounts", f"{error}.")
        case TooManyAssetsError():
            return answer("too_many_assets", f"{error}.")
        case TooManyWebhooksError():
            return answer("too_many_webhooks", f"{error}.")
        case WebhookKeyMissingError():
            return answer("webhook_key_missing", f"{str(error).capitalize()}.")
        case AuthenticationError() | AccessDeniedError() | LastAdminError() | TooManyKeysError():
            return _of_key(error)
        case RateLimitedError():
            return _rate_limited(error)
        case OverloadedError():
            return _unserved(Unserved.OVERLOADED, "Too many requests are waiting.")
        case DirectoryIncompleteError() | ShardNotConfiguredError():
            # The message says what was done on which shards, and what to do, which is not always a retry.
            return answer(Unserved.SHARD_UNAVAILABLE.value, f"{str(error).removesuffix('.')}.")
        case PositionNotReachedError():
            again = (
                "Try again in a moment. If the error persists, the position belongs to another shard's log"
                f"{', or the standby is far behind: read without it' if error.from_standby else ''}."
            )
            return answer(POSITION_NOT_REACHED, f"{str(error).capitalize()}. {again}", error.param)
        case NoStandbyError():
            return answer(NO_STANDBY, f"{str(error).capitalize()}. {_NOT_FROM_A_STANDBY}", "consistency")
        case StandbyUnavailableError():
            return answer(STANDBY_UNAVAILABLE, f"{str(error).capitalize()}. {_NOT_FROM_A_STANDBY}")
        case NotTakenError() | ShardUnavailableError() | CommitUnknownError():
            return _unserved(Unserved.SHARD_UNAVAILABLE, "The shard did not answer.")
        case falcon.HTTPError():
            return _of_framework(error)
        case _:
            return None


def _of_key(error: Exception) -> ProblemResponse:
    """With the header of RFC 6750: why the key was not accepted, and the scope that is missing."""
    match error:
        case ScopeMissingError():
            found = answer("scope_missing", f"{_sentence(error)}.", "Authorization")
            challenge = f'Bearer error="insufficient_scope", scope="{error.scope.value}"'
        case NetworkNotAllowedError():
            return answer("network_not_allowed", f"{_sentence(error)}.", "Authorization")
        case KeyExpiredError():
            found = answer("key_expired", f"{_sentence(error)}.", "Authorization")
            challenge = 'Bearer error="invalid_token", error_description="the API key has expired"'
        case AuthenticationError():
            found = answer("unauthorized", f"Send a valid key: {error}.", "Authorization")
            challenge = "Bearer"
        case LastAdminError():
            return answer("last_admin_key", f"{_sentence(error)}.")
        case _:
            return answer("too_many_api_keys", f"{_sentence(error)}.")
    return ProblemResponse(found.problem, {"WWW-Authenticate": challenge})


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]


def _rate_limited(error: RateLimitedError) -> ProblemResponse:
    """With the fields of draft-ietf-httpapi-ratelimit-headers."""
    found = answer(RATE_LIMITED, f"{error}.")
    return ProblemResponse(
        found.problem,
        {
            "Retry-After": str(error.after_seconds),
            "RateLimit-Policy": f'"{error.policy}";q={error.quota};w={error.window_seconds}',
            "RateLimit": f'"{error.policy}";r={error.left};t={error.after_seconds}',
        },
    )


def _not_found(error: NotFoundError) -> ProblemResponse:
    if isinstance(error, AssetNotFoundError):
        return answer(error.code, f"{error}: see GET /v1/assets.", "id")
    if isinstance(error, WebhookNotFoundError):
        return answer(error.code, f"{error}: see GET /v1/webhooks.", "id")
    if isinstance(error, KeyNotFoundError):
        return answer(error.code, f"{error}: see GET /v1/api-keys.", "id")
    return answer(error.code, error_code(error.code).meaning, "id", reading=True)


def _unserved(reason: Unserved, what: str) -> ProblemResponse:
    again = "Send the same request again: with the same Idempotency-Key it is carried out at most once."
    return answer(reason.value, f"{what} {again}")


def _of_framework(error: falcon.HTTPError) -> ProblemResponse:
    code = {
        HTTPStatus.NOT_FOUND: "path_not_found",
        HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
        HTTPStatus.CONTENT_TOO_LARGE if hasattr(HTTPStatus, "CONTENT_TOO_LARGE") else 413: "body_too_large",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "content_type_unsupported",
    }.get(error.status_code, "request_invalid")
    detail = error.description or "See /docs for all paths."
    return ProblemResponse(_problem(error.status_code, code, detail), dict(error.headers or {}))
