"""The cache of `tallystick up`. It is started again when it dies. Everything works without it."""

import time
from collections.abc import Callable
from pathlib import Path

from tallystick.domain import limits
from tallystick.embedded.errors import EmbeddedServerError
from tallystick.embedded.valkey import EmbeddedValkey


class OwnCache:
    """The Valkey of an installation.

    One thread calls `start`, `look` and `stop`, in this order. None of them fails.
    """

    def __init__(self, folder: Path, *, say: Callable[[str], None]) -> None:
        """`say` is called with each event, in words."""
        self._server = EmbeddedValkey(folder)
        self._say = say
        self._restart_at: float | None = None
        self._delay_seconds = limits.NODE_RESTART_DELAY_SECONDS
        self._started_at = 0.0

    @property
    def address(self) -> str:
        """The address of the cache."""
        return self._server.address

    def start(self) -> None:
        """Start it. After a failure everything works without it, and the start is tried again."""
        try:
            self._server.start()
        except EmbeddedServerError as error:
            self._plan_restart(str(error))
        else:
            self._started("Started Valkey")

    def look(self) -> None:
        """Start it again if it has ended by itself, after a growing pause."""
        if self._restart_at is not None:
            if time.monotonic() >= self._restart_at:
                self._restart_at = None
                try:
                    self._server.launch()
                except EmbeddedServerError as error:
                    self._plan_restart(str(error))
                else:
                    self._started("Started Valkey again")
        elif not self._server.running():
            self._plan_restart("Valkey ended by itself")

    def stop(self) -> None:
        """Stop it."""
        self._server.stop()

    def _started(self, what: str) -> None:
        self._started_at = time.monotonic()
        self._say(f"{what} at {self.address}")

    def _plan_restart(self, why: str) -> None:
        if time.monotonic() - self._started_at > limits.NODE_RESTART_DELAY_SECONDS_MAX:
            # It ran well, so this end is not counted with earlier ones.
            self._delay_seconds = limits.NODE_RESTART_DELAY_SECONDS
        self._say(
            f"{why}: balances are read from PostgreSQL, and it is started in {self._delay_seconds:.0f} s"
        )
        self._restart_at = time.monotonic() + self._delay_seconds
        self._delay_seconds = min(2 * self._delay_seconds, limits.NODE_RESTART_DELAY_SECONDS_MAX)
