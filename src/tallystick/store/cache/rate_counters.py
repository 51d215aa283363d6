"""Counters of recent requests: shared by all servers in the cache, or of this process alone.

No request waits for a cache that cannot be reached. This process then counts by itself for a while, with an alarm.
"""

import time
from typing import Final, NamedTuple

import structlog
from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, RedisClusterStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from tallystick.background.alarms import Alarm, AlarmRate, raise_alarm
from tallystick.domain import limits
from tallystick.extras import require_extra
from tallystick.store.cache.address import CacheAddress, read_cache_address

_PREFIX: Final = "tallystick:limits"
# A broken server can cause errors that no library expects. No client may be refused because of them.
_FAILURES: Final = (StorageError, OSError, TimeoutError, ValueError, TypeError)

_log = structlog.get_logger(__name__)


class Left(NamedTuple):
    """How much the rate still allows, and in how many seconds it allows more."""

    amount: int
    more_in_seconds: float


class RateCounters:
    """Counts against rates, in sliding windows."""

    def __init__(self, address: str | None) -> None:
        """`address` is that of the cache to count in; None: count in this process alone."""
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: SlidingWindowCounterRateLimiter | None = None
        if address is not None:
            self._shared = SlidingWindowCounterRateLimiter(_storage(read_cache_address(address)))
        self._alone_until = 0.0
        self._alarms = AlarmRate(1, limits.CACHE_ALARM_INTERVAL_SECONDS)

    async def take(self, rate: RateLimitItem, *names: str, count: int) -> bool:
        """Count something if the rate allows it."""
        if (shared := self._reachable()) is not None:
            try:
                return await shared.hit(rate, *names, cost=count)
            except _FAILURES as error:
                self._failed(error)
        return await self._own.hit(rate, *names, cost=count)

    async def left(self, rate: RateLimitItem, *names: str) -> Left:
        """What the rate still allows."""
        counters = self._reachable() or self._own
        try:
            found = await counters.get_window_stats(rate, *names)
        except _FAILURES as error:
            self._failed(error)
            found = await self._own.get_window_stats(rate, *names)
        return Left(found.remaining, max(0.0, found.reset_time - time.time()))

    def _reachable(self) -> SlidingWindowCounterRateLimiter | None:
        return None if time.monotonic() < self._alone_until else self._shared

    def _failed(self, error: Exception) -> None:
        self._alone_until = time.monotonic() + limits.CACHE_CIRCUIT_OPEN_SECONDS_MAX
        raise_alarm(_log, Alarm.LIMITS_NOT_SHARED, self._alarms, reason=str(error) or type(error).__name__)


def _storage(address: CacheAddress) -> RedisStorage:
    require_extra("cache", "a cache")
    from tallystick.store.cache.client import cluster_settings, connection_pool  # noqa: PLC0415 - an extra

    if address.kind == "cluster":
        hosts = ",".join(f"{host}:{port}" for host, port in address.hosts)
        return RedisClusterStorage(
            f"async+redis+cluster://{hosts}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=_PREFIX,
            **cluster_settings(address),
        )
    return RedisStorage(
        "async+redis://",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix=_PREFIX,
        connection_pool=connection_pool(address),  # type: ignore[arg-type]  # as its documentation says
    )
