"""Writers, readers and whoever breaks the cache, all at once; and what a reader must never see.

Cache writes of the processes are held up and overtake each other. What every position of every account left is known
from what was posted, so an observer can tell a balance that never was.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from tallystick import Ledger
from tallystick.service.engine import Engine
from tallystick.views import Balance
from tests.cache.books import opened, paid, seen

ACCOUNTS = 6
DELAY_SECONDS_MAX = 0.08
DELAYED_SHARE = 0.3
# However slow the machine is, something is to be read from the cache, and all of it in the end.
READS_SECONDS_MAX = 60.0
QUIET_SECONDS_MAX = 30.0


class ViolationError(AssertionError):
    """A reader saw what it must not see."""


class Race:
    """One run on engines that share shards and a cache."""

    def __init__(self, engines: list[Engine], seed: int) -> None:
        self._random = random.Random(seed)
        self._ledgers = [Ledger(engine, 1) for engine in engines]
        self._accounts: list[str] = []
        self._stop_at = self._give_up_at = 0.0
        self._reads_min = 0
        # (account, position) to the balance that it left, as posted.
        self.truth: dict[tuple[str, int], int] = {}
        self._observed: list[tuple[str, int, int]] = []
        self.reads_from_cache = 0
        for engine in engines:
            self._hold_up(engine)

    async def run(self, seconds: float, *disturb: Callable[[], Any], reads_min: int = 0) -> None:
        """Race for some time, and on until so many reads were answered by the cache."""
        self._accounts = await opened(self._ledgers[0], "racer", ACCOUNTS)
        self._stop_at = time.monotonic() + seconds
        self._give_up_at = self._stop_at + READS_SECONDS_MAX
        self._reads_min = reads_min
        tasks = [self._write(ledger, f"writer {number}") for number, ledger in enumerate(self._ledgers)]
        # One for each account, reader and process, as a page that is loaded again and again.
        tasks += [self._observe(ledger) for ledger in self._ledgers for _ in range(2)]
        tasks += [self._disturb(one) for one in disturb]
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)
        self._compare_observed()
        assert self.reads_from_cache >= self._reads_min

    async def check_quiet(self) -> None:
        """When all is quiet, the cache answers soon, and says what the ledger says."""
        for ledger in self._ledgers:
            for account in self._accounts:
                strong = await seen(ledger, account, strong=True)
                deadline = time.monotonic() + QUIET_SECONDS_MAX
                while not _is(fast := await seen(ledger, account), strong) or fast.source != "cache":
                    # What is older has until then.
                    if fast.position >= strong.position and not _is(fast, strong):
                        raise ViolationError(f"quiet, and {fast} is not {strong}")
                    if time.monotonic() > deadline:
                        raise ViolationError(f"quiet for long, and {fast} is still not the cache's {strong}")
                    await asyncio.sleep(0.02)

    async def _write(self, ledger: Ledger, name: str) -> None:
        number = 0
        while self._running():
            number += 1
            source, destination = self._random.sample(self._accounts, 2)
            posted = await paid(ledger, source, destination, 1, f"{name} {number}")
            for entry in posted.entries:
                assert entry.balance is not None
                self.truth[entry.account, posted.position] = entry.balance
            # Whichever process it asks.
            reader = self._random.choice(self._ledgers)
            own = await seen(reader, destination, min_position=posted.position)
            if own.position < posted.position:
                raise ViolationError(f"{own} is older than what was written at {posted.position}")
            await asyncio.sleep(0)

    async def _observe(self, ledger: Ledger) -> None:
        newest: dict[str, int] = {}
        while self._running():
            account = self._random.choice(self._accounts)
            found = await seen(ledger, account)
            if found.position < newest.get(account, 0):
                raise ViolationError(f"{found} after position {newest[account]}")
            newest[account] = found.position
            self._observed.append((account, found.position, found.balance))
            self.reads_from_cache += found.source == "cache"
            await asyncio.sleep(0)

    def _compare_observed(self) -> None:
        for account, position, balance in self._observed:
            if position and self.truth[account, position] != balance:
                raise ViolationError(f"{account} never had {balance} at {position}")

    async def _disturb(self, act: Callable[[], Any]) -> None:
        while self._running():
            await asyncio.sleep(self._random.uniform(0.1, 0.6))
            await asyncio.to_thread(act)

    def _running(self) -> bool:
        now = time.monotonic()
        return now < self._stop_at or (self.reads_from_cache < self._reads_min and now < self._give_up_at)

    def _hold_up(self, engine: Engine) -> None:
        """Let some of the calls that set something wait, so that others overtake them."""
        cache = engine._cache
        assert cache is not None
        call = cache._call

        async def late(*command: Any) -> Any:
            if command[0] in {"EVALSHA", "EVAL"} and self._random.random() < DELAYED_SHARE:
                await asyncio.sleep(self._random.uniform(0, DELAY_SECONDS_MAX))
            return await call(*command)

        cache._call = late  # type: ignore[method-assign]  # a slow network


def _is(one: Balance, other: Balance) -> bool:
    return (one.balance, one.position) == (other.balance, other.position)
