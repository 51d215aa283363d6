"""Messages to receivers, and the results of attempts."""

from typing import NamedTuple

import msgspec


class Message(NamedTuple):
    """A message: an identifier, which is always the same for an event and an endpoint, and JSON."""

    id: str
    body: bytes


class Attempt(msgspec.Struct, frozen=True):
    """The result of sending a message once. `error` is None if the receiver has accepted it.

    `gone`: the receiver wants no more messages. `retry_after_seconds`: the pause that it asks for.
    """

    status: int | None
    error: str | None
    seconds: float
    gone: bool = False
    retry_after_seconds: float | None = None
