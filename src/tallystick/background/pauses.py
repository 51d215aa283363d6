"""Pauses between attempts, with jitter, so that many waiting tasks do not retry at the same moment."""

import random


def jittered(delay_seconds: float) -> float:
    """A random time between half of a delay and all of it."""
    return delay_seconds * random.uniform(0.5, 1.0)  # nosec B311  # noqa: S311 - no secret


class Backoff:
    """Pauses between attempts that fail: each is about twice as long as the one before, up to a limit."""

    __slots__ = ("_delay_seconds", "_longest_seconds", "_shortest_seconds")

    def __init__(self, shortest_seconds: float, longest_seconds: float) -> None:
        self._shortest_seconds = shortest_seconds
        self._longest_seconds = longest_seconds
        self._delay_seconds = shortest_seconds

    def next_seconds(self) -> float:
        """The pause after one more failed attempt, with jitter."""
        delay_seconds = self._delay_seconds
        self._delay_seconds = min(2 * delay_seconds, self._longest_seconds)
        return jittered(delay_seconds)

    def reset(self) -> None:
        """Begin with the shortest pause again, after an attempt that succeeded."""
        self._delay_seconds = self._shortest_seconds
