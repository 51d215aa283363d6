"""All error codes of the API: status, meaning, and what a client should do. This is the only list.

Problem documents take their status from here. The OpenAPI document and docs/errors.md are made from it. To write that
page again: `python -m tallystick.api.error_codes > docs/errors.md`.
"""

from http import HTTPStatus
from typing import Final, NamedTuple

from tallystick.domain import limits
from tallystick.domain.outcomes import REFUSAL_DETAILS, RefusalCode, Unserved

POSITION_NOT_REACHED: Final = "position_not_reached"
NO_STANDBY: Final = "no_standby"
STANDBY_UNAVAILABLE: Final = "standby_unavailable"
INTERNAL_ERROR: Final = "internal_error"
RATE_LIMITED: Final = "rate_limited"

_CORRECT: Final = "Correct what `param` names. The key is free: use the same one."
_NEW_KEY: Final = "Final for this key. To try again later, use a new key."
_NAME_ANOTHER: Final = (
    "Check the identifier: it is mistyped, or belongs to another tenant or another installation."
)


class ErrorCode(NamedTuple):
    """One code. `status_of_reading` is its status in calls that only read."""

    code: str
    status: int
    meaning: str
    remedy: str
    retry_after_seconds: int | None = None
    status_of_reading: int | None = None

    @property
    def statuses(self) -> str:
        """Its statuses, for people."""
        if self.status_of_reading is None:
            return str(self.status)
        return f"{self.status_of_reading} when read, {self.status} when a command names it"


def _refusal(
    code: RefusalCode,
    remedy: str = _NEW_KEY,
    *,
    status: int = HTTPStatus.UNPROCESSABLE_ENTITY,
    retry_after_seconds: int | None = None,
    status_of_reading: int | None = None,
) -> ErrorCode:
    """A refusal of the ledger. Its meaning is the standard text that clients get as `detail`."""
    meaning = REFUSAL_DETAILS[code]
    return ErrorCode(code.text, int(status), meaning, remedy, retry_after_seconds, status_of_reading)


