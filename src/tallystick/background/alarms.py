"""Alarms: what an operator must look at. Each is a line in the log, and a figure that an alert rule watches.

`deploy/alerts.yaml` has a rule for each, which says what to do.
"""

import time
from enum import Enum
from typing import Any, Final

from tallystick.background.figures import counter
from tallystick.domain import limits


class Alarm(Enum):
    """All alarms. The value is the line in the log; the name, in small letters, is the label of the figure."""

    A_BUG = "a bug"
    BACKGROUND_WORK_FAILED = "background work failed"
    BALANCE_CORRECTED = "a cached balance was wrong and was corrected"
    BATCHER_FAILED = "the batcher failed"
    CACHE_NONSENSE = "the cache holds nonsense"
    CACHE_NOT_READ = "the cache could not be read"
    CACHE_NOT_USED = "balances are read from PostgreSQL"
    CACHE_NOT_WRITTEN = "the cache could not be written"
    CACHE_OF_ANOTHER_LEDGER = "the cache is of another ledger, or of a later one"
    CLOCKS_DIFFER = "clocks differ, and nothing is written until they agree"
    COMMAND_FAILED_ALONE = "command failed alone"
    COORDINATOR_FAILED = "the coordinator failed"
    LIMITS_NOT_SHARED = "limits are counted by each server alone, because the cache does not count them"
    LISTENER_FAILED = "a listener failed"
    LOG_DOES_NOT_ADD_UP = "the log does not add up"
    METRICS_PORT_TAKEN = "the port for metrics is taken: trying again"
    PREPARED_BATCH_BLOCKS = "a prepared batch blocks the shard"
    SAGA_OPEN_FOR_LONG = "a saga has been open for long: see `tallystick sagas`"
    SAGA_STUCK = "a saga cannot go on"
    SAGAS_LEFT = "sagas were left where they are"
    WEBHOOK_PARKED = "a webhook is parked: see `tallystick webhooks`"
    WEBHOOK_WAITS_FOR_KEY = "a webhook waits for its key"

    @property
    def text(self) -> str:
        """The line in the log."""
        return f"ALARM: {self.value}"

    @property
    def label(self) -> str:
        """The label of the figure."""
        return self.name.lower()


_RAISED: Final = counter(
    "tallystick_alarms", "ALARM: alarms by name, also those that the log does not repeat.", ["alarm"]
)


class AlarmRate:
    """Lets a limited number of alarms of one sort through in a time, and counts the others.

    So an error that repeats does not fill the disk with the same line.
    """

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


def raise_alarm(log: Any, alarm: Alarm, rate: AlarmRate | None = None, **details: Any) -> None:
    """Count an alarm, and log it with details, unless its rate silences it. `log`: the logger of the module."""
    _RAISED.labels(alarm.label).inc()
    if rate is not None:
        silenced = rate.take()
        if silenced is None:
            return
        details["silenced"] = silenced
    log.error(alarm.text, **details)


def show_alarms() -> None:
    """Show all alarms as 0 from now on. Otherwise nothing would see that one was raised for the first time."""
    for alarm in Alarm:
        _RAISED.labels(alarm.label)
