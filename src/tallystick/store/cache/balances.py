"""The cache: servers that speak the protocol of Valkey and Redis. Only its client (client.py) knows the driver.

Nothing here is ever the truth: whoever gets a CacheError reads PostgreSQL.
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

from tallystick.background.alarms import AlarmRate
from tallystick.domain import limits
from tallystick.domain.cached import (
    CachedBalance,
    Mark,
    Seals,
    read_balance,
    read_mark,
)
from tallystick.extras import require_extra
from tallystick.store.cache.address import read_cache_address
from tallystick.store.cache.scripts import digest, script

# How the driver tells a text, or that there is none.
_BULK: Final = (bytes, NoneType)

_log = structlog.get_logger(__name__)


class CacheError(Exception):
    """The cache did not do what was asked, or answered nonsense. PostgreSQL has the truth."""


class CacheRefusedError(Exception):
    """The cache answered a command with an error."""


class UnknownScriptError(Exception):
    """The cache does not know the script of a digest (any more)."""


class CacheClient(NamedTuple):
    """How a cache is asked.

    `send` sends a command to the server that has its keys and waits for the answer; it raises CacheRefusedError,
    UnknownScriptError, OSError, TimeoutError. `close` closes all connections.
    """

    send: Callable[..., Awaitable[Any]]
    close: Callable[[], Awaitable[None]]


class Cached(NamedTuple):
    """What the cache says of accounts of a shard, and its mark (None: it can say nothing now).

    `nonsense` are accounts about which it says what cannot be read.
    """

    mark: Mark | None
    balances: dict[int, CachedBalance]
    nonsense: list[int]


class Passed(NamedTuple):
    """A balance as a part of the log left it, as text, and balance and held before that part: `<balance> <held>`."""

    account: int
    balance: str
    before: str


class Wrong(NamedTuple):
    """A cached balance that was not what the log says. It was corrected."""

    account: int
    text: str


class _Circuit:
    """After an error nobody asks for a moment, which is longer when it goes on. `alarms` are raised meanwhile."""

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
            # It answered for some time. (That it answers reads says nothing of writes, so that is not enough.)
            self._open_seconds = limits.CACHE_CIRCUIT_OPEN_SECONDS_MIN
        self._open_until = now + self._open_seconds
        self._open_seconds = min(2 * self._open_seconds, limits.CACHE_CIRCUIT_OPEN_SECONDS_MAX)


class Cache:
    """The cache, with a circuit for each shard: after an error nobody asks it for a moment.

    Every method raises CacheError. All keys of a shard carry its number in braces, so that they are on one node.
    """

    def __init__(self, address: str, key: str | None = None) -> None:
        """Take an address as `read_cache_address` knows it; it is connected to when it is used.

        With a `key` what is not sealed with it is nonsense.

        Raises:
            MissingExtraError: the driver is not installed.
        """
        require_extra("cache", "a cache")
        from tallystick.store.cache.client import cache_client  # noqa: PLC0415 - an extra

        self._seals = Seals(key)
        self._client = cache_client(read_cache_address(address))
        self._circuits: defaultdict[int, _Circuit] = defaultdict(_Circuit)
        # The client refuses more than its connections, where these may wait for one another.
        self._turns = asyncio.Semaphore(limits.CACHE_CONNECTIONS_MAX)

    def circuit_open(self, shard: int) -> bool:
        """Whether it failed a moment ago, and is left alone."""
        return self._circuits[shard].open

    async def close(self) -> None:
        """Close all connections."""
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._client.close(), limits.CACHE_TIMEOUT_SECONDS)

    async def read(self, shard: int, accounts: Sequence[int]) -> Cached:
        """What is cached of accounts of a shard, in one round trip."""
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
        if mark is not None:
            for account, text in zip(accounts, values[1:], strict=True):
                if text is None:
                    continue
                try:
                    opened = self._seals.opened(shard, account, text)
                    balance = read_balance(account, mark.generation, opened)
                except ValueError:
                    nonsense.append(account)
                else:
                    if balance is not None:
                        found[account] = balance
        return Cached(mark, found, nonsense)

    async def write(self, shard: int, balances: Iterable[tuple[int, str]], *, as_of: int = 0) -> int:
        """Set balances where the cache has older ones, in one round trip; how many were set, -1: no mark.

        `balances`: accounts, and the texts of their balances.
        `as_of`: a position up to which they are known to be the newest; 0: each up to its own.
        """
        packed: list[str] = []
        for account, balance in balances:
            packed += (str(account), self._seals.sealed(shard, account, balance))
        written = await self._run(
            shard, "write", [_mark_key(shard)], as_of, _prefix(shard), msgspec.msgpack.encode(packed)
        )
        if not isinstance(written, int):
            raise self._nonsense(shard)
        return written

    async def remove(self, shard: int, accounts: Iterable[int]) -> None:
        """Forget what is cached of accounts."""
        await self._ask(shard, "UNLINK", *[f"{_prefix(shard)}{account}" for account in accounts])

    async def follow(self, shard: int, follower: str) -> bytes | None:
        """Take or keep the lease of a shard's tailer: the text of its mark; None: somebody else has the lease."""
        keys = [_mark_key(shard), _lease_key(shard)]
        found = await self._run(shard, "follow", keys, follower, limits.CACHE_LEASE_MS)
        if not isinstance(found, _BULK):
            raise self._nonsense(shard)
        return found

    async def release(self, shard: int, follower: str) -> None:
        """Give the lease back."""
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
        """Set what a part of the log changed and move the mark; what was wrong. None: it is another mark.

        `good_ms`: for how long the mark is good from now on; 0: as long as before.
        """
        packed: list[str] = []
        for account, balance, before in passed:
            packed += (str(account), self._seals.sealed(shard, account, balance), before)
        wrong = await self._run(
            shard,
            "advance",
            [_mark_key(shard)],
            mark.text,
            moved.text,
            good_ms,
            _prefix(shard),
            msgspec.msgpack.encode(packed),
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
        """Run a script by its digest; one that the server does not know (any more) is sent whole."""
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
        """Leave it alone for a moment, and say so."""
        circuit = self._circuits[shard]
        circuit.failed()
        if (silenced := circuit.alarms.take()) is not None:
            _log.error("ALARM: balances are read from PostgreSQL", shard=shard, reason=why, silenced=silenced)
        return CacheError(why)


def _prefix(shard: int) -> str:
    return f"tallystick:{{{shard}}}:"


def _mark_key(shard: int) -> str:
    return f"{_prefix(shard)}mark"


def _lease_key(shard: int) -> str:
    return f"{_prefix(shard)}lease"
