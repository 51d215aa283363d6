"""Sagas that could not go on for another reason than a shard that is away: a bug, or books that were changed by hand.

Callers who ask again for what is pending, and the recovery, would try each of them all the time.
"""

import time
from typing import NamedTuple

from tallystick.domain import limits
from tallystick.ledger.pauses import jittered


class _Pause(NamedTuple):
    """How often a saga was tried, and until when it rests (seconds of the monotonic clock)."""

    attempts: int
    until: float


class StuckSagas:
    """Remembers which they are, by the position that reserved them, and lets each rest longer and longer."""

    def __init__(self) -> None:
        self._pauses: dict[int, _Pause] = {}

    def rests(self, saga: int) -> bool:
        """Whether a saga is not to be tried now."""
        pause = self._pauses.get(saga)
        return pause is not None and time.monotonic() < pause.until

    def note(self, saga: int) -> None:
        """Note that a saga was tried and is stuck."""
        before = self._pauses.pop(saga, None)
        attempts = 0 if before is None else before.attempts
        delay_seconds = min(limits.RECOVERY_INTERVAL_SECONDS * 2**attempts, limits.RECOVERY_DELAY_SECONDS_MAX)
        until = time.monotonic() + jittered(delay_seconds)
        self._pauses[saga] = _Pause(min(attempts + 1, limits.RECOVERY_DOUBLINGS_MAX), until)
        if len(self._pauses) > limits.RECOVERY_SAGAS_WATCHED_MAX:
            del self._pauses[next(iter(self._pauses))]

    def forget(self, saga: int) -> None:
        """Note that a saga has ended."""
        self._pauses.pop(saga, None)
