"""Alarms that do not repeat themselves all the time until somebody has mended what they tell of."""

import time

from tallystick.domain import limits


class AlarmInterval:
    """Says whether it is time for an alarm: at first, and then once in `CACHE_ALARM_INTERVAL_SECONDS`."""

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def due(self) -> bool:
        """Whether to raise an alarm now."""
        now = time.monotonic()
        if now < self._quiet_until:
            return False
        self._quiet_until = now + limits.CACHE_ALARM_INTERVAL_SECONDS
        return True
