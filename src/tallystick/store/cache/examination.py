"""What a cache server says about itself: its version, and how much memory it may use."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from tallystick.domain import limits
from tallystick.extras import require_extra
from tallystick.store.cache.address import CacheAddress
from tallystick.store.cache.balances import CacheError, CacheRefusedError

_KEY = "tallystick:doctor"
"""A key that is never set. The user of a ledger may read the keys with this prefix."""


class CacheExamination(NamedTuple):
    """A cache server."""

    program: str
    """Its name and version."""
    version: int
    """The first number of the version of Redis that it is compatible with."""
    memory_bytes_max: int
    """0: any number."""
    policy: str
    """What it does when the memory is full (`maxmemory-policy`)."""


def cache_servers(address: CacheAddress) -> list[CacheAddress]:
    """The servers to examine: each node that the address of a cluster names, else the one server."""
    if address.kind != "cluster":
        return [address]
    return [replace(address, kind="server", hosts=(host,)) for host in address.hosts]


async def examine_cache(address: CacheAddress) -> CacheExamination | None:
    """Examine one server, or the one that Sentinels name; None if it works and may not be examined by its user.

    Raises:
        CacheError: it cannot be reached, or refuses the user.
        MissingExtraError: the client is not installed.
    """
    require_extra("cache", "a cache")
    from tallystick.store.cache.client import cache_client  # noqa: PLC0415 - an extra

    client = cache_client(address)
    try:
        async with asyncio.timeout(limits.CONNECT_TIMEOUT_SECONDS):
            try:
                await client.send("GET", _KEY)
            except CacheRefusedError as error:
                if not str(error).startswith("MOVED"):  # the key of another node of a cluster
                    raise
            try:
                server: Mapping[str, object] = await client.send("INFO", "server")
                memory: Mapping[str, object] = await client.send("INFO", "memory")
            except CacheRefusedError:
                return None
    except (CacheRefusedError, OSError, TimeoutError) as error:
        raise CacheError(str(error) or type(error).__name__) from error
    finally:
        await client.close()
    version = str(server["redis_version"])
    own = server.get("valkey_version")
    return CacheExamination(
        f"Redis {version}" if own is None else f"Valkey {own}",
        int(version.partition(".")[0]),
        int(str(memory["maxmemory"])),
        str(memory["maxmemory_policy"]),
    )
