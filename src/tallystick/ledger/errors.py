"""Errors of the ledger.

- `NotTakenError`: the request was not answered. Its key is still free: send the same request again
  - `OverloadedError`: too many commands wait
  - `UnavailableError`: the shard did not answer in time
    - `ShardNotConfiguredError`: this process does not know the shard
    - `DirectoryIncompleteError` (in `directory`): some shards have the change, and others could not be reached
- `OwnerPlacementError`: an owner cannot live on the requested shard
- `FaultyCommandError`: a bug
- `ClockError` (in `clock`), a `ShardUnavailableError`: two clocks differ by too much
"""

from tallystick.domain.outcomes import NOT_CONFIGURED_DETAIL


class NotTakenError(Exception):
    """The request was not answered. Send it again with the same idempotency key."""


class OverloadedError(NotTakenError):
    """The shard's queue is full. Send the request again a little later, with the same idempotency key."""


class UnavailableError(NotTakenError):
    """The shard did not answer in time. Send the request again with the same idempotency key.

    If the first one was carried out, the answer is that of the first one.
    """


class ShardNotConfiguredError(UnavailableError):
    """The shard is not in the configuration of this process. So it is not known whether the object exists."""

    def __init__(self, shard: int) -> None:
        super().__init__(NOT_CONFIGURED_DETAIL.format(shard))
        self.shard = shard


class OwnerPlacementError(ValueError):
    """An owner cannot be placed on the requested shard: it lives elsewhere, or the shard takes no new owners."""


class FaultyCommandError(Exception):
    """A bug: a rule failed, or the database refused what the rules had decided. Nothing was written."""
