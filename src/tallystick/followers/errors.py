"""Errors of followers of the log.

- `PositionNotReachedError`, a `NotTakenError`: ask again
- `StandbyUnavailableError`, a `UnavailableError`: ask again, or do not ask for a standby
- `NoStandbyError`: do not ask for a standby
- `FeedError`: asking again does not help
  - `TooManyAccountsError`
  - `BeyondHeadError`
- `AddressRefusedError`, `UrlRefusedError`: where webhooks are not sent
- `TooManyInterimAnswersError` (in `webhooks/interim`): a receiver sends interim answers without end
- `WebhookKeyMissingError`, `SecretUnreadableError`: secrets of webhooks
"""

from tallystick.ledger.errors import NotTakenError, UnavailableError


class PositionNotReachedError(NotTakenError):
    """The shard's log, or that of a standby, has not reached the position that a read requires.

    Send the read again: a replica of the log may be behind. If this persists, the position belongs to another shard's
    log, or to this log before it lost its end.
    """

    def __init__(self, shard: int, position: int, head: int, *, from_standby: bool = False) -> None:
        self.param = "min_position"
        self.from_standby = from_standby
        log = f"a standby of shard {shard}" if from_standby else f"shard {shard}"
        super().__init__(f"the log of {log} ends at {head}, before position {position}")


class StandbyUnavailableError(UnavailableError):
    """No standby of the shard answers in time. The primary, and other reads, are another question."""

    def __init__(self, shard: int) -> None:
        super().__init__(f"no standby of shard {shard} answers now")


class NoStandbyError(Exception):
    """A read asks for a standby, and the configuration names no server of the shard besides the primary."""

    def __init__(self, shard: int) -> None:
        super().__init__(f"the configuration names no standby of shard {shard}")


class FeedError(ValueError):
    """The log cannot answer this request, however often it is repeated."""


class TooManyAccountsError(FeedError):
    """An owner has more accounts than one search of the log allows."""


class BeyondHeadError(FeedError):
    """The log has not reached this position: it belongs to another log, or to one that lost its end."""


class AddressRefusedError(OSError):
    """The name leads to an address that is not public."""


class UrlRefusedError(ValueError):
    """Messages may not be sent to this URL. The error says what is expected."""


class WebhookKeyMissingError(Exception):
    """There is no key to encrypt the secret of a webhook endpoint."""

    def __init__(self) -> None:
        super().__init__(
            "there is no key to encrypt secrets of webhooks with: the operator makes one with "
            "`tallystick webhooks make-key`"
        )


class SecretUnreadableError(Exception):
    """The secret of an endpoint cannot be decrypted with the current keys.

    The message names the endpoint and the key.
    """
