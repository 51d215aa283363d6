"""Standbys: servers of a shard that follow its primary, and answer the reads that ask for one.

What they answer may be old. So it is never used to write, and never cached.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Final, NamedTuple

import asyncpg

from tallystick.domain import limits
from tallystick.domain.cached import CachedBalance
from tallystick.store.address import standbys_of
from tallystick.store.connection import SETTINGS, Rows, close_connection
from tallystick.store.errors import CONNECTION_LOST, ShardUnavailableError, translated
from tallystick.store.primary import Connection, connect_to_standby
from tallystick.store.queries import query
from tallystick.store.schema_version import session_name

_FAILED: Final = (asyncpg.PostgresError, *CONNECTION_LOST)


class StandbyBalances(NamedTuple):
    """Balances of accounts as a standby has them, and the last position of its log at that moment."""

    last_position: int
    balances: list[CachedBalance]


class Standbys:
    """Connections to the standbys of one shard, made when they are needed.

    They are no pool of the driver, which would wait for a server that hangs to cancel what it was asked.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: list[Connection] = []
        self._turns = asyncio.Semaphore(limits.STANDBY_CONNECTIONS_MAX)
        self._searching = asyncio.Lock()
        self._search_again_at = 0.0
        self._closed = False

    @cached_property
    def are_named(self) -> bool:
        """Whether the connection string names servers besides the primary."""
        return bool(standbys_of(self._dsn))

    async def balances(self, accounts: Sequence[int]) -> StandbyBalances:
        """The newest balances of accounts that a standby has. Accounts that it does not know are left out.

        Raises:
            ShardUnavailableError: no standby answers in time.
        """
        with translated():
            async with asyncio.timeout(limits.STANDBY_SECONDS_MAX), self._turns:
                rows = await self._rows(accounts)
        return StandbyBalances(rows[0][1], [CachedBalance(*row[2:]) for row in rows if row[2] is not None])

    async def _rows(self, accounts: Sequence[int]) -> Rows:
        while self._idle:
            try:
                return await self._ask(self._idle.pop(), accounts)
            except _FAILED:
                # The others may lead to the same server, which is lost or is a primary now.
                self._drop_idle()
        return await self._ask(await self._connect(), accounts)

    async def _ask(self, connection: Connection, accounts: Sequence[int]) -> Rows:
        is_standby = False
        try:
            rows = await connection.fetch(
                query("standby_balances"), accounts, timeout=limits.STANDBY_READ_SECONDS_MAX
            )
            is_standby = rows[0][0]
        finally:
            if is_standby and not self._closed:
                self._idle.append(connection)
            else:
                connection.terminate()
        if not is_standby:
            raise ConnectionError("the server is no standby any more")
        return rows

    async def _connect(self) -> Connection:
        # One search at a time, and a pause after one in vain: reads that find no standby must not keep the primary
        # busy, which each search asks, too.
        async with self._searching:
            if time.monotonic() < self._search_again_at:
                raise ShardUnavailableError("no standby was found a moment ago")
            try:
                return await connect_to_standby(
                    self._dsn,
                    server_settings={**SETTINGS, "application_name": session_name("standby reader")},
                )
            except _FAILED:
                self._search_again_at = time.monotonic() + limits.STANDBY_PAUSE_SECONDS
                raise

    def _drop_idle(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await asyncio.gather(*map(close_connection, self._idle))
        self._idle.clear()
