"""The recovery of sagas: open sagas are found in the log and driven to their end.

Every process runs one; several at once are harmless. It leaves young sagas alone, because another process may be
driving them. It never gives a saga up: it asks the other shard again, with growing pauses, until there is an answer.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from tallystick.background.alarms import Alarm, AlarmRate, raise_alarm
from tallystick.background.pauses import Backoff
from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.ledger import metrics
from tallystick.ledger.crossing.saga.steps import SagaDriver
from tallystick.ledger.errors import NotTakenError
from tallystick.ledger.shard import Shard
from tallystick.ledger.shard_workers import ShardWorkers
from tallystick.store.reads import UnfinishedSaga

_log = structlog.get_logger(__name__)

_NAME: Final = "recovery of sagas"
_US: Final = 1_000_000


class _Watched:
    """When an open saga may be tried again, and reported again (seconds of the monotonic clock)."""

    __slots__ = ("alarm_at", "backoff", "next_at")

    def __init__(self) -> None:
        self.backoff = Backoff(limits.RECOVERY_INTERVAL_SECONDS, limits.RECOVERY_DELAY_SECONDS_MAX)
        self.next_at = 0.0
        self.alarm_at = 0.0


class Recovery:
    """Recovers the sagas that began on one shard."""

    def __init__(self, home: Shard, driver: SagaDriver, find: Callable[[int], Shard | None]) -> None:
        self._home = home
        self._driver = driver
        self._find = find
        # All open sagas up to this position are watched, so that the log need not be searched for old ones.
        self._looked_through = 0
        self._watched: dict[int, _Watched] = {}
        self._alarms = AlarmRate()

    async def look(self) -> None:
        """Find sagas that no process seems to drive, and drive them on.

        Raises:
            UnavailableError: the shard cannot be read now.
        """
        reader = self._home.reader
        await self._watch_new()
        found = await reader.still_open_sagas(self._watched)
        self._watched = {saga.saga: self._watched[saga.saga] for saga in found}
        self._report(found)
        due = self._due(found)
        for start in range(0, len(due), limits.RECOVERY_SAGAS_AT_A_TIME):
            states = await reader.sagas(due[start : start + limits.RECOVERY_SAGAS_AT_A_TIME])
            # Another shard pays out what is reserved here, so the reservation must not be lost with this primary.
            await self._home.database.await_standbys()
            self._driver.begin(
                state
                for state in states.values()
                if any(self._reachable(number) for number in state.terms.payee_shards)
            )

    async def _watch_new(self) -> None:
        """Watch the open sagas of the part of the log that was not searched yet, up to a number."""
        reader = self._home.reader
        # The log is serial: later sagas will come after the head.
        head = await reader.head_position()
        while len(self._watched) < limits.RECOVERY_SAGAS_WATCHED_MAX:
            page = await reader.open_sagas(self._looked_through, limits.RECOVERY_SAGAS_AT_A_TIME)
            for saga in page:
                self._watched.setdefault(saga.saga, _Watched())
            if len(page) < limits.RECOVERY_SAGAS_AT_A_TIME:
                self._looked_through = max(head, page[-1].saga if page else 0)
                return
            self._looked_through = page[-1].saga

    def _due(self, found: list[UnfinishedSaga]) -> list[int]:
        now = time.monotonic()
        driven = self._driver.driven
        due = []
        for saga in found:
            watched = self._watched[saga.saga]
            if (
                saga.age_us < limits.RECOVERY_AGE_SECONDS * _US
                or saga.saga in driven
                or now < watched.next_at
            ):
                continue
            watched.next_at = now + watched.backoff.next_seconds()
            due.append(saga.saga)
        return due

    def _reachable(self, number: int) -> bool:
        shard = self._find(number)
        return shard is not None and shard.batcher.available

    def _report(self, found: list[UnfinishedSaga]) -> None:
        """Report the open sagas. One that has been open for long raises an alarm from time to time."""
        label = str(self._home.number)
        metrics.SAGAS_OPEN.labels(label).set(len(found))
        metrics.SAGAS_OLDEST_SECONDS.labels(label).set(max((saga.age_us for saga in found), default=0) / _US)
        now = time.monotonic()
        for saga in found:
            watched = self._watched[saga.saga]
            if saga.age_us >= limits.ALARM_SECONDS * _US and now >= watched.alarm_at:
                raise_alarm(
                    _log,
                    Alarm.SAGA_OPEN_FOR_LONG,
                    self._alarms,
                    shard=self._home.number,
                    saga=saga.saga,
                    age_seconds=saga.age_us // _US,
                )
                watched.alarm_at = now + limits.ALARM_SECONDS


class Crossings:
    """Crossing between the shards of this process: a driver and a recovery for each."""

    def __init__(self, shards: Callable[[], Sequence[Shard]]) -> None:
        """`shards` returns the current shards. Shards may be added at any time."""
        self._shards = shards
        self._drivers: dict[int, SagaDriver] = {}
        self._workers = ShardWorkers(_NAME, shards, self._recovery_worker)

    def find(self, number: int) -> Shard | None:
        """A shard by its number."""
        return next((shard for shard in self._shards() if shard.number == number), None)

    def driver(self, shard: Shard) -> SagaDriver:
        """The driver of the sagas that begin on a shard."""
        if shard.number not in self._drivers:
            self._drivers[shard.number] = SagaDriver(shard, self.find)
        return self._drivers[shard.number]

    def start(self) -> None:
        """Begin to look for sagas that no process drives."""
        self._workers.start()

    async def stop(self) -> None:
        """Stop looking, and let sagas in progress end. Others are found by the next process."""
        await self._workers.stop()
        await asyncio.gather(
            *(driver.stop(limits.SAGA_STOP_SECONDS_MAX) for driver in self._drivers.values())
        )

    def _recovery_worker(self, shard: Shard) -> Worker:
        return Worker(
            _NAME,
            Recovery(shard, self.driver(shard), self.find).look,
            interval_seconds=limits.RECOVERY_INTERVAL_SECONDS,
            expected=(NotTakenError,),
            shard=shard.number,
        )
