"""Several servers in one connection string: the primary is found at once, also beside a server that hangs."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop
from psycopg.conninfo import make_conninfo

from tallystick import Ledger
from tallystick.domain import limits
from tallystick.store.connection import Database, close_connection, connect_writer
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.primary import connect_once
from tests.crash.databases import ShardDatabase
from tests.failover.pairs import Pair, own_server, socket_folder, with_servers
from tests.failover.payments import payer
from tests.ports import HOST, own_port

NewLoop = Callable[[], asyncio.AbstractEventLoop]

AT_ONCE_SECONDS = 1.0


async def test_a_server_that_hangs_is_listed_first(database: ShardDatabase, silent_port: int) -> None:
    """Each address is a new one, for which no primary is known."""
    dsn = database.server_dsn
    listed = with_servers(dsn, (HOST, silent_port), own_server(dsn))
    started = time.monotonic()
    connection = await connect_writer(listed)
    assert time.monotonic() - started < AT_ONCE_SECONDS
    await close_connection(connection)

    listed = with_servers(dsn, (HOST, silent_port), (HOST, own_port()), own_server(dsn))
    readers = Database(listed)
    await readers.open()
    started = time.monotonic()
    await asyncio.gather(*(readers.rows("ping") for _ in range(4)))
    assert time.monotonic() - started < AT_ONCE_SECONDS
    await readers.close()

    listed = with_servers(dsn, (HOST, silent_port), (HOST, silent_port), own_server(dsn))
    started = time.monotonic()
    async with payer(listed) as one:
        # Tools wait longer for a server that hangs, and only once.
        most_seconds = 2 * limits.COMMAND_CONNECT_SECONDS_MAX + 2 * AT_ONCE_SECONDS
        assert time.monotonic() - started < most_seconds
        await one.pay("first")


async def test_the_only_servers_hang_or_are_away(database: ShardDatabase, silent_port: int) -> None:
    dsn = with_servers(database.server_dsn, (HOST, silent_port), (HOST, own_port()), connect_timeout="1")
    started = time.monotonic()
    with pytest.raises(ShardUnavailableError):
        await connect_writer(dsn)
    assert 0.9 < time.monotonic() - started < 3 * AT_ONCE_SECONDS, "as long as the address says"


async def test_a_standby_is_no_primary(pair: Pair) -> None:
    standby = own_server(pair.standby_dsn)
    with pytest.raises(ShardUnavailableError, match="target attribute"):
        await connect_writer(with_servers(pair.standby_dsn, standby, standby))
    listed = with_servers(pair.standby_dsn, standby, (socket_folder(pair.primary), 5432))
    connection = await connect_writer(listed)
    assert not await connection.fetchval("SELECT pg_is_in_recovery()")
    await close_connection(connection)
    with connect_once(make_conninfo(listed, user="tallystick_login")) as tool:
        assert tool.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_lost_machine_is_noticed(database: ShardDatabase, new_loop: NewLoop) -> None:
    """With the event loop of servers, too."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(its_sockets_are_watched(database))


async def its_sockets_are_watched(database: ShardDatabase) -> None:
    async with through_tcp(database.server_dsn) as dsn:
        connection = await connect_writer(make_conninfo(dsn, keepalives_idle="7"))
        found = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == limits.KEEPALIVE_PROBES
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == limits.TCP_USER_TIMEOUT_MS
        await close_connection(connection)


@asynccontextmanager
async def through_tcp(dsn: str) -> AsyncIterator[str]:
    """The same server at a port of this machine."""
    folder, port = own_server(dsn)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while some := await reader.read(65_536):
                writer.write(some)
        writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        await asyncio.gather(pipe(reader, server_writer), pipe(server_reader, writer))

    async with await asyncio.start_server(carry, HOST, 0) as listener:
        yield with_servers(dsn, (HOST, listener.sockets[0].getsockname()[1]), sslmode="disable")


async def test_a_time_limit_in_the_address(database: ShardDatabase) -> None:
    """It is understood, of one server and of several."""
    dsn = make_conninfo(database.server_dsn, connect_timeout="3", tcp_user_timeout="4000", keepalives="1")
    for listed in (dsn, with_servers(dsn, own_server(dsn), (HOST, own_port()))):
        async with Ledger.connect(listed) as ledger:
            assert (await ledger.assets())[0].code
