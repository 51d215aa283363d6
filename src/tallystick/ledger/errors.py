"""Why a request was not taken. It burned no key: the same request may be sent again."""


class NotTakenError(Exception):
    """The request was not answered. Send it again with the same idempotency key."""


class OverloadedError(NotTakenError):
    """The shard's queue is full. Send the request again a little later, with the same idempotency key."""


class UnavailableError(NotTakenError):
    """The shard did not answer in time. Send the request again with the same idempotency key.

    If it was carried out all the same, the answer will say so.
    """


class FaultyCommandError(Exception):
    """A bug: a rule failed, or the database refused what the rules had decided. Nothing was written."""


class FeedError(ValueError):
    """What was asked of the log cannot be said, however often it is asked again."""


class TooManyAccountsError(FeedError):
    """An owner has more accounts than can be looked for in the log at once."""


class BeyondHeadError(FeedError):
    """A position that the log has not reached: it is of another log, or of one that lost its end."""
