"""What is sent to a receiver, and what came of it."""

from typing import NamedTuple

import msgspec


class Message(NamedTuple):
    """What is sent: an identifier that is always the same for an event and an endpoint, and JSON."""

    id: str
    body: bytes


class Attempt(msgspec.Struct, frozen=True):
    """What came of sending a message once: `error` is None when the receiver has taken it.

    `gone`: it wants nothing more, ever. `retry_after_seconds`: it wants to be asked again after that.
    """

    status: int | None
    error: str | None
    seconds: float
    gone: bool = False
    retry_after_seconds: float | None = None
