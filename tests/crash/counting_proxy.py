"""A proxy that counts what the ledger asks of PostgreSQL over its writing connections, and cuts the wire at one.

An exchange is what the client sends before it waits: all messages up to one that calls for an answer, and for a COPY
the rows too. `CUT_BEFORE` loses all of it; `CUT_AFTER` lets PostgreSQL carry it out, and loses the answer. (What
happens in the middle of the rows is tested with the batcher.)
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

from tests.crash.cutting_proxy import LOST, SOCKET_NAME, Streams, read_message, read_startup
from tests.crash.points import Fault, Trap

_WRITER: Final = b"tallystick writer"
# Query, Sync and CopyDone call for an answer.
_CALLS: Final = frozenset({b"Q", b"S", b"c"})
_PARTS: Final = frozenset({b"P", b"D", b"B", b"E", b"C", b"d"})
# ReadyForQuery: PostgreSQL has done what was asked, and waits for more.
_DONE: Final = b"Z"


class CountingProxy:
    """Listens on a Unix socket of its own, and carries everything to the server of a DSN."""

    def __init__(self, dsn: str, who: str, trap: Trap, folder: Path) -> None:
        """Take the folder for the socket: it is the caller's, for who is crashed removes nothing."""
        parts = conninfo_to_dict(dsn)
        self.who = who
        self.trap = trap
        self.server_path = str(Path(str(parts["host"])) / SOCKET_NAME)
        self._socket = folder / SOCKET_NAME
        login = f"{parts['user']}:{quote(str(parts['password']), safe='')}"
        self.dsn = f"postgresql://{login}@/{parts['dbname']}?host={quote(str(folder), safe='')}&port=5432"
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_unix_server(self._serve, self._socket)
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._listener is not None:
            self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = await asyncio.open_unix_connection(self.server_path)
        with suppress(*LOST):
            startup = await read_startup(reader)
            server[1].write(startup)
            await _Wire(self, (reader, writer), server, counted=_WRITER in startup).carry()
        writer.close()
        server[1].close()


class _Wire:
    """One connection through the proxy."""

    def __init__(self, proxy: CountingProxy, client: Streams, server: Streams, *, counted: bool) -> None:
        self._proxy = proxy
        self._client_reader, self._client_writer = client
        self._server_reader, self._server_writer = server
        self._counted = counted
        self._prepared: dict[bytes, bytes] = {}
        self._statement = b""
        self._loses_answer = False

    async def carry(self) -> None:
        """Carry messages both ways until one side ends or the wire is cut."""
        both = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        with suppress(*LOST):
            await self._client_writer.drain()
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)

    async def _requests(self) -> None:
        exchange = b""
        while True:
            kind, message = await read_message(self._client_reader)
            self._follow(kind, message[5:])
            exchange += message
            if kind in _PARTS or (kind == b"Q" and self._statement.startswith(b"COPY")):
                continue
            if self._counted and kind in _CALLS:
                fault = self._proxy.trap.pass_by(self._proxy.who, self._statement_line())
                if fault is Fault.CUT_BEFORE:
                    self._cut(fault)
                    return
                self._loses_answer = fault is Fault.CUT_AFTER
            self._server_writer.write(exchange)
            exchange = b""
            await self._server_writer.drain()

    async def _answers(self) -> None:
        while True:
            kind, message = await read_message(self._server_reader)
            if self._loses_answer:
                if kind == _DONE:
                    self._cut(Fault.CUT_AFTER)
                    return
                continue
            self._client_writer.write(message)
            await self._client_writer.drain()

    def _cut(self, fault: Fault) -> None:
        self._proxy.trap.hit(fault)
        self._client_writer.transport.abort()
        self._server_writer.transport.abort()

    def _follow(self, kind: bytes, body: bytes) -> None:
        """Keep track of the statement that is carried out."""
        if kind == b"P":
            name, self._statement, _ = body.split(b"\0", 2)
            self._prepared[name] = self._statement
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            self._statement = self._prepared[name]
        elif kind == b"Q":
            self._statement = body

    def _statement_line(self) -> str:
        lines = self._statement.rstrip(b"\0").decode().splitlines()
        return next((line for line in lines if not line.startswith("--")), "")[:60]
