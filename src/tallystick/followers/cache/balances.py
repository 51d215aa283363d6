"""Balances of one shard: from the cache if it has them as new as requested, otherwise from PostgreSQL.

Waiting reads go to the cache together, in one round trip, and so do the balances of committed batches. A posting
never waits for the cache, even if it is slow or lost.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from tallystick.background.alarms import Alarm, AlarmRate, raise_alarm
from tallystick.domain import limits
from tallystick.domain.accounts import AccountState
from tallystick.domain.cached import CachedBalance, Mark, cached_balance, write_balance, write_state
from tallystick.domain.decide import Decision
from tallystick.followers.errors import PositionNotReachedError
from tallystick.ledger import metrics
from tallystick.store.cache.balances import Cache, Cached, CacheError
from tallystick.store.reads import Reader
from tallystick.views.accounts import Source

_log = structlog.get_logger(__name__)


class FoundBalance(NamedTuple):
    """A balance, and where it was read."""

    balance: CachedBalance
    source: Source


class _WaitingRead(NamedTuple):
    accounts: Collection[int]
    answer: asyncio.Future[Cached | None]


class BalanceReader:
    """Reads the balances of one shard, and caches those that its batches change."""

    def __init__(self, shard: int, reader: Reader, cache: Cache | None) -> None:
        self._shard = shard
        self._reader = reader
        self._cache = cache
        self._waiting: list[_WaitingRead] = []
        self._asking: asyncio.Task[None] | None = None
        # Committed balances that are not cached yet: those that wait, and those that are being written.
        self._changed: dict[int, AccountState] = {}
        self._sending: dict[int, AccountState] = {}
        self._writing: asyncio.Task[None] | None = None
        # The newest position that a reader here has seen up to the mark, or that was not cached. Until the mark
        # reaches it, the cache is not trusted.
        self._floor = 0
        # Positions beyond the mark that readers here have seen, by account. A cache loses its last writes when a
        # replica takes over, or when it starts from a saved file. The only sign of that is a mark lower than what was
        # seen.
        self._ahead: dict[int, int] = {}
        self._mark_position = 0
        self._stopping = False
        self._alarms = AlarmRate(1, limits.CACHE_ALARM_INTERVAL_SECONDS)
        label = str(shard)
        self._hits = metrics.CACHE_HITS.labels(label)
        self._misses = metrics.CACHE_MISSES.labels(label)
        self._errors = metrics.CACHE_ERRORS.labels(label)
        self._writes = metrics.CACHE_WRITES.labels(label)
        self._dropped = metrics.CACHE_DROPPED.labels(label)
        self._drift = metrics.CACHE_DRIFT.labels(label)

    # Reading.

    async def read(
        self, accounts: Sequence[int], *, min_position: int = 0, strong: bool = False
    ) -> dict[int, FoundBalance]:
        """Balances of accounts, by identifier, at least as new as a position. Unknown accounts are left out.

        `strong` reads PostgreSQL, and does not ask the cache.

        Raises:
            UnavailableError: PostgreSQL was needed and cannot be read.
            PositionNotReachedError: the log does not go so far, after a short wait.
        """
        # Noted before the cache is asked, because it may be written to between its answer and our reading of it.
        on_their_way = self._on_their_way(accounts)
        cached = None if strong else await self._ask(accounts)
        found: dict[int, FoundBalance] = {}
        mark = None if cached is None else cached.mark
        if mark is not None:
            self._passed(mark.position)
        if cached is not None and mark is not None and mark.position >= self._floor:
            # If others may write to the cache, they may write the mark, which is not sealed.
            as_of = 0 if self._cache is None or self._cache.is_sealed else mark.position
            found = {
                account: FoundBalance(balance, "cache")
                for account, balance in cached.balances.items()
                if max(balance.position, as_of) >= max(min_position, self._ahead.get(account, 0))
                and balance.position >= on_their_way.get(account, 0)
            }
            self._hits.inc(len(found))
        missing = [account for account in accounts if account not in found] if found else list(accounts)
        if missing:
            states = await self._states(missing, min_position)
            read = [cached_balance(state) for state in states.values()]
            if cached is not None:
                self._misses.inc(len(missing))
            if cached is not None or strong:
                await self._fill(read, mark)
            for balance in read:
                found[balance.account] = FoundBalance(balance, "database")
        if self._cache is not None:
            self._answered(found)
        return found

    async def _states(self, accounts: Sequence[int], min_position: int) -> dict[int, AccountState]:
        """The states in PostgreSQL, as of a position or later."""
        states = await self._reader.accounts(accounts)
        if all(account in states and states[account].position >= min_position for account in accounts):
            return states
        if min_position:
            # The accounts may be unchanged since, or the log may not have reached the position yet.
            await self.require_reached(min_position)
            states = await self._reader.accounts(accounts)
        return states

    async def require_reached(self, position: int) -> None:
        """Wait for a short time until the log reaches a position.

        Raises:
            UnavailableError: PostgreSQL cannot be read.
            PositionNotReachedError: the log does not go so far.
        """
        deadline = time.monotonic() + limits.POSITION_WAIT_SECONDS_MAX
        while (head := await self._reader.head_position()) < position:
            if time.monotonic() > deadline:
                raise PositionNotReachedError(self._shard, position, head)
            await asyncio.sleep(limits.POSITION_LOOK_SECONDS)

    def _on_their_way(self, accounts: Sequence[int]) -> dict[int, int]:
        """Positions that this process has committed and not cached yet. Older cached balances are not trusted.

        They are not answered from memory: a client that saw them could then get older ones from another server's
        cache.
        """
        found: dict[int, int] = {}
        for pending in (self._sending, self._changed):
            for account in accounts if pending else ():
                if (state := pending.get(account)) is not None:
                    found[account] = max(state.position, found.get(account, 0))
        return found

    def _answered(self, found: Mapping[int, FoundBalance]) -> None:
        """Remember the newest position that a client has seen. It must not see an older one later."""
        for account, (balance, _) in found.items():
            position = balance.position
            if position > self._mark_position:
                self._ahead[account] = max(position, self._ahead.get(account, 0))
            elif position > self._floor:
                self._floor = position
        if len(self._ahead) > limits.CACHE_AHEAD_BALANCES_MAX:
            self._floor = max(self._floor, *self._ahead.values())
            self._ahead = {}

    def _passed(self, position: int) -> None:
        """Forget positions that the mark covers. A lower mark, from another server, is not trusted."""
        if position == self._mark_position:
            return
        self._mark_position = position
        passed = [seen for seen in self._ahead.values() if seen <= position]
        if passed:
            self._floor = max(self._floor, *passed)
            self._ahead = {account: seen for account, seen in self._ahead.items() if seen > position}

    async def _fill(self, balances: list[CachedBalance], mark: Mark | None) -> None:
        """Cache balances that were read, before they are answered. So no client sees an older one afterwards."""
        if not balances or self._cache is None or self._cache.circuit_open(self._shard):
            return
        newest = max(balance.position for balance in balances)
        # The tailer had read the log up to the mark before this read, which therefore saw all positions up to it.
        # Also without a mark, because one may have begun since.
        as_of = newest if mark is None else max(mark.position, newest)
        texts = [(balance.account, write_balance(balance)) for balance in balances]
        try:
            written = await self._cache.write(self._shard, texts, as_of=as_of)
        except CacheError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - after any error, PostgreSQL has answered
            self._alarm(Alarm.CACHE_NOT_WRITTEN, exc_info=error)
        else:
            self._writes.inc(max(written, 0))

    async def _ask(self, accounts: Collection[int]) -> Cached | None:
        """The answer of the cache, which is asked together with all waiting reads; None if it has none."""
        if self._cache is None or self._stopping or self._cache.circuit_open(self._shard):
            return None
        answer: asyncio.Future[Cached | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_WaitingRead(accounts, answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all(), name=f"cache reads of shard {self._shard}")
        return await answer

    async def _ask_all(self) -> None:
        while self._waiting:
            taken, accounts = self._take()
            found: Cached | None = None
            try:
                if self._cache is not None:
                    found = await self._cache.read(self._shard, accounts)
            except CacheError as error:
                self._failed(error)
            except Exception as error:  # noqa: BLE001 - after any error, PostgreSQL has the answer
                self._alarm(Alarm.CACHE_NOT_READ, exc_info=error)
            finally:
                for waiting in taken:
                    if not waiting.answer.done():
                        waiting.answer.set_result(_part(found, waiting.accounts))
            if found is not None and found.nonsense:
                self._drift.inc(len(found.nonsense))
                self._alarm(Alarm.CACHE_NONSENSE, accounts=len(found.nonsense))
            if found is not None and (unusable := [*found.nonsense, *found.old]):
                await self._remove(unusable)

    async def _remove(self, accounts: Collection[int]) -> None:
        """Remove texts that cannot be used, so that others can be cached. They may claim to be newer."""
        if self._cache is not None:
            with suppress(CacheError):
                await self._cache.remove(self._shard, accounts)

    def _take(self) -> tuple[list[_WaitingRead], list[int]]:
        accounts: dict[int, None] = {}
        count = 0
        for waiting in self._waiting:
            if accounts and len(accounts) + len(waiting.accounts) > limits.CACHE_BALANCES_PER_CALL_MAX:
                break
            accounts.update(dict.fromkeys(waiting.accounts))
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken, list(accounts)

    # Writing.

    def committed(self, decision: Decision) -> None:
        """Cache the balances that a committed batch changed. It happens soon, and no caller waits for it."""
        if self._cache is None:
            return
        for account, state in decision.accounts.items():
            known = self._changed.get(account)
            if known is None or known.position < state.position:
                self._changed[account] = state
        if self._cache.circuit_open(self._shard) or len(self._changed) > limits.CACHE_PENDING_BALANCES_MAX:
            self._drop(self._changed)
            self._changed = {}
        elif self._changed and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(
                self._write_all(), name=f"cache writes of shard {self._shard}"
            )

    async def _write_all(self) -> None:
        while self._changed and self._cache is not None:
            taken = self._sending = self._changed
            self._changed = {}
            texts = [(account, write_state(state)) for account, state in taken.items()]
            try:
                for start in range(0, len(texts), limits.CACHE_BALANCES_PER_CALL_MAX):
                    part = texts[start : start + limits.CACHE_BALANCES_PER_CALL_MAX]
                    written = await self._cache.write(self._shard, part)
                    self._writes.inc(max(written, 0))
            except CacheError as error:
                self._failed(error)
                self._drop(taken)
            except Exception as error:  # noqa: BLE001 - the tailer repairs what this leaves
                self._alarm(Alarm.CACHE_NOT_WRITTEN, exc_info=error)
                self._drop(taken)
            self._sending = {}
            # Under load several batches go together, because the round trip costs more than its content.
            await asyncio.sleep(limits.CACHE_WRITE_PAUSE_SECONDS)

    def _drop(self, states: Mapping[int, AccountState]) -> None:
        """Leave these to the tailer."""
        self._dropped.inc(len(states))
        self._floor = max([self._floor, *(state.position for state in states.values())])

    def _failed(self, error: CacheError) -> None:
        self._errors.inc()
        _log.debug("the cache failed", shard=self._shard, reason=str(error))

    def _alarm(self, alarm: Alarm, **details: Any) -> None:
        """Raise an alarm, which is logged from time to time, and not for each read."""
        raise_alarm(_log, alarm, self._alarms, shard=self._shard, **details)

    async def stop(self) -> None:
        """Stop reading from the cache and writing to it."""
        self._stopping = True
        tasks = [task for task in (self._asking, self._writing) if task is not None]
        if tasks:
            # Each call ends by itself, because the cache has little time to answer.
            _, late = await asyncio.wait(tasks, timeout=limits.CACHE_STOP_SECONDS_MAX)
            for task in late:
                task.cancel()
        for waiting in self._waiting:
            if not waiting.answer.done():
                waiting.answer.set_result(None)


def _part(found: Cached | None, accounts: Collection[int]) -> Cached | None:
    if found is None:
        return None
    balances = {account: found.balances[account] for account in accounts if account in found.balances}
    return Cached(found.mark, balances, [], [])
