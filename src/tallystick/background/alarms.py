"""A limit on alarms, so that an error that repeats does not fill the disk with the same line."""

import time

from tallystick.domain import limits


class AlarmRate:
    """Lets a limited number of alarms of one sort through in a time, and counts the others."""

    def __init__(
        self, at_a_time: int = limits.ALARMS_AT_A_TIME, seconds: float = limits.ALARM_SECONDS
    ) -> None:
        self._at_a_time = at_a_time
        self._seconds = seconds
        self._until = 0.0
        self._left = 0
        self._silenced = 0

    def take(self) -> int | None:
        """The number of alarms that were silenced since the last one; None if this one must be silent, too."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + self._seconds
            self._left = self._at_a_time
        if not self._left:
            self._silenced += 1
            return None
        self._left -= 1
        silenced, self._silenced = self._silenced, 0
        return silenced
