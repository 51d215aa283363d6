"""Times of the log: the database's clock, compared with the clock of this process and the head of the log.

Times in the log never decrease. So a clock that jumps ahead for a moment would make every later time wrong, and with
it balances at a time, the expiry of holds and statements.
"""

import time
from typing import Final

import structlog

from tallystick.background.alarms import Alarm, AlarmRate, raise_alarm
from tallystick.domain import limits
from tallystick.ledger import metrics
from tallystick.store.errors import ShardUnavailableError

_MICROSECONDS: Final = 1_000_000

_log = structlog.get_logger(__name__)


class ClockError(ShardUnavailableError):
    """Two clocks differ by too much. Nothing is written until they agree. The message says what to do."""


class Clock:
    """Checks the clocks of one shard."""

    def __init__(self, shard: int, tolerance_seconds: float = limits.CLOCK_TOLERANCE_SECONDS_DEFAULT) -> None:
        self._shard = shard
        self._tolerance_us = int(tolerance_seconds * _MICROSECONDS)
        self._refused = False
        self._alarms = AlarmRate(1)
        self._difference = metrics.CLOCK_DIFFERENCE_SECONDS.labels(str(shard))
        self._difference.set(0)

    @staticmethod
    def own_us() -> int:
        """The clock of this process, in microseconds. Read it before the database is asked for its time."""
        return time.time_ns() // 1_000

    def recorded_at_us(self, database_us: int, head_us: int, asked_at_us: int) -> int:
        """The time of a batch: the database's time, but never before that of the head.

        Args:
            database_us: the database's time.
            head_us: the time of the newest batch; 0 if there is none.
            asked_at_us: `own_us` before the database was asked.

        Raises:
            ClockError: the database's clock is too far from this process's, or the head is too far ahead of it.
        """
        # The database read its clock between `asked_at_us` and now.
        ahead_us, behind_us = database_us - self.own_us(), asked_at_us - database_us
        if max(ahead_us, behind_us) > self._tolerance_us:
            self._refuse(
                ahead_us if ahead_us > 0 else -behind_us,
                "PostgreSQL's clock and this server's differ by {seconds:.0f} s: set both right (NTP)",
            )
        if head_us - database_us > self._tolerance_us:
            self._refuse(
                head_us - database_us,
                "the newest entry of the log is {seconds:.0f} s ahead of PostgreSQL's clock: set that clock right "
                "(NTP); where it is right and was wrong before, a larger clock_tolerance_seconds in the "
                "configuration lets the times of the log stand still for so long",
            )
        if self._refused:
            self._refused = False
            self._difference.set(0)
        return max(database_us, head_us)

    def _refuse(self, difference_us: int, what: str) -> None:
        self._refused = True
        seconds = difference_us / _MICROSECONDS
        self._difference.set(seconds)
        reason = what.format(seconds=abs(seconds))
        raise_alarm(_log, Alarm.CLOCKS_DIFFER, self._alarms, shard=self._shard, reason=reason)
        raise ClockError(f"{reason}. Nothing is written until then")
