"""The primary: of the servers that a connection string names, the one that can be written to now. And its standbys.

The servers are asked at the same time, and each has a time limit of its own, so that one that hangs delays no client.
(asyncpg alone would ask one after the other, with one time limit for all of them.)
"""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import asyncpg
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from tallystick.background.pauses import jittered
from tallystick.domain import limits
from tallystick.store.address import connect_seconds, database_uri, servers_of, standbys_of
from tallystick.store.array_types import know_array_types
from tallystick.store.errors import CONNECTION_LOST

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
AnyConnection: TypeAlias = "Connection | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_Answer: TypeAlias = "Connection | None"

_REFUSED: Final = (asyncpg.PostgresError, *CONNECTION_LOST)
_NOT_WANTED: Final = asyncpg.TargetServerAttributeNotMatched

# The server of each connection string that was the primary last. It is only asked first: another one may be it now.
_last_primaries: Final[dict[str, str]] = {}


def _in_order(dsn: str) -> list[str]:
    """The servers of a connection string, the last primary first."""
    last = _last_primaries.get(dsn)
    return sorted(servers_of(dsn), key=lambda server: server != last)


async def connect_to_primary(dsn: str, **options: Any) -> Connection:
    """Connect to the only server of a connection string, or to the one of several that can be written to.

    A server that is not the primary is asked again until all have refused: it may become the primary meanwhile.

    Args:
        dsn: the connection string.
        options: what the driver's `connect` takes besides.

    Raises:
        PostgresError, or one of CONNECTION_LOST: all servers have refused.
        ProgrammingError: `dsn` is wrong.
    """
    options["timeout"] = connect_seconds(dsn)
    servers = _in_order(dsn)
    if len(servers) == 1:
        return await _connect(servers[0], options)
    search = _Search(servers, options)
    _last_primaries[dsn], connection = await search.found()
    return connection


async def connect_to_standby(dsn: str, **options: Any) -> Connection:
    """Connect to one of the standbys of a connection string that names several servers.

    Args:
        dsn: the connection string.
        options: what the driver's `connect` takes besides.

    Raises:
        PostgresError, or one of CONNECTION_LOST: no server is a standby that answers in time.
    """
    options["timeout"] = min(connect_seconds(dsn), limits.STANDBY_CONNECT_SECONDS_MAX)
    last_primary = _last_primaries.get(dsn)
    pairs = sorted(
        zip(servers_of(dsn), standbys_of(dsn), strict=True), key=lambda pair: pair[0] == last_primary
    )
    _, connection = await _Search([standby for _, standby in pairs], options).found()
    return connection


class _Search:
    """One search among several servers, for the first that answers and is what its connection string asks for."""

    def __init__(self, servers: Sequence[str], options: dict[str, Any]) -> None:
        self._servers = servers
        self._options = options
        self._refusals: dict[str, Exception] = {}

    async def found(self) -> tuple[str, Connection]:
        """The server and a connection to it; raises if all servers have refused."""
        asked = {
            asyncio.create_task(self._ask(server, place), name="search for a server"): server
            for place, server in enumerate(self._servers)
        }
        chosen: asyncio.Task[_Answer] | None = None
        try:
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            for asking in done:
                if (connection := asking.result()) is not None:
                    chosen = asking
                    return asked[asking], connection
        finally:
            for asking in asked:
                if asking is not chosen:
                    asking.cancel()
                    # Two servers may have answered at the same time.
                    asking.add_done_callback(_drop)
        raise self._reason()

    async def _ask(self, server: str, place: int) -> _Answer:
        """Ask one server until it is what is wanted. None: all have refused, this one last."""
        if place > 0:
            await asyncio.sleep(limits.PRIMARY_HEAD_START_SECONDS)
        while True:
            try:
                return await _connect(server, self._options)
            except _REFUSED as error:
                self._refusals[server] = error
            if len(self._refusals) == len(self._servers):
                return None
            await asyncio.sleep(jittered(limits.PRIMARY_LOOK_SECONDS))

    def _reason(self) -> Exception:
        """Why none was found: rather the error of a lost server than that the others are not what is wanted."""
        refusals = [self._refusals[server] for server in self._servers]
        return next((one for one in refusals if not isinstance(one, _NOT_WANTED)), refusals[0])


def _drop(asking: "asyncio.Task[_Answer]") -> None:
    if asking.cancelled() or asking.exception() is not None:
        return
    if (connection := asking.result()) is not None:
        connection.terminate()


async def _connect(server: str, options: dict[str, Any]) -> Connection:
    connection: Connection = await asyncpg.connect(database_uri(server), **options)
    know_array_types(connection)
    # The driver has no other way to the socket. Without these options a lost machine would be noticed after hours.
    found: socket.socket | None = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # noqa: SLF001
    if found is not None and found.family != socket.AF_UNIX:
        for level, option, value in _keep_alive(server):
            found.setsockopt(level, option, value)
    return connection


def _keep_alive(server: str) -> Iterator[tuple[int, int, int]]:
    """Options of a socket, as far as this platform has them. A connection string may ask for other values."""
    asked = conninfo_to_dict(server)
    if str(asked.get("keepalives", "1")) == "0":
        return
    yield socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
    for name, part, default in (
        ("TCP_KEEPIDLE", "keepalives_idle", limits.KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", "keepalives_interval", limits.KEEPALIVE_INTERVAL_SECONDS),
        ("TCP_KEEPCNT", "keepalives_count", limits.KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", "tcp_user_timeout", limits.TCP_USER_TIMEOUT_MS),
    ):
        if (option := getattr(socket, name, None)) is not None:
            yield socket.IPPROTO_TCP, option, int(asked.get(part) or default)


def connect_once(dsn: str, **options: Any) -> psycopg.Connection[TupleRow]:
    """Connect with libpq, for what runs once and waits: to the same server as `connect_to_primary`.

    Args:
        dsn: the connection string.
        options: what the driver's `connect` takes besides.

    Raises:
        OperationalError: no server can be reached, or none can be written to.
        ProgrammingError: `dsn` is wrong.
    """
    servers = _in_order(dsn)
    seconds = connect_seconds(dsn)
    if len(servers) == 1:
        return psycopg.connect(servers[0], connect_timeout=seconds, **options)
    refusals: list[psycopg.OperationalError] = []
    for server in servers:
        try:
            connection = psycopg.connect(
                server, connect_timeout=min(seconds, limits.COMMAND_CONNECT_SECONDS_MAX), **options
            )
        except psycopg.OperationalError as error:
            refusals.append(error)
        else:
            _last_primaries[dsn] = server
            return connection
    raise refusals[0]
