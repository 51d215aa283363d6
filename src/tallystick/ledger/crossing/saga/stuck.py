"""Sagas that could not go on for another reason than a shard that is away: a bug, or books that were changed by hand.

Callers who ask again for what is pending, and the recovery, would try each of them all the time.
"""

import time
from typing import NamedTuple

from tallystick.background.pauses import Backoff
from tallystick.domain import limits


class _Pause(NamedTuple):
    """Until when a saga rests (seconds of the monotonic clock), and what says how long it rests next."""

    backoff: Backoff
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
        if before is None:
            backoff = Backoff(limits.RECOVERY_INTERVAL_SECONDS, limits.RECOVERY_DELAY_SECONDS_MAX)
        else:
            backoff = before.backoff
        self._pauses[saga] = _Pause(backoff, time.monotonic() + backoff.next_seconds())
        if len(self._pauses) > limits.RECOVERY_SAGAS_WATCHED_MAX:
            del self._pauses[next(iter(self._pauses))]

    def forget(self, saga: int) -> None:
        """Note that a saga has ended."""
        self._pauses.pop(saga, None)
