"""Look up names in the hosts file and the DNS. Each look-up has a time limit, and none waits for another."""

import asyncio
import socket
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import AsyncResolver

from tallystick.domain import limits


class NameResolver(AbstractResolver):
    """Looks up names without threads, so that slow names do not delay others.

    (The resolver of the C library needs a thread for each name that it waits for, and all share a few of them.)
    """

    def __init__(self, name_servers: Sequence[str] = ()) -> None:
        """`name_servers` (`address:port`) replace the name servers of the machine's configuration."""
        self._name_servers = name_servers
        self._resolver: AsyncResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses behind a name; raises OSError if there are none, or the answer takes too long."""
        try:
            async with asyncio.timeout(limits.WEBHOOK_RESOLVE_SECONDS_MAX):
                return await self._open().resolve(host, port, family)
        except TimeoutError:
            raise OSError(None, "the name servers do not answer") from None
        except ValueError as error:
            # This cannot be a name.
            raise OSError(None, "not a name") from error

    async def close(self) -> None:
        """Cancel all look-ups."""
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None

    def _open(self) -> AsyncResolver:
        if self._resolver is None:
            self._resolver = AsyncResolver(
                nameservers=self._name_servers or None,
                timeout=limits.WEBHOOK_RESOLVE_SECONDS_MAX / limits.WEBHOOK_RESOLVE_TRIES,
                tries=limits.WEBHOOK_RESOLVE_TRIES,
            )
        return self._resolver