ERROR_CODES: Final = (
    # The request is malformed, or not allowed: nothing was written.
    ErrorCode("parameter_invalid", 400, "A field, a header or a query parameter is invalid.", _CORRECT),
    ErrorCode(
        "idempotency_key_missing", 400, "The call changes something, and has no idempotency key.",
        "Send an `Idempotency-Key` header: your own name for this request, the same each time that you send it.",
    ),
    ErrorCode("request_invalid", 400, "The request is not valid HTTP.", "Correct the request."),
    ErrorCode("unauthorized", 401, "No API key was sent, or it is unknown or revoked.", "Send a valid API key."),
    ErrorCode(
        "key_expired", 401, "The API key has expired.",
        "Send another key, or ask an administrator to give this one a later end.",
    ),
    ErrorCode(
        "scope_missing", 403, "The API key lacks the scope that this takes. `WWW-Authenticate` and `detail` name it.",
        "Send a key with this scope, or ask an administrator to give it to this one.",
    ),
    ErrorCode(
        "network_not_allowed", 403, "The API key is not valid for callers at this address.",
        "Call from one of the networks of the key. Behind a proxy, the operator names it in `trusted_proxies`.",
    ),
    ErrorCode("path_not_found", 404, "This path does not exist.", "See /docs for all paths."),
    ErrorCode(
        "webhook_not_found", 404, "There is no such webhook endpoint, or it was removed.", "See `GET /v1/webhooks`."
    ),
    ErrorCode(
        "api_key_not_found", 404, "There is no such API key, or it was revoked.", "See `GET /v1/api-keys`."
    ),
    ErrorCode("asset_not_found", 404, "There is no such asset.", "See `GET /v1/assets`."),
    ErrorCode("method_not_allowed", 405, "The path does not support this method.", "See the header `Allow`."),
    ErrorCode(
        "body_timeout", 408, "The body did not arrive in time. The key is free.",
        "Send it again, the whole body at once.",
    ),
    # The current state does not allow it.
    ErrorCode(
        "asset_exists", 409, "The code is in use, by ISO 4217 or with another scale or name.", "Choose another code."
    ),
    ErrorCode(
        "owner_placed_elsewhere", 409,
        "The owner lives on another shard than `near`, or that shard takes no new owners.",
        "Leave `near` out, or name another one. The key is free.",
    ),
    ErrorCode(
        "too_many_webhooks", 409, "The tenant has the largest allowed number of webhook endpoints.",
        "Remove one first.",
    ),
    ErrorCode(
        "too_many_accounts", 409,
        "The tenant has the largest allowed number of accounts; closed ones count. The key is free.",
        "Use existing accounts: a closed one can be opened again.",
    ),
    ErrorCode(
        "webhook_key_missing", 409, "The server has no key to encrypt the secret of the endpoint with.",
        "Ask the operator to create one with `tallystick webhooks make-key`.",
    ),
    ErrorCode(
        "too_many_api_keys", 409, "The tenant has the largest allowed number of API keys in force.",
        "Revoke one first.",
    ),
    ErrorCode(
        "last_admin_key", 409, "No API key would be left that may manage keys.",
        "Give another key the scope `admin` first, or ask the operator (`tallystick keys`).",
    ),
    ErrorCode(
        "too_many_assets", 409, "The tenant has defined the largest allowed number of assets.", "Use existing assets."
    ),
    _refusal(
        RefusalCode.HOLD_BUSY,
        "Try again with the same key, after `Retry-After`: nothing is recorded, and it passes by itself.",
        status=HTTPStatus.CONFLICT,
        retry_after_seconds=limits.BUSY_HOLD_RETRY_AFTER_SECONDS,
    ),
    ErrorCode(
        POSITION_NOT_REACHED, 409, "The log of the account's shard has not reached the position that the balance "
        "must be as new as.",
        "Try again after `Retry-After`. If the error persists, the position belongs to another shard's log (that of "
        "a transfer belongs to the payer's), or this log has lost its end: tell the operator. With "
        "`consistency=standby` the standby may be far behind: read without it.",
        limits.POSITION_RETRY_AFTER_SECONDS,
    ),
    ErrorCode(
        NO_STANDBY, 409, "`consistency=standby`, and the configuration names no standby of a shard.",
        "Read with another `consistency`, or ask the operator to name the standbys in the `dsn` of the shard.",
    ),
    _refusal(
        RefusalCode.PRECONDITION_FAILED,
        "Read it again, and decide anew, with the `ETag` of that answer. The key is free.",
        status=HTTPStatus.PRECONDITION_FAILED,
    ),
    ErrorCode("body_too_large", 413, f"The body has more than {limits.BODY_BYTES_MAX} bytes.", "Send less."),
    ErrorCode("content_type_unsupported", 415, "The body is not JSON.", "Send `Content-Type: application/json`."),
    ErrorCode(
        "content_encoding_unsupported", 415, "The body is compressed.", "Send it without `Content-Encoding`."
    ),
    ErrorCode(
        "too_many_streams", 429, "The tenant has the largest allowed number of open streams at this server.",
        "Close one first, or follow several accounts in one stream.", limits.OVERLOADED_RETRY_AFTER_SECONDS,
    ),
    ErrorCode(
        RATE_LIMITED, 429, "The tenant or the API key has reached a limit. Nothing was done, and the idempotency key "
        "is still free. `RateLimit-Policy` names the limit (`q` in `w` seconds), `RateLimit` what is left.",
        "Try again with the same key, after `Retry-After`. A request that is larger than `q` is always refused: "
        "send less at once.",
    ),
    # The ledger refuses. The refusal is always the answer under this key.
    _refusal(
        RefusalCode.IDEMPOTENCY_KEY_REUSED,
        "A key names one request. `param` names the first field that differs; `path`: it was another call.",
    ),
    _refusal(RefusalCode.SAME_ACCOUNT),
    _refusal(RefusalCode.AMOUNT_INVALID),
    _refusal(RefusalCode.TRANSACTION_NOT_FOUND, _NAME_ANOTHER, status_of_reading=404),
    _refusal(RefusalCode.HOLD_NOT_FOUND, _NAME_ANOTHER, status_of_reading=404),
    _refusal(RefusalCode.ACCOUNT_NOT_FOUND, _NAME_ANOTHER, status_of_reading=404),
    _refusal(RefusalCode.TRANSACTION_NOT_REVERSIBLE),
    _refusal(RefusalCode.HOLD_NOT_OPEN),
    _refusal(RefusalCode.ASSET_MISMATCH),
    _refusal(RefusalCode.ENTRIES_UNBALANCED),
    _refusal(RefusalCode.CROSSES_TOO_MANY_SHARDS, "Use one of the ways that `detail` names, with a new key."),
    _refusal(RefusalCode.CAPTURE_EXCEEDS_HOLD, "Capture less, with a new key."),
    _refusal(RefusalCode.REVERSAL_EXCEEDS_ORIGINAL, "Reverse less, with a new key."),
    _refusal(RefusalCode.IDENTIFIER_TAKEN, "Tell the operator: its probability is 1 in 2^51. Another asset works."),
    _refusal(RefusalCode.ACCOUNT_CLOSED),
    _refusal(RefusalCode.ACCOUNT_FROZEN),
    _refusal(RefusalCode.ACCOUNT_NOT_EMPTY),
    _refusal(RefusalCode.BOUNDS_INVALID),
    _refusal(RefusalCode.METADATA_TOO_LARGE, "Remove keys with null, or send less, with a new key."),
    _refusal(RefusalCode.INSUFFICIENT_FUNDS),
    _refusal(RefusalCode.BALANCE_LIMIT_EXCEEDED),
    _refusal(RefusalCode.ATOMIC_BATCH_REFUSED, "Look for the outcome with another code. Use new keys for all."),
    _refusal(RefusalCode.TRANSFER_CANCELLED),
    # The server.
    ErrorCode(
        INTERNAL_ERROR, 500, "A bug of the server.",
        "Send the same request again with the same key; tell the operator if the error persists.",
    ),
    ErrorCode(
        Unserved.OVERLOADED.value, 503, "Too much is waiting. Nothing is known to be written.",
        "Try again with the same key, after `Retry-After`.", limits.OVERLOADED_RETRY_AFTER_SECONDS,
    ),
    ErrorCode(
        Unserved.SHARD_UNAVAILABLE.value, 503, "A shard did not answer in time, or cannot be reached. The request "
        "may have been carried out.",
        "Try again with the same key, after `Retry-After`: it is carried out at most once, and the answer has "
        "the outcome.", limits.UNAVAILABLE_RETRY_AFTER_SECONDS,
    ),
    ErrorCode(
        STANDBY_UNAVAILABLE, 503, "`consistency=standby`, and no standby of a shard answers in time.",
        "Try again after `Retry-After`, or read with another `consistency`.", limits.UNAVAILABLE_RETRY_AFTER_SECONDS,
    ),
)  # fmt: skip

