"""A clock that stands still while this machine does: for what must not take long, on whatever machine it runs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_TICK_SECONDS: Final = 0.01
_COUNTED_SECONDS_MAX: Final = 0.05


class AwakeClock:
    """Counts the time in which this process could run; of each pause in which it could not, a moment."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def count(self, ending: threading.Event) -> None:
        """Count until the end."""
        before = time.monotonic()
        while not ending.wait(_TICK_SECONDS):
            now = time.monotonic()
            self.seconds += min(now - before, _COUNTED_SECONDS_MAX)
            before = now


@contextmanager
def awake_clock() -> Iterator[AwakeClock]:
    """A clock that begins at zero."""
    clock, ending = AwakeClock(), threading.Event()
    thread = threading.Thread(target=clock.count, args=(ending,))
    thread.start()
    try:
        yield clock
    finally:
        ending.set()
        thread.join()
