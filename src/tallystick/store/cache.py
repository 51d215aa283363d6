"""The cache: a server that speaks the protocol of Valkey and Redis. Only this module knows its driver.

Nothing here is ever the truth: whoever gets a CacheError reads PostgreSQL.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from tallystick.domain import limits
from tallystick.domain.cached import (
    CachedBalance,
    Mark,
    read_balance,
    read_mark,
    write_balance,
    write_mark,
)
from tallystick.store.scripts import digest, script

_log = structlog.get_logger(__name__)

# The same protocol under several names; the last two are encrypted.
_SCHEMES: Final = {
    "valkey": "redis",
    "redis": "redis",
    "unix": "unix",
    "valkeys": "rediss",
    "rediss": "rediss",
}


class CacheError(Exception):
    """The cache did not do what was asked, or answered nonsense. PostgreSQL has the truth."""


class Cached(NamedTuple):
    """What the cache says of accounts of a shard, and its mark (None: it can say nothing now).

    `nonsense` are accounts about which it says what cannot be read.
    """

    mark: Mark | None
    balances: dict[int, CachedBalance]
    nonsense: list[int]


class Passed(NamedTuple):
    """A balance as a part of the log left it, and balance and held before that part."""

    balance: CachedBalance
    balance_before: int
    held_before: int


class Wrong(NamedTuple):
    """A cached balance that was not what the log says. It was corrected."""

    account: int
    text: str


def cache_address(address: str) -> str:
    """The address as the driver reads it.

    Raises:
        ValueError: no address of a cache; the message says what is expected, and repeats no password.
    """
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in _SCHEMES or not rest:
        raise ValueError('cache is to be like "valkey://host:6379/0", rediss://… with TLS, or unix:///path')
    try:
        parts = urlsplit(address)
        wrong = parts.port == 0 or (scheme != "unix" and not parts.hostname)
    except ValueError:
        wrong = True
    if wrong:
        raise ValueError("cache has no host, or no port that can be read")
    return f"{_SCHEMES[scheme]}://{rest}"


class Cache:
    """A connection to the cache, with a circuit: after an error nobody asks it for a moment.

    Every method raises CacheError. All keys of a shard carry its number in braces, so that they are on one node.
    """

    def __init__(self, address: str) -> None:
        """Take an address as `cache_address` knows it; it is connected to when it is used."""
        # It tries nothing again by itself: PostgreSQL is there, and quicker than a second try.
        self._client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            cache_address(address),
            max_connections=limits.CACHE_CONNECTIONS_MAX,
            socket_connect_timeout=limits.CACHE_TIMEOUT_SECONDS,
            socket_timeout=limits.CACHE_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._open_until = 0.0
        self._quiet_until = 0.0
        self._open_seconds = limits.CACHE_CIRCUIT_OPEN_SECONDS_MIN

    @property
    def circuit_open(self) -> bool:
        """Whether it failed a moment ago, and is left alone."""
        return time.monotonic() < self._open_until

    async def close(self) -> None:
        """Close all connections."""
        with suppress(RedisError, OSError, TimeoutError):
            await asyncio.wait_for(self._client.aclose(), limits.CACHE_TIMEOUT_SECONDS)

    async def read(self, shard: int, accounts: Sequence[int]) -> Cached:
        """What is cached of accounts of a shard, in one round trip."""
        prefix = _prefix(shard)
        values = await self._call("MGET", _mark_key(shard), *[f"{prefix}{account}" for account in accounts])
        if not isinstance(values, list) or len(values) != len(accounts) + 1:
            raise CacheError("the cache answered nonsense")
        mark = read_mark(values[0])
        found: dict[int, CachedBalance] = {}
        nonsense: list[int] = []
        if mark is not None:
            for account, text in zip(accounts, values[1:], strict=True):
                if text is None:
                    continue
                try:
                    balance = read_balance(account, mark.generation, text)
                except ValueError:
                    nonsense.append(account)
                else:
                    if balance is not None:
                        found[account] = balance
        return Cached(mark, found, nonsense)

    async def write(self, shard: int, balances: Iterable[CachedBalance], *, as_of: int = 0) -> int:
        """Set balances where the cache has older ones, in one round trip; how many were set, -1: no mark.

        `as_of`: a position up to which they are known to be the newest; 0: each up to its own.
        """
        packed: list[str] = []
        for balance in balances:
            packed += (str(balance.account), write_balance(balance))
        written = await self._run(
            "write", [_mark_key(shard)], as_of, _prefix(shard), msgspec.msgpack.encode(packed)
        )
        return int(written)

    async def follow(self, shard: int, follower: str) -> bytes | None:
        """Take or keep the lease of a shard's tailer: the text of its mark; None: somebody else has the lease."""
        keys = [_mark_key(shard), _lease_key(shard)]
        found = await self._run("follow", keys, follower, limits.CACHE_LEASE_MS)
        return None if found is None else bytes(found)

    async def release(self, shard: int, follower: str) -> None:
        """Give the lease back."""
        await self._run("release", [_lease_key(shard)], follower)

    async def begin(self, shard: int, expected: bytes, generation: str, position: int) -> bool:
        """Begin a new generation at a position, if the mark is still the expected one."""
        begun = await self._run(
            "begin",
            [_mark_key(shard)],
            expected,
            write_mark(generation, position),
            limits.CACHE_AGE_MS_MAX,
        )
        return bool(begun)

    async def advance(
        self, shard: int, mark: Mark, position: int, passed: Iterable[Passed], *, level: bool
    ) -> list[Wrong] | None:
        """Set what a part of the log changed and move the mark to its end; what was wrong. None: another mark.

        `level`: that is the end of the log, so what is cached is good for its time from now on.
        """
        packed: list[str] = []
        for one in passed:
            before = f"{one.balance_before} {one.held_before}"
            packed += (str(one.balance.account), write_balance(one.balance), before)
        moved = write_mark(mark.generation.decode(), position)
        wrong = await self._run(
            "advance",
            [_mark_key(shard)],
            mark.text,
            moved,
            limits.CACHE_AGE_MS_MAX if level else 0,
            _prefix(shard),
            msgspec.msgpack.encode(packed),
        )
        if wrong is None:
            return None
        return [
            Wrong(int(account), text.decode("ascii", "replace"))
            for account, text in zip(wrong[::2], wrong[1::2], strict=True)
        ]

    async def _run(self, name: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Run a script by its digest; one that the server does not know (any more) is sent whole."""
        parameters = (len(keys), *keys, *arguments)
        with suppress(NoScriptError):
            return await self._call("EVALSHA", digest(name), *parameters)
        return await self._call("EVAL", script(name), *parameters)

    async def _call(self, *command: Any) -> Any:
        if self.circuit_open:
            raise CacheError("the cache failed a moment ago")
        try:
            async with asyncio.timeout(limits.CACHE_TIMEOUT_SECONDS):
                answer = await self._client.execute_command(*command)  # type: ignore[no-untyped-call]  # of redis
        except NoScriptError:
            raise
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            now = time.monotonic()
            self._open_until = now + self._open_seconds
            self._open_seconds = min(2 * self._open_seconds, limits.CACHE_CIRCUIT_OPEN_SECONDS_MAX)
            what = "refused" if isinstance(error, ResponseError) else "cannot be reached"
            why = f"the cache {what}: {str(error) or type(error).__name__}"
            if now >= self._quiet_until:
                # Now and then, and not for each read until somebody has mended it.
                self._quiet_until = now + limits.CACHE_ALARM_INTERVAL_SECONDS
                _log.error("ALARM: balances are read from PostgreSQL", reason=why)
            raise CacheError(why) from error
        self._open_seconds = limits.CACHE_CIRCUIT_OPEN_SECONDS_MIN
        return answer


def _prefix(shard: int) -> str:
    return f"tallystick:{{{shard}}}:"


def _mark_key(shard: int) -> str:
    return f"{_prefix(shard)}mark"


def _lease_key(shard: int) -> str:
    return f"{_prefix(shard)}lease"