_BY_CODE: Final = {one.code: one for one in ERROR_CODES}


def error_code(code: str) -> ErrorCode:
    """A code's row."""
    return _BY_CODE[code]


def page_of(code: str) -> str:
    """The path of the page about a code, which is the type of its problems."""
    return f"/errors/{code}"


def table() -> str:
    """All codes as a table in Markdown."""
    rows = [
        f"| `{one.code}` | {one.statuses} | {one.meaning} | {one.remedy} |"
        for one in sorted(ERROR_CODES, key=lambda one: one.status)
    ]
    return "\n".join(["| `code` | status | means | what to do |", "|---|---|---|---|", *rows])


_PAGE: Final = """# Errors

An error is a problem document (RFC 9457), `application/problem+json`:

    {{"type": "/errors/insufficient_funds", "title": "Insufficient funds", "status": 422,
     "code": "insufficient_funds", "detail": "The available balance would fall …", "param": "source",
     "instance": "urn:tallystick:key:5d41402abc4b2a76b9719d911017c592"}}

`code` is stable: decide by it. `detail` is a text for people and may change. `param` names the field, header or query
parameter that caused the error, if there is one.

`type` is the path of a page about the code, on the server that answered. It is relative to the address of the
request, so that it leads there behind every name that a server has.

`instance` is the request: `urn:uuid:` or `urn:tallystick:request:` with its `X-Request-Id`. If a refusal is recorded
under an idempotency key, it is `urn:tallystick:key:` with a hash of the key, the same in each answer to the key.

- **400, 401, 403, 404, 405, 408, 413, 415**: nothing was written, and the idempotency key is still free.
- **409**: the current state does not allow it. With `Retry-After` it passes by itself: try again with the same key.
- **412**: it has changed since the version that `If-Match` names. Nothing was written, and the key is still free.
- **429**: a limit is reached. Nothing was written, and the idempotency key is still free.
- **422**: the ledger refused. The refusal is recorded under the key: the same request gets the same answer, for ever.
- **500, 503**: the outcome is not known. Try again with the same key: the request is carried out at most once.

In the answer of `POST /v1/transfers/batch` each transfer that was refused has a `code` of this table, too;
there `shard_unavailable` means that nothing was reserved, and nothing is recorded under the key.

{table}

This page is made from `src/tallystick/api/error_codes.py`, as is the list at `/docs`.
"""


def page() -> str:
    """The text of docs/errors.md."""
    return _PAGE.format(table=table())


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - the purpose of this program
