"""What can be wrong with a request before the ledger has seen it, or with a question that has no answer."""

from typing import ClassVar


class ParameterError(ValueError):
    """A parameter is not what it must be; nothing was written and no key was burned."""

    def __init__(self, param: str, detail: str) -> None:
        super().__init__(f"{param}: {detail}")
        self.param = param
        self.detail = detail


class IdempotencyKeyMissingError(ValueError):
    """A request that changes something carries no idempotency key. `param` is where it belongs."""

    def __init__(self, param: str = "Idempotency-Key") -> None:
        super().__init__(f"{param}: expected an idempotency key")
        self.param = param


class AssetConflictError(ValueError):
    """The code names an asset already, with another scale or name."""


class AuthenticationError(Exception):
    """No API key, or one that is not in force."""


class RateLimitedError(Exception):
    """A tenant or a key asked for more than it may in a time; nothing was done and no key was burned.

    `policy` names the limit: `quota` in `window_seconds`, of which `left` may be asked for now, and more
    `after_seconds`.
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
    """The tenant has as many streams open as it may have."""


class TooManyAssetsError(Exception):
    """The tenant has defined as many assets as it may."""


class TooManyOpenedAccountsError(Exception):
    """The tenant has as many accounts as it may have; closed ones count. Nothing was written, no key was burned."""


class TooManyWebhooksError(Exception):
    """The tenant has as many webhook endpoints as it may have."""


class NotFoundError(LookupError):
    """What was to be read is not there, or is another tenant's. `code` is the stable name of that."""

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


class WebhookNotFoundError(NotFoundError):
    """The tenant has no such webhook endpoint."""

    code = "webhook_not_found"
    _what = "webhook endpoint"
