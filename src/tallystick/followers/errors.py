"""Errors of followers of the log.

- `PositionNotReachedError`, a `NotTakenError`: ask again
- `FeedError`: asking again does not help
  - `TooManyAccountsError`
  - `BeyondHeadError`
- `AddressRefusedError`, `UrlRefusedError`: where webhooks are not sent
- `TooManyInterimAnswersError` (in `webhooks/interim`): a receiver sends interim answers without end
- `WebhookKeyMissingError`, `SecretUnreadableError`: secrets of webhooks
"""

from tallystick.ledger.errors import NotTakenError


class PositionNotReachedError(NotTakenError):
    """A balance was to be as new as a position that the shard's log has not reached: nothing as new is there.

    Ask again: a log that follows another one may be behind. If it stays like this, the position is of another shard's
    log, or of this one before it lost its end.
    """

    def __init__(self, shard: int, position: int, head: int) -> None:
        self.param = "min_position"
        super().__init__(f"the log of shard {shard} ends at {head}, before position {position}")


class FeedError(ValueError):
    """What was asked of the log cannot be said, however often it is asked again."""


class TooManyAccountsError(FeedError):
    """An owner has more accounts than can be looked for in the log at once."""


class BeyondHeadError(FeedError):
    """A position that the log has not reached: it is of another log, or of one that lost its end."""


class AddressRefusedError(OSError):
    """The name leads to an address inside a network that is not public."""


class UrlRefusedError(ValueError):
    """Messages may not be sent to the url; the message says what would be right."""


class WebhookKeyMissingError(Exception):
    """There is no key to encrypt the secret of a webhook endpoint with."""

    def __init__(self) -> None:
        super().__init__(
            "there is no key to encrypt secrets of webhooks with: the operator makes one with "
            "`tallystick webhooks make-key`"
        )


class SecretUnreadableError(Exception):
    """The secret of an endpoint cannot be decrypted with the keys that there are; the message names both."""
