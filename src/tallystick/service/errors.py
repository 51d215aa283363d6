"""What can be wrong with a request before the ledger has seen it."""


class ParameterError(ValueError):
    """A parameter is not what it must be; nothing was written and no key was burned."""

    def __init__(self, param: str, detail: str) -> None:
        super().__init__(f"{param}: {detail}")
        self.param = param
        self.detail = detail


class IdempotencyKeyMissingError(ValueError):
    """A request that moves money carries no idempotency key. `param` is where it belongs."""

    def __init__(self, param: str = "Idempotency-Key") -> None:
        super().__init__(f"{param}: expected an idempotency key")
        self.param = param


class AssetConflictError(ValueError):
    """The code names an asset already, with another scale or name."""


class AuthenticationError(Exception):
    """No API key, or one that is not in force."""


class TooManyWebhooksError(Exception):
    """The tenant has as many webhook endpoints as it may have."""


class WebhookNotFoundError(LookupError):
    """The tenant has no such webhook endpoint."""

    def __init__(self, identifier: str) -> None:
        super().__init__(f"there is no webhook endpoint {identifier[:64]!r}")
