"""Alarms that are bounded: what goes wrong a thousand times must not fill the disk with a thousand times the same."""

import time

from tallystick.domain import limits


class AlarmRate:
    """Lets so many alarms of one sort through in `ALARM_SECONDS`, and counts the others."""

    def __init__(self) -> None:
        self._until = 0.0
        self._left = 0
        self._silenced = 0

    def take(self) -> int | None:
        """How many were silenced since the last one; None: this one is."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + limits.ALARM_SECONDS
            self._left = limits.ALARMS_AT_A_TIME
        if not self._left:
            self._silenced += 1
            return None
        self._left -= 1
        silenced, self._silenced = self._silenced, 0
        return silenced
