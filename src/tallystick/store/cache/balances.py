"""The cache: servers that speak the protocol of Valkey and Redis. Only its client (client.py) knows the driver.

The truth is in PostgreSQL: a caller that gets a CacheError reads it there.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from types import NoneType
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from tallystick.background.alarms import Alarm, AlarmRate, raise_alarm
from tallystick.domain import limits
from tallystick.domain.cached import (
    NOT_NEWEST,
    CachedBalance,
    Mark,
    Seals,
    read_balance,
    read_mark,
)
from tallystick.extras import require_extra
from tallystick.store.cache.address import read_cache_address
from tallystick.store.cache.scripts import digest, script

# A text as the driver returns it; None if it is missing.
_BULK: Final = (bytes, NoneType)

_log = structlog.get_logger(__name__)


class CacheError(Exception):
    """The cache did not execute a command, or its answer makes no sense. PostgreSQL has the truth."""


class CacheRefusedError(Exception):
    """The cache answered a command with an error."""


class UnknownScriptError(Exception):
    """The cache does not know the script with this digest (any more)."""


class CacheClient(NamedTuple):
    """A client of a cache.

    `send` sends a command to the server that has its keys and waits for the answer; it raises CacheRefusedError,
    UnknownScriptError, OSError, TimeoutError. `close` closes all connections.
    """

    send: Callable[..., Awaitable[Any]]
    close: Callable[[], Awaitable[None]]


class Cached(NamedTuple):
    """The cached balances of accounts of a shard, and the mark (None: the cache cannot answer now).

    `nonsense` are the accounts whose cached text cannot be read, `old` those whose text was sealed too long ago.
    """

    mark: Mark | None
    balances: dict[int, CachedBalance]
    nonsense: list[int]
    old: list[int]


class Passed(NamedTuple):
    """A balance after a part of the log, as text, and balance and held amount before it: `<balance> <held>`."""

    account: int
    balance: str
    before: str


class Wrong(NamedTuple):
    """A cached balance that differed from the log. It was corrected."""

    account: int
    text: str


class _Circuit:
    """After an error the cache is not used for a moment, which grows with further errors.

    `alarms` limits the alarms.
    """

    def __init__(self) -> None:
        self.alarms = AlarmRate(1, limits.CACHE_ALARM_INTERVAL_SECONDS)
        self._open_until = 0.0
        self._open_seconds = limits.CACHE_CIRCUIT_OPEN_SECONDS_MIN

    @property
    def open(self) -> bool:
        return time.monotonic() < self._open_until

    def failed(self) -> None:
        now = time.monotonic()
        if now > self._open_until + limits.CACHE_CIRCUIT_OPEN_SECONDS_MAX:
            # It worked for some time. (One answered read is not enough, because writes may still fail.)
            self._open_seconds = limits.CACHE_CIRCUIT_OPEN_SECONDS_MIN
        self._open_until = now + self._open_seconds
        self._open_seconds = min(2 * self._open_seconds, limits.CACHE_CIRCUIT_OPEN_SECONDS_MAX)


class Cache:
    """The cache, with a circuit breaker for each shard: after an error it is not used for a moment.

    Every method raises CacheError. All keys of a shard carry its number in braces, so that they are on one node.
    """

    def __init__(self, address: str, key: str | None = None) -> None:
        """`address` is one that `read_cache_address` can read. The cache is connected to when it is first used.

        With a `key`, texts that are not sealed with it count as nonsense.

        Raises:
            MissingExtraError: the driver is not installed.
        """
        require_extra("cache", "a cache")
        from tallystick.store.cache.client import cache_client  # noqa: PLC0415 - an extra

        self._seals = Seals(key)
        self._client = cache_client(read_cache_address(address))
        self._circuits: defaultdict[int, _Circuit] = defaultdict(_Circuit)
        # The client refuses calls beyond its connections. Here calls may wait for a connection.
        self._turns = asyncio.Semaphore(limits.CACHE_CONNECTIONS_MAX)

    def circuit_open(self, shard: int) -> bool:
        """Whether the cache failed a moment ago, and is not used now."""
        return self._circuits[shard].open

    @property
    def is_sealed(self) -> bool:
        """Whether balances are sealed, because others may write to the cache. The mark is not sealed."""
        return self._seals.are_made

    async def close(self) -> None:
        """Close all connections."""
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._client.close(), limits.CACHE_TIMEOUT_SECONDS)

    async def read(self, shard: int, accounts: Sequence[int]) -> Cached:
        """Read the cached balances of accounts of a shard, in one round trip."""
        prefix = _prefix(shard)
        values = await self._ask(
            shard, "MGET", _mark_key(shard), *[f"{prefix}{account}" for account in accounts]
        )
        if (
            not isinstance(values, list)
            or len(values) != len(accounts) + 1
            or not all(isinstance(value, _BULK) for value in values)
        ):
            raise self._nonsense(shard)
        mark = read_mark(values[0])
        found: dict[int, CachedBalance] = {}
        nonsense: list[int] = []
        old: list[int] = []
        now_seconds = time.time()
        if mark is not None:
            for account, text in zip(accounts, values[1:], strict=True):
                if text is None:
                    continue
                try:
                    opened = self._seals.opened(shard, account, text, now_seconds)
                    balance = None if opened is None else read_balance(account, mark.generation, opened)
                except ValueError:
                    nonsense.append(account)
                else:
                    if balance is not None:
                        found[account] = balance
                    elif opened is None:
                        old.append(account)
        return Cached(mark, found, nonsense, old)

    async def write(self, shard: int, balances: Iterable[tuple[int, str]], *, as_of: int = 0) -> int:
        """Set balances if the cache has older ones, in one round trip. Returns the number set; -1: there is no mark.

        `balances`: accounts, and the texts of their balances.
        `as_of`: a position up to which they are known to be the newest; 0: each up to its own.
        """
        packed: list[str] = []
        sealed = self._seals.sealer(shard, int(time.time()))
        for account, balance in balances:
            packed += (str(account), sealed(account, balance))
        written = await self._run(
            shard, "write", [_mark_key(shard)], as_of, _prefix(shard), msgspec.msgpack.encode(packed)
        )
        if not isinstance(written, int):
            raise self._nonsense(shard)
        return written

    async def remove(self, shard: int, accounts: Iterable[int]) -> None:
        """Remove the cached balances of accounts."""
        await self._ask(shard, "UNLINK", *[f"{_prefix(shard)}{account}" for account in accounts])

    async def follow(self, shard: int, follower: str) -> bytes | None:
        """Take or keep the lease of a shard's tailer.

        Returns the text of the mark; None: another process has the lease.
        """
        keys = [_mark_key(shard), _lease_key(shard)]
        found = await self._run(shard, "follow", keys, follower, limits.CACHE_LEASE_MS)
        if not isinstance(found, _BULK):
            raise self._nonsense(shard)
        return found

    async def release(self, shard: int, follower: str) -> None:
        """Release the lease."""
        await self._run(shard, "release", [_lease_key(shard)], follower)

    async def begin(self, shard: int, expected: bytes, opening: Mark) -> bool:
        """Begin a new generation at a position, if the mark is still the expected one."""
        begun = await self._run(
            shard,
            "begin",
            [_mark_key(shard)],
            expected,
            opening.text,
            limits.CACHE_AGE_MS_MAX,
        )
        if not isinstance(begun, int):
            raise self._nonsense(shard)
        return bool(begun)

    async def advance(
        self, shard: int, mark: Mark, moved: Mark, passed: Iterable[Passed], *, good_ms: int
    ) -> list[Wrong] | None:
        """Set the balances that a part of the log changed, and move the mark.

        Returns the balances that were wrong; None if there is another mark. `good_ms`: how long the mark is valid
        from now on; 0: its expiry does not change, because the part does not reach the end of the log.
        """
        packed: list[str] = []
        # An attacker may have moved the mark back, to have old balances sealed.
        sealed = self._seals.sealer(shard, int(time.time()) if good_ms else NOT_NEWEST)
        for account, balance, before in passed:
            packed += (str(account), sealed(account, balance), before)
        wrong = await self._run(
            shard,
            "advance",
            [_mark_key(shard)],
            mark.text,
            moved.text,
            good_ms,
            _prefix(shard),
            msgspec.msgpack.encode(packed),
            self._seals.characters,
        )
        if wrong is None:
            return None
        try:
            return [
                Wrong(int(account), text.decode("ascii", "replace"))
                for account, text in zip(wrong[::2], wrong[1::2], strict=True)
            ]
        except (TypeError, ValueError, AttributeError):
            raise self._nonsense(shard) from None

    async def _run(self, shard: int, name: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Run a script by its digest. If the server does not know it (any more), send its text."""
        parameters = (len(keys), *keys, *arguments)
        with suppress(UnknownScriptError):
            return await self._ask(shard, "EVALSHA", digest(name), *parameters)
        return await self._ask(shard, "EVAL", script(name), *parameters)

    async def _ask(self, shard: int, *command: Any) -> Any:
        circuit = self._circuits[shard]
        if circuit.open:
            raise CacheError("the cache failed a moment ago")
        try:
            answer = await self._call(*command)
        except UnknownScriptError:
            raise
        except (CacheRefusedError, OSError, TimeoutError, ValueError) as error:
            what = "refused" if isinstance(error, CacheRefusedError) else "cannot be reached"
            raise self._failed(shard, f"the cache {what}: {str(error) or type(error).__name__}") from error
        return answer

    async def _call(self, *command: Any) -> Any:
        async with asyncio.timeout(limits.CACHE_TIMEOUT_SECONDS), self._turns:
            return await self._client.send(*command)

    def _nonsense(self, shard: int) -> CacheError:
        return self._failed(shard, "the cache answered nonsense")

    def _failed(self, shard: int, why: str) -> CacheError:
        """Stop using the cache for a moment, and log it."""
        circuit = self._circuits[shard]
        circuit.failed()
        raise_alarm(_log, Alarm.CACHE_NOT_USED, circuit.alarms, shard=shard, reason=why)
        return CacheError(why)


def _prefix(shard: int) -> str:
    return f"tallystick:{{{shard}}}:"


def _mark_key(shard: int) -> str:
    return f"{_prefix(shard)}mark"


def _lease_key(shard: int) -> str:
    return f"{_prefix(shard)}lease"
