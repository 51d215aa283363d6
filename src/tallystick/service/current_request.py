"""The HTTP request that a task serves: what layers tell each other beside arguments and answers.

It is the mapping that the server made for the request (its ASGI scope), so that nothing is made for it.
"""

from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Final

REPLAYED: Final = "tallystick.replayed"
"""It is in the mapping if an earlier request with the same key made the answer."""

REQUEST_ID: Final = "tallystick.request_id"
"""The key of the identifier of the request, which is ASCII as bytes."""

_current: ContextVar[MutableMapping[str, Any] | None] = ContextVar("tallystick request", default=None)

serve: Final = _current.set
"""Say which request this task serves from now on."""


def note_replayed() -> None:
    """Note that the answer is that of an earlier request. Without a request there is nothing to note."""
    current = _current.get()
    if current is not None:
        current[REPLAYED] = True


def current_request_id() -> str | None:
    """The identifier of the request that this task serves, if it serves one."""
    current = _current.get()
    request_id: bytes | None = None if current is None else current.get(REQUEST_ID)
    return None if request_id is None else request_id.decode()
