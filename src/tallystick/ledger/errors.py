"""Why a request was not taken. It burned no key: the same request may be sent again."""

from tallystick.domain.outcomes import NOT_CONFIGURED_DETAIL


class NotTakenError(Exception):
    """The request was not answered. Send it again with the same idempotency key."""


class OverloadedError(NotTakenError):
    """The shard's queue is full. Send the request again a little later, with the same idempotency key."""


class UnavailableError(NotTakenError):
    """The shard did not answer in time. Send the request again with the same idempotency key.

    If it was carried out all the same, the answer will say so.
    """


class ShardNotConfiguredError(UnavailableError):
    """The shard is not one of those that this process was told of; whether it has what was asked for is not known."""

    def __init__(self, shard: int) -> None:
        super().__init__(NOT_CONFIGURED_DETAIL.format(shard))
        self.shard = shard


class OwnerPlacementError(ValueError):
    """An owner cannot live where it was asked to: it lives elsewhere, or no new owner may live there."""


class PositionNotReachedError(NotTakenError):
    """A balance was to be as new as a position that the shard's log has not reached: nothing as new is there.

    Ask again: a log that follows another one may be behind. If it stays like this, the position is of another shard's
    log, or of this one before it lost its end.
    """

    def __init__(self, shard: int, position: int, head: int) -> None:
        self.param = "min_position"
        super().__init__(f"the log of shard {shard} ends at {head}, before position {position}")


class FaultyCommandError(Exception):
    """A bug: a rule failed, or the database refused what the rules had decided. Nothing was written."""


class FeedError(ValueError):
    """What was asked of the log cannot be said, however often it is asked again."""


class TooManyAccountsError(FeedError):
    """An owner has more accounts than can be looked for in the log at once."""


class BeyondHeadError(FeedError):
    """A position that the log has not reached: it is of another log, or of one that lost its end."""
