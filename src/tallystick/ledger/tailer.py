"""The tailer of one shard: it reads the log after its mark and sees that the cache has what it says.

Of all server processes one has the lease; when it dies another takes over. Two at once would do no harm: a mark moves
only from where it was seen. A mark runs out unless the tailer reaches the end of the log in time, so what is cached
is never older than that.
"""

import asyncio
import secrets
import time
from contextlib import suppress

import structlog

from tallystick.domain import limits
from tallystick.domain.cached import Mark, balance_text, read_mark
from tallystick.ledger import metrics
from tallystick.ledger.errors import NotTakenError
from tallystick.ledger.pauses import jittered
from tallystick.store.cache import Cache, CacheError, Passed
from tallystick.store.errors import StoreError
from tallystick.store.reads import PassedEntries, Reader

_log = structlog.get_logger(__name__)


class Tailer:
    """Follows one shard's log for the cache, while it has the lease."""

    def __init__(self, shard: int, reader: Reader, cache: Cache) -> None:
        self._shard = shard
        self._reader = reader
        self._cache = cache
        self._name = secrets.token_hex(8)
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._level_at = time.monotonic()
        label = str(shard)
        self._lag_positions = metrics.CACHE_LAG_POSITIONS.labels(label)
        self._lag_seconds = metrics.CACHE_LAG_SECONDS.labels(label)
        self._drift = metrics.CACHE_DRIFT.labels(label)
        self._errors = metrics.CACHE_ERRORS.labels(label)

    def start(self) -> None:
        """Begin to follow, or to wait for the lease."""
        self._task = asyncio.create_task(self._run(), name=f"tailer of shard {self._shard}")

    async def stop(self) -> None:
        """Stop, and let another one follow."""
        if self._task is not None:
            # It is not cancelled at once: a call to the cache that is cut off leaves a connection of no use.
            self._stopping.set()
            _, late = await asyncio.wait([self._task], timeout=limits.CACHE_STOP_SECONDS_MAX)
            if late:
                self._task.cancel()
            try:
                await self._cache.release(self._shard, self._name)
            except CacheError:
                return  # it runs out by itself

    async def _run(self) -> None:
        while not self._stopping.is_set():
            pause_seconds = limits.CACHE_LEASE_INTERVAL_SECONDS
            try:
                if await self.follow():
                    pause_seconds = limits.CACHE_TAIL_INTERVAL_SECONDS
            except (CacheError, StoreError, NotTakenError) as error:
                self._errors.inc()
                _log.info("the cache is not followed now", shard=self._shard, reason=str(error))
            except Exception as error:  # noqa: BLE001 - nothing may end it: it would leave the cache to grow old
                _log.error("ALARM: the tailer failed", shard=self._shard, exc_info=error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), jittered(pause_seconds))

    async def follow(self) -> bool:
        """Pass the log up to its end as it is now. False: somebody else does.

        Raises:
            CacheError, UnavailableError: the cache or the shard cannot be reached.
        """
        text = await self._cache.follow(self._shard, self._name)
        if text is None:
            self._lag_positions.set(0)
            self._lag_seconds.set(0)
            return False
        head = await self._reader.head_position()
        mark = read_mark(text)
        if mark is None or not 0 <= head - mark.position <= limits.CACHE_LAG_POSITIONS_MAX:
            return await self._begin(text, mark, head)
        while await self._pass(mark, head) and not self._stopping.is_set():
            text = await self._cache.follow(self._shard, self._name)
            if text is None or (mark := read_mark(text)) is None:
                return text is not None
        return True

    async def _begin(self, text: bytes, mark: Mark | None, head: int) -> bool:
        """Begin at the end of the log: what is asked for is cached then."""
        if mark is not None and mark.position > head:
            self._drift.inc()
            _log.error(
                "ALARM: the cache is of another ledger, or of a later one",
                shard=self._shard,
                cache_position=mark.position,
                head_position=head,
            )
        if await self._cache.begin(self._shard, text, secrets.token_hex(4), head):
            _log.info("the cache begins anew", shard=self._shard, position=head)
            self._note_lag(0)
        return True

    async def _pass(self, mark: Mark, head: int) -> bool:
        """Pass one part of the log, up to the head at most. False when that was the last one, or the mark moved."""
        last = min(head, mark.position + limits.CACHE_TAIL_POSITIONS_MAX)
        passed: list[Passed] = []
        if last > mark.position:
            passed, broken = _passed(await self._reader.entries_between(mark.position, last))
            self._complain(broken)
        wrong = await self._cache.advance(self._shard, mark, last, passed, level=last == head)
        if wrong is None:
            return False
        for one in wrong:
            self._drift.inc()
            _log.error(
                "ALARM: a cached balance was wrong and was corrected",
                shard=self._shard,
                account=one.account,
                cached=one.text,
            )
        self._note_lag(head - last)
        return last < head

    def _complain(self, positions: list[int]) -> None:
        for position in positions:
            self._drift.inc()
            _log.error("ALARM: the log does not add up", shard=self._shard, position=position)

    def _note_lag(self, positions: int) -> None:
        now = time.monotonic()
        if positions == 0:
            self._level_at = now
        self._lag_positions.set(positions)
        self._lag_seconds.set(now - self._level_at)


def _passed(entries: PassedEntries) -> tuple[list[Passed], list[int]]:
    """What a part of the log left of each account, and what stood before it; and positions that do not add up.

    Each entry's balance is the one before and its amount, and so is what is held.
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
