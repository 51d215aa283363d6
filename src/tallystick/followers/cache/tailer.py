"""The tailer of one shard: it reads the log after its mark and corrects the cache.

One of all server processes has the lease. When it dies, another takes over. Two tailers at once are harmless: a mark
moves only if it is still the expected one. A mark expires unless the tailer reaches the end of the log in time, so
cached balances are never older than that. A new mark is not trusted before the tailer has reached an end of the log
that was read after the mark was set. All answers that were given without a mark are older than that end.
"""

import secrets
import time
from contextlib import suppress
from typing import Final

import structlog

from tallystick.background.alarms import Alarm, raise_alarm
from tallystick.background.pauses import jittered
from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.domain.cached import Mark, balance_text, opening_mark, read_mark
from tallystick.ledger import metrics
from tallystick.ledger.errors import NotTakenError
from tallystick.store.cache.balances import Cache, CacheError, Passed
from tallystick.store.errors import StoreError
from tallystick.store.reads import PassedEntries, Reader

_log = structlog.get_logger(__name__)

_WRONG_TOLD_MAX: Final = 3


class Tailer:
    """Follows one shard's log for the cache, while it has the lease."""

    def __init__(self, shard: int, reader: Reader, cache: Cache) -> None:
        self._shard = shard
        self._reader = reader
        self._cache = cache
        self._name = secrets.token_hex(8)
        self._worker = Worker(
            "tailer of the cache",
            self._round,
            interval_seconds=limits.CACHE_LEASE_INTERVAL_SECONDS,
            expected=(CacheError, StoreError, NotTakenError),
            shard=shard,
        )
        self._level_at = time.monotonic()
        self._leads = False
        label = str(shard)
        self._lag_positions = metrics.CACHE_LAG_POSITIONS.labels(label)
        self._lag_seconds = metrics.CACHE_LAG_SECONDS.labels(label)
        self._drift = metrics.CACHE_DRIFT.labels(label)
        self._errors = metrics.CACHE_ERRORS.labels(label)

    def start(self) -> None:
        """Begin to follow, or to wait for the lease."""
        self._worker.start()

    async def stop(self) -> None:
        """Stop, and let another process follow."""
        if self._worker.started:
            # It is not cancelled at once, because a call to the cache that is cut off makes its connection unusable.
            await self._worker.stop(limits.CACHE_STOP_SECONDS_MAX)
            with suppress(CacheError):  # the lease expires by itself
                await self._cache.release(self._shard, self._name)

    async def _round(self) -> float:
        try:
            followed = await self.follow()
        except Exception:
            self._errors.inc()
            if self._leads:
                self._lag_seconds.set(time.monotonic() - self._level_at)
            raise
        return jittered(
            limits.CACHE_TAIL_INTERVAL_SECONDS if followed else limits.CACHE_LEASE_INTERVAL_SECONDS
        )

    async def follow(self) -> bool:
        """Follow the log up to its current end. False if another process has the lease.

        Raises:
            CacheError, UnavailableError: the cache or the shard cannot be reached.
        """
        text = await self._cache.follow(self._shard, self._name)
        self._leads = text is not None
        if text is None:
            self._note_lag(0)
            return False
        head, looked_at = await self._look()
        mark = read_mark(text)
        if mark is None or not 0 <= head - mark.position <= limits.CACHE_LAG_POSITIONS_MAX:
            mark = await self._begin(text, mark, head)
            head, looked_at = await self._look()
        while mark is not None and not self._worker.stopping:
            mark = await self._pass(mark, head, looked_at)
            if mark is not None and await self._cache.follow(self._shard, self._name) is None:
                return False
        return True

    async def _look(self) -> tuple[int, float]:
        """The end of the log, and the time before it was read, by `time.monotonic`."""
        looked_at = time.monotonic()
        return await self._reader.head_position(), looked_at

    async def _begin(self, text: bytes, mark: Mark | None, head: int) -> Mark | None:
        """Begin at the end of the log. Balances are cached when they are read. None if another process has begun."""
        if mark is not None and mark.position > head:
            self._drift.inc()
            raise_alarm(
                _log,
                Alarm.CACHE_OF_ANOTHER_LEDGER,
                shard=self._shard,
                cache_position=mark.position,
                head_position=head,
            )
        opening = opening_mark(secrets.token_hex(4), head)
        if not await self._cache.begin(self._shard, text, opening):
            return None
        _log.info("the cache begins anew", shard=self._shard, position=head)
        return opening

    async def _pass(self, mark: Mark, head: int, looked_at: float) -> Mark | None:
        """Process one part of the log, up to the head at most.

        Returns the new mark; None at the end of the log, or if another process moved the mark. `looked_at`: the time
        before the head was read, by `time.monotonic`.
        """
        last, entries = await self._read(mark.position, head)
        passed: list[Passed] = []
        if entries is not None:
            passed, broken = _passed(entries)
            self._complain(broken)
        good_ms = 0
        if last == head:
            # The cached balances are as old as the read of the head, and not as new as this call.
            good_ms = max(0, limits.CACHE_AGE_MS_MAX - int(1000 * (time.monotonic() - looked_at)))
        moved = mark.moved(last, level=last == head)
        wrong = await self._cache.advance(self._shard, mark, moved, passed, good_ms=good_ms)
        if wrong is None:
            return None
        self._drift.inc(len(wrong))
        for one in wrong[:_WRONG_TOLD_MAX]:
            raise_alarm(
                _log,
                Alarm.BALANCE_CORRECTED,
                shard=self._shard,
                account=one.account,
                cached=one.text,
                in_all=len(wrong),
            )
        self._note_lag(head - last)
        return moved if last < head else None

    def _complain(self, positions: list[int]) -> None:
        for position in positions:
            self._drift.inc()
            raise_alarm(_log, Alarm.LOG_DOES_NOT_ADD_UP, shard=self._shard, position=position)

    async def _read(self, after: int, head: int) -> tuple[int, PassedEntries | None]:
        """A part of the log that a script can process in time: its end, and its entries, if there are any."""
        last = min(head, after + limits.CACHE_TAIL_POSITIONS_MAX)
        if last == after:
            return last, None
        entries = await self._reader.entries_between(after, last)
        while len(entries.account) > limits.CACHE_TAIL_ENTRIES_MAX and last > after + 1:
            last = after + (last - after) // 2
            entries = await self._reader.entries_between(after, last)
        return last, entries

    def _note_lag(self, positions: int) -> None:
        now = time.monotonic()
        if positions == 0:
            self._level_at = now
        self._lag_positions.set(positions)
        self._lag_seconds.set(now - self._level_at)


def _passed(entries: PassedEntries) -> tuple[list[Passed], list[int]]:
    """The balances of each account after and before a part of the log, and positions that do not add up.

    The balance of each entry is the previous balance and its amount. The same holds for the held amount.
    """
    _, positions, amounts, balances, held, held_after, tenants, assets = entries
    first: dict[int, int] = {}
    newest: dict[int, int] = {}
    broken = []
    for place, account in enumerate(entries.account):
        before = newest.get(account)
        if before is None:
            first[account] = place
        elif (
            balances[place] != balances[before] + amounts[place]
            or held_after[place] != held_after[before] + held[place]
        ):
            broken.append(positions[place])
        newest[account] = place
    passed = []
    for account, last in newest.items():
        text = balance_text(positions[last], balances[last], held_after[last], tenants[last], assets[last])
        begun = first[account]
        before_text = f"{balances[begun] - amounts[begun]} {held_after[begun] - held[begun]}"
        passed.append(Passed(account, text, before_text))
    return passed, broken
