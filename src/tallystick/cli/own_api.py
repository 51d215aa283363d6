"""The API of `tallystick up`. It is started again when it ends by itself, unless it never becomes ready."""

import time
from collections.abc import Callable

from tallystick.cli.api_process import READY_TIMEOUT_SECONDS, ApiProcess
from tallystick.cli.errors import CommandError
from tallystick.cli.stop_signals import StopSignals
from tallystick.domain import limits


class OwnApi:
    """The API server of an installation.

    One thread calls `start`, `wait_until_ready`, `look` and `stop`, in this order.
    """

    def __init__(self, process: ApiProcess, *, say: Callable[[str], None]) -> None:
        """`process` is not started yet. `say` is called with each event, in words."""
        self._process = process
        self._say = say
        self._serves_since = 0.0
        self._serves_by: float | None = None
        """When a start that is under way will have been in vain."""
        self._restart_at: float | None = None
        self._delay_seconds = 0.0
        self._starts_in_vain = 0

    def start(self) -> None:
        """Start the API, without waiting until it is ready."""
        self._process.start()

    def wait_until_ready(self, stop: StopSignals) -> None:
        """Wait until the API says that it is ready."""
        self._process.wait_until_ready(stop)
        self._serves_since = time.monotonic()

    def look(self) -> None:
        """Start it again if it has ended by itself: at once, or after a growing pause if it ended soon.

        Raises:
            CommandError: it was started several times in a row, and never became ready.
        """
        if self._restart_at is not None:
            if time.monotonic() >= self._restart_at:
                self._restart_at = None
                self._serves_by = time.monotonic() + READY_TIMEOUT_SECONDS
                self._start_again()
        elif not self._process.running:
            self._look_at_end(self._process.why_it_ended())
        elif self._serves_by is not None:
            self._look_at_start(self._serves_by)

    def stop(self) -> None:
        """Let it answer the requests it has accepted, then end it."""
        self._process.stop()

    def log_tail(self) -> list[str]:
        """The last lines of its log, if it has ended by itself."""
        return [] if self._process.running else self._process.log_tail()

    def _start_again(self) -> None:
        try:
            self._process.start()
        except CommandError as error:
            self._look_at_end(error.message)

    def _look_at_start(self, serves_by: float) -> None:
        # This does not depend on shards, whose servers may be starting, too.
        if self._process.answers("/healthz"):
            self._serves_by = None
            self._starts_in_vain = 0
            self._serves_since = time.monotonic()
            self._say(f"The API serves again at {self._process.url}")
        elif time.monotonic() > serves_by:
            self._look_at_end(f"the API did not answer in {READY_TIMEOUT_SECONDS:.0f} s")

    def _look_at_end(self, why: str) -> None:
        # Workers that outlived it would keep the port, and serve beside those of the next process.
        self._process.kill()
        if self._serves_by is not None:
            self._serves_by = None
            self._starts_in_vain += 1
            if self._starts_in_vain >= limits.API_STARTS_IN_VAIN_MAX:
                raise CommandError(
                    f"{why}, and so {self._starts_in_vain} times in a row: correct what its log says, "
                    f"{self._process.log_path}, and start again"
                )
        elif time.monotonic() - self._serves_since > limits.NODE_RESTART_DELAY_SECONDS_MAX:
            # It ran well, so this end is not counted with earlier ones.
            self._delay_seconds = 0.0
        when = f"in {self._delay_seconds:.0f} s" if self._delay_seconds else "at once"
        self._say(
            f"{why}: PostgreSQL goes on, and the API is started again {when}; its log is {self._process.log_path}"
        )
        self._restart_at = time.monotonic() + self._delay_seconds
        self._delay_seconds = min(
            max(2 * self._delay_seconds, limits.NODE_RESTART_DELAY_SECONDS),
            limits.NODE_RESTART_DELAY_SECONDS_MAX,
        )
