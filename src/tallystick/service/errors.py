"""Errors of the service: for requests that the ledger does not accept, and for reads that find nothing.

- `ParameterError`, `IdempotencyKeyMissingError`, `IdempotencyKeyReusedError`: correct the request
- `AssetConflictError`: the same
- `AuthenticationError`: send a valid API key
  - `KeyExpiredError`: it was valid
- `AccessDeniedError`: the key is valid, and may not do this
  - `ScopeMissingError`, `NetworkNotAllowedError`
- `LastAdminError`: the last key that may manage keys stays
- `RateLimitedError`: send the request again later
- `TooManyStreamsError`, `TooManyAssetsError`, `TooManyOpenedAccountsError`, `TooManyWebhooksError`: a quota
- `TooManyKeysError`: a quota, too
- `PreconditionFailedError`: read the object again
- `NotFoundError`: there is nothing to read
  - `AccountNotFoundError`, `TransactionNotFoundError`, `HoldNotFoundError`, `WebhookNotFoundError`
  - `KeyNotFoundError`, `AssetNotFoundError`
- `ConfigurationError` and `_WrongError` (in `configuration`): correct the configuration file
- `EnvironmentSecretError` (in `environment`): correct the variable
- `NotRestoredError` (in `restoration`): restore a back-up first
- `ShardUnreachableError` (in `migration`), a `ShardUnavailableError`: start the database, or correct its address
"""

from typing import ClassVar

from tallystick.domain.access import Scope


class ParameterError(ValueError):
    """A parameter is invalid. Nothing was written, and the idempotency key is still free."""

    def __init__(self, param: str, detail: str) -> None:
        super().__init__(f"{param}: {detail}")
        self.param = param
        self.detail = detail


class IdempotencyKeyMissingError(ValueError):
    """A request that changes something has no idempotency key. `param` names its place."""

    def __init__(self, param: str = "Idempotency-Key") -> None:
        super().__init__(f"{param}: expected an idempotency key")
        self.param = param


class IdempotencyKeyReusedError(ValueError):
    """A call beside the log has the key of another request. `param` names the first field that differs."""

    def __init__(self, param: str) -> None:
        super().__init__(f"{param}: another request has this idempotency key")
        self.param = param


class AssetConflictError(ValueError):
    """The code belongs to an asset with another scale or name."""


class AuthenticationError(Exception):
    """There is no API key, or it is unknown or revoked."""


class KeyExpiredError(AuthenticationError):
    """The API key has expired."""


class AccessDeniedError(Exception):
    """The API key is valid, and may not do this. Nothing was done, and the idempotency key is still free."""


class ScopeMissingError(AccessDeniedError):
    """The API key lacks a scope. `why` says what for."""

    def __init__(self, scope: Scope, why: str) -> None:
        super().__init__(f"the API key has no scope {scope.value}, which it takes to {why}")
        self.scope = scope


class NetworkNotAllowedError(AccessDeniedError):
    """The API key is not valid for callers of this network."""


class LastAdminError(Exception):
    """The tenant would have no API key left that may manage keys."""


class RateLimitedError(Exception):
    """A tenant or an API key has reached a limit. Nothing was done, and the idempotency key is still free.

    `policy` names the limit: `quota` in `window_seconds`. `left` is available now, and more in `after_seconds`.
    """

    def __init__(
        self, *, policy: str, quota: int, window_seconds: int, left: int, after_seconds: int, why: str
    ) -> None:
        super().__init__(f"{policy}: {quota} in {window_seconds} s. {why}")
        self.policy = policy
        self.quota = quota
        self.window_seconds = window_seconds
        self.left = left
        self.after_seconds = after_seconds


class TooManyStreamsError(Exception):
    """The tenant has the largest allowed number of open streams."""


class TooManyAssetsError(Exception):
    """The tenant has defined the largest allowed number of assets."""


class TooManyOpenedAccountsError(Exception):
    """The tenant has the largest allowed number of accounts. Closed ones count.

    Nothing was written; the key is still free.
    """


class TooManyWebhooksError(Exception):
    """The tenant has the largest allowed number of webhook endpoints."""


class TooManyKeysError(Exception):
    """The tenant has the largest allowed number of API keys in force."""


class PreconditionFailedError(Exception):
    """An object is no longer the version that was named. Nothing was changed."""


class NotFoundError(LookupError):
    """The object does not exist, or belongs to another tenant. `code` is the stable name of the error."""

    code: ClassVar[str]
    _what: ClassVar[str]

    def __init__(self, identifier: str) -> None:
        super().__init__(f"there is no {self._what} {identifier[:64]!r}")


class AccountNotFoundError(NotFoundError):
    """The tenant has no such account."""

    code = "account_not_found"
    _what = "account"


class TransactionNotFoundError(NotFoundError):
    """The tenant has no such transaction."""

    code = "transaction_not_found"
    _what = "transaction"


class HoldNotFoundError(NotFoundError):
    """The tenant has no such hold."""

    code = "hold_not_found"
    _what = "hold"


class AssetNotFoundError(NotFoundError):
    """The tenant has no such asset, and ISO 4217 has none."""

    code = "asset_not_found"
    _what = "asset"


class WebhookNotFoundError(NotFoundError):
    """The tenant has no such webhook endpoint."""

    code = "webhook_not_found"
    _what = "webhook endpoint"


class KeyNotFoundError(NotFoundError):
    """The tenant has no such API key."""

    code = "api_key_not_found"
    _what = "API key"
