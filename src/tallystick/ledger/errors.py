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


class FaultyCommandError(Exception):
    """A bug: a rule failed, or the database refused what the rules had decided. Nothing was written."""
