"""Waiting for what comes to be, and the clock of tests that do not want to wait."""

import asyncio
import inspect
import time
from collections.abc import Callable

WAIT_SECONDS_MAX = 60.0
POLL_INTERVAL_SECONDS = 0.01


def wait_for(
    condition: Callable[[], object], what: str = "it comes to be", seconds_max: float = WAIT_SECONDS_MAX
) -> None:
    """Poll until something is so."""
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds_max:.0f} s: {what}"
        time.sleep(POLL_INTERVAL_SECONDS)


async def until(
    condition: Callable[[], object], what: str = "it comes to be", seconds_max: float = WAIT_SECONDS_MAX
) -> None:
    """Poll until something is so, or a coroutine says so; everything else in the event loop goes on."""
    deadline = time.monotonic() + seconds_max
    while True:
        answer = condition()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert time.monotonic() < deadline, f"not within {seconds_max:.0f} s: {what}"
        await asyncio.sleep(POLL_INTERVAL_SECONDS)


class HandClock:
    """The monotonic clock, in place of the module `time`; only the test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds
