"""The recovery of sagas: whatever began and did not end is found in the ledger and driven on.

One of these runs in every process; any number at once do no harm. It leaves young sagas alone, which somebody drives
now, and it never gives a saga up: it asks the other shard again, less and less often, until there is an answer.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog

from tallystick.domain import limits
from tallystick.ledger import metrics
from tallystick.ledger.alarms import AlarmRate
from tallystick.ledger.crossing.looks import Looks
from tallystick.ledger.crossing.saga.steps import SagaDriver
from tallystick.ledger.errors import NotTakenError
from tallystick.ledger.pauses import jittered
from tallystick.ledger.shard import Shard
from tallystick.store.reads import OpenSaga

_log = structlog.get_logger(__name__)

_US: Final = 1_000_000


class _Attempts(NamedTuple):
    """How often a saga was tried, and when it may be tried again (seconds of the monotonic clock)."""

    number: int = 0
    next_at: float = 0.0
    alarm_at: float = 0.0


class Recovery:
    """Looks after the sagas that began on one shard."""

    def __init__(self, home: Shard, driver: SagaDriver, find: Callable[[int], Shard | None]) -> None:
        self._home = home
        self._driver = driver
        self._find = find
        # All sagas up to here that had not ended are watched, so that an old one costs no look through the log.
        self._looked_through = 0
        self._attempts: dict[int, _Attempts] = {}
        self._alarms = AlarmRate()

    async def look(self) -> None:
        """Find sagas that nobody seems to drive, and drive them on.

        Raises:
            UnavailableError: the shard cannot be read now.
        """
        reader = self._home.reader
        await self._watch_new()
        found = await reader.still_open_sagas(self._attempts)
        self._attempts = {one.saga: self._attempts[one.saga] for one in found}
        self._tell(found)
        due = self._due(found)
        for start in range(0, len(due), limits.RECOVERY_SAGAS_AT_A_TIME):
            states = await reader.sagas(due[start : start + limits.RECOVERY_SAGAS_AT_A_TIME])
            self._driver.begin(
                state
                for state in states.values()
                if any(self._reachable(number) for number in state.terms.payee_shards)
            )

    async def _watch_new(self) -> None:
        """Watch the open sagas of the part of the log that was not looked through yet, up to a number."""
        reader = self._home.reader
        # The log is serial: what is not there yet will come after the head.
        head = await reader.head_position()
        while len(self._attempts) < limits.RECOVERY_SAGAS_WATCHED_MAX:
            page = await reader.open_sagas(self._looked_through, limits.RECOVERY_SAGAS_AT_A_TIME)
            for one in page:
                self._attempts.setdefault(one.saga, _Attempts())
            if len(page) < limits.RECOVERY_SAGAS_AT_A_TIME:
                self._looked_through = max(head, page[-1].saga if page else 0)
                return
            self._looked_through = page[-1].saga

    def _due(self, found: list[OpenSaga]) -> list[int]:
        now = time.monotonic()
        driven = self._driver.driven
        due = []
        for one in found:
            attempts = self._attempts[one.saga]
            if one.age_us < limits.RECOVERY_AGE_SECONDS * _US or one.saga in driven or now < attempts.next_at:
                continue
            delay_seconds = min(
                limits.RECOVERY_INTERVAL_SECONDS * 2**attempts.number, limits.RECOVERY_DELAY_SECONDS_MAX
            )
            self._attempts[one.saga] = attempts._replace(
                number=min(attempts.number + 1, limits.RECOVERY_DOUBLINGS_MAX),
                next_at=now + jittered(delay_seconds),
            )
            due.append(one.saga)
        return due

    def _reachable(self, number: int) -> bool:
        shard = self._find(number)
        return shard is not None and shard.batcher.available

    def _tell(self, found: list[OpenSaga]) -> None:
        """Report what is open; a saga that has been open for long is an alarm, once in a while."""
        label = str(self._home.number)
        metrics.SAGAS_OPEN.labels(label).set(len(found))
        metrics.SAGAS_OLDEST_SECONDS.labels(label).set(max((one.age_us for one in found), default=0) / _US)
        now = time.monotonic()
        for one in found:
            attempts = self._attempts[one.saga]
            if one.age_us >= limits.ALARM_SECONDS * _US and now >= attempts.alarm_at:
                if (silenced := self._alarms.take()) is not None:
                    _log.error(
                        "ALARM: a saga has been open for long: see `tallystick sagas`",
                        shard=self._home.number,
                        saga=one.saga,
                        age_seconds=one.age_us // _US,
                        silenced=silenced,
                    )
                self._attempts[one.saga] = attempts._replace(alarm_at=now + limits.ALARM_SECONDS)


class Crossings:
    """What is needed to cross between the shards of this process: a driver and a recovery for each."""

    def __init__(self, shards: Callable[[], Sequence[Shard]]) -> None:
        """`shards` tells which there are now: shards may be added while this runs."""
        self._shards = shards
        self._drivers: dict[int, SagaDriver] = {}
        self._recoveries: dict[int, Recovery] = {}
        self._looks = Looks("recovery of sagas", shards, self._look, limits.RECOVERY_INTERVAL_SECONDS)

    def find(self, number: int) -> Shard | None:
        """A shard by its number."""
        return next((shard for shard in self._shards() if shard.number == number), None)

    def driver(self, shard: Shard) -> SagaDriver:
        """Who drives the sagas that begin on a shard."""
        if shard.number not in self._drivers:
            self._drivers[shard.number] = SagaDriver(shard, self.find)
        return self._drivers[shard.number]

    def start(self) -> None:
        """Begin to look for sagas that nobody drives."""
        self._looks.start()

    async def stop(self) -> None:
        """Stop looking, and let what is on its way end; what does not is found by the next process."""
        await self._looks.stop()
        await asyncio.gather(
            *(driver.stop(limits.SAGA_STOP_SECONDS_MAX) for driver in self._drivers.values())
        )

    async def _look(self, shard: Shard) -> None:
        recovery = self._recoveries.get(shard.number)
        if recovery is None:
            recovery = self._recoveries[shard.number] = Recovery(shard, self.driver(shard), self.find)
        try:
            await recovery.look()
        except NotTakenError as error:
            _log.info("sagas could not be looked for now", shard=shard.number, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a bug here must not leave sagas without recovery
            _log.error("ALARM: the recovery of sagas failed", shard=shard.number, exc_info=error)
