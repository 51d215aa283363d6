"""Draining: a server that is going to stop says so first, and goes on serving, so that load balancers find others."""

import multiprocessing
from typing import Any, Final

from tallystick.api.streams import Send

_CLOSE: Final = (b"connection", b"close")


class Draining:
    """Whether the server is going to stop. The process that starts the workers tells all of them."""

    def __init__(self) -> None:
        # In memory that workers share, also those that start meanwhile.
        self._begun = multiprocessing.RawValue("b", 0)

    @property
    def begun(self) -> bool:
        """Whether it was told."""
        return bool(self._begun.value)

    def begin(self) -> None:
        """Tell all workers."""
        self._begun.value = 1


def asking_to_close(send: Send) -> Send:
    """Send answers that ask the client to close the connection, so that it opens the next one elsewhere."""

    async def send_and_close(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _CLOSE]}
        await send(message)

    return send_and_close
