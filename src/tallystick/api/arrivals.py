"""Bodies of requests while they arrive: each must be complete in time.

One timer serves all of them. A timer for each would cost four times as much in each payment.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

from tallystick.api.streams import Receive

BODY: Final = "tallystick.body"
"""The key of a request's body in its ASGI scope."""

_LOOK_SECONDS: Final = 0.5
_NOTHING_YET: Final[Mapping[str, Any]] = {"type": "http.request", "body": b"", "more_body": True}
_NOTHING_MORE: Final[Mapping[str, Any]] = {"type": "http.disconnect"}

Result = TypeVar("Result")


class LateError(Exception):
    """A body did not arrive in time."""


class Arrivals:
    """The requests of this process that wait for a body."""

    def __init__(self, seconds_max: float) -> None:
        self.seconds_max: Final = seconds_max
        self._since: dict[asyncio.Task[object], float] = {}
        self._looking = False

    async def in_time(self, reading: Awaitable[Result]) -> Result:
        """Read with a time limit.

        Raises:
            LateError: the client did not send it in time.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a body is read in a task")
        self._since[task] = time.monotonic()
        if not self._looking:
            self._look()
        try:
            return await reading
        except asyncio.CancelledError:
            if task in self._since or task.uncancel():
                raise
            raise LateError from None
        finally:
            self._since.pop(task, None)

    def _look(self) -> None:
        """Cancel late reads, and check again as long as any wait."""
        late = time.monotonic() - self.seconds_max
        for task in [task for task, since in self._since.items() if since < late]:
            # If the task is not in the list any more, it was cancelled here.
            del self._since[task]
            task.cancel()
        self._looking = bool(self._since)
        if self._looking:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)


class Body:
    """The body of one request, as the framework receives it.

    The framework waits for the first part before it does anything, and treats a body that was cut off as complete.
    Here every wait ends, and the caller can find out whether a part is missing. A request that needs no body is
    answered without it.
    """

    def __init__(self, receive: Receive, arrivals: Arrivals) -> None:
        self._receive = receive
        self._arrivals = arrivals
        self._begun = False
        self._ended = False
        # What has arrived, if it is one part only.
        self._content: bytes | None = None
        self.late = False
        self.cut_off = False

    def arrived(self, length: int | None) -> bytes | None:
        """The whole body, if the first part was all of it. `length`: the length that the client announced."""
        content = self._content
        return content if content is not None and (self._ended or len(content) == length) else None

    async def receive(self) -> Mapping[str, Any]:
        """The next part, or the event that the client has disconnected (ASGI)."""
        if self.late or self.cut_off:
            return _NOTHING_MORE
        if self._begun:
            self._content = None
            return self._looked_at(await self._receive())
        self._begun = True
        try:
            first = await self._arrivals.in_time(self._receive())
        except LateError:
            self.late = True
            return _NOTHING_YET
        if first["type"] != "http.request":
            self.cut_off = True
            return _NOTHING_YET
        self._content = first.get("body", b"")
        self._ended = not first.get("more_body", False)
        return first

    def _looked_at(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if part["type"] == "http.request":
            self._ended = not part.get("more_body", False)
        else:
            self.cut_off = not self._ended
        return part
