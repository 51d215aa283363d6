"""Sagas that cannot continue because of a bug, or because the books were changed by hand.

Without this, the recovery and callers that repeat a request would try each of them all the time.
"""

import time
from typing import NamedTuple

from tallystick.background.pauses import Backoff
from tallystick.domain import limits


class _Pause(NamedTuple):
    """The time until which a saga rests (seconds of the monotonic clock), and the length of its next pause."""

    backoff: Backoff
    until: float


class StuckSagas:
    """Remembers these sagas by the position that reserved them. Each attempt that fails makes the pause longer."""

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
