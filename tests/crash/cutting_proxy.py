"""A proxy between the ledger and PostgreSQL that stops at a chosen moment, so that a test can cut the wire there.

It reads just enough of the protocol to know the moments: which statement a message is about, and whether a
COMMIT was answered (https://www.postgresql.org/docs/current/protocol-message-formats.html).
"""

import asyncio
import re
import shutil
import struct
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

SOCKET_NAME = ".s.PGSQL.5432"
LOST = (ConnectionError, asyncio.IncompleteReadError)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Moment(Enum):
    """Where a batch can be stopped: before a message goes on to PostgreSQL, or an answer back."""

    BEGIN = "before BEGIN"
    HEAD = "before the head of the log is read"
    COPY_TRANSACTIONS = "in the middle of COPY transactions"
    COPY_ENTRIES = "in the middle of COPY entries"
    COPY_REQUESTS = "in the middle of COPY requests"
    BATCH_ROW = "before the batch row"
    COMMIT = "before COMMIT"
    COMMITTED = "after COMMIT was carried out, before its answer"
    COMMITTED_IN_PART = "after COMMIT was carried out, in the middle of its answer"
    ROW = "in the middle of a row of an answer"


_STATEMENTS: Mapping[Moment, re.Pattern[bytes]] = {
    Moment.BEGIN: re.compile(rb"^BEGIN\b", re.MULTILINE),
    Moment.HEAD: re.compile(rb"^-- The end of the log"),
    Moment.BATCH_ROW: re.compile(rb"^INSERT INTO batches\b"),
    Moment.COMMIT: re.compile(rb"^COMMIT\b"),
}
_COPIES: Mapping[Moment, re.Pattern[bytes]] = {
    Moment.COPY_TRANSACTIONS: re.compile(rb'^COPY "?transactions\b'),
    Moment.COPY_ENTRIES: re.compile(rb'^COPY "?entries\b'),
    Moment.COPY_REQUESTS: re.compile(rb'^COPY "?requests\b'),
}


class Stop:
    """One moment at which the traffic waits until the test says how it goes on."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.reached = asyncio.Event()
        self._decided = asyncio.Event()
        self._cut = False
        self._delivered: asyncio.Event | None = None

    def cut_and_deliver_later(self) -> None:
        """Cut the wire on the client's side; what was on the way arrives when `deliver` says so."""
        self._delivered = asyncio.Event()
        self.cut()

    def deliver(self) -> None:
        """Let arrive what was on the way when the wire was cut."""
        assert self._delivered is not None
        self._delivered.set()

    async def wait_for_delivery(self) -> bool:
        """Wait until what was on the way may arrive; False when it never does."""
        if self._delivered is None:
            return False
        await self._delivered.wait()
        return True

    def cut(self) -> None:
        """Cut the wire here."""
        self._cut = True
        self._decided.set()

    def pass_on(self) -> None:
        """Go on as if nothing had been."""
        self._decided.set()

    async def wait_whether_to_cut(self) -> bool:
        """Say that the moment has come, and wait for what the test wants."""
        self.reached.set()
        await self._decided.wait()
        return self._cut


class CuttingProxy:
    """Listens on a Unix socket of its own and carries everything to the server of a DSN."""

    def __init__(self, dsn: str) -> None:
        parts = conninfo_to_dict(dsn)
        self._server_path = str(Path(str(parts["host"])) / SOCKET_NAME)
        self._folder = tempfile.mkdtemp(prefix="tallystick-proxy-")
        login = f"{parts['user']}:{quote(str(parts['password']), safe='')}"
        self.dsn = f"postgresql://{login}@/{parts['dbname']}?host={quote(self._folder, safe='')}&port=5432"
        self.reachable = True
        self._stops: list[Stop] = []
        self._listener: asyncio.Server | None = None
        self._wires: set[_Wire] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def stop_at(self, moment: Moment) -> Stop:
        """Stop once at a moment; several stops are taken in the order in which they were asked for."""
        stop = Stop(moment)
        self._stops.append(stop)
        return stop

    def cut_all(self) -> None:
        """Cut every connection that exists now."""
        for wire in list(self._wires):
            wire.cut()

    def take_stop(self, moment: Moment) -> Stop | None:
        """The stop that comes next, if this is its moment."""
        if self._stops and self._stops[0].moment is moment:
            return self._stops.pop(0)
        return None

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_unix_server(self._accept, str(Path(self._folder) / SOCKET_NAME))
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._listener is not None:
            self._listener.close()
            self.cut_all()
            await asyncio.gather(*self._tasks)
            await self._listener.wait_closed()
        shutil.rmtree(self._folder)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.reachable:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve((reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: Streams) -> None:
        try:
            server = await asyncio.open_unix_connection(self._server_path)
        except OSError:
            # There is no server, and the client hears so.
            client[1].transport.abort()
            return
        wire = _Wire(self, client, server)
        self._wires.add(wire)
        try:
            await wire.carry()
        finally:
            self._wires.discard(wire)


class _Wire:
    """One connection through the proxy."""

    def __init__(self, proxy: CuttingProxy, client: Streams, server: Streams) -> None:
        self._proxy = proxy
        self._client_reader, self._client_writer = client
        self._server_reader, self._server_writer = server
        self._prepared: dict[bytes, bytes] = {}
        self._statement = b""

    def cut(self) -> None:
        """Lose the connection, in both directions and with whatever was on the way."""
        self._client_writer.transport.abort()
        self._server_writer.transport.abort()

    async def carry(self) -> None:
        """Carry messages both ways until one side ends or the wire is cut."""
        both = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        # What the server said last still goes to the client.
        with suppress(*LOST):
            await self._client_writer.drain()
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        self._client_writer.close()
        self._server_writer.close()

    async def _requests(self) -> None:
        with suppress(*LOST):
            self._server_writer.write(await read_startup(self._client_reader))
            while True:
                kind, message = await read_message(self._client_reader)
                begun = self._follow(kind, message[5:])
                moment = self._moment(kind, begun)
                stop = None if moment is None else self._proxy.take_stop(moment)
                if stop is not None and await stop.wait_whether_to_cut():
                    if kind == b"d":
                        self._server_writer.write(message[: len(message) // 2])
                        await self._server_writer.drain()
                        # Ordered: half of the rows arrive, then the end of the connection.
                        self._server_writer.close()
                        self._client_writer.transport.abort()
                        return
                    self._client_writer.transport.abort()
                    if await stop.wait_for_delivery():
                        self._server_writer.write(message)
                        await self._server_writer.drain()
                    self._server_writer.close()
                    return
                self._server_writer.write(message)
                await self._server_writer.drain()

    async def _answers(self) -> None:
        with suppress(*LOST):
            while True:
                kind, message = await read_message(self._server_reader)
                stop = self._stop_at_answer(kind, message)
                if stop is not None and await stop.wait_whether_to_cut():
                    if stop.moment is Moment.COMMITTED:
                        self.cut()
                        return
                    self._client_writer.write(message[: len(message) // 2])
                    await self._client_writer.drain()
                    # Ordered: half of the message arrives, then the end of the connection.
                    self._client_writer.close()
                    self._server_writer.transport.abort()
                    return
                self._client_writer.write(message)
                await self._client_writer.drain()

    def _stop_at_answer(self, kind: bytes, message: bytes) -> Stop | None:
        if kind == b"D":
            return self._proxy.take_stop(Moment.ROW)
        if kind == b"C" and message[5:] == b"COMMIT\0":
            return self._proxy.take_stop(Moment.COMMITTED) or self._proxy.take_stop(Moment.COMMITTED_IN_PART)
        return None

    def _follow(self, kind: bytes, body: bytes) -> bool:
        """Keep track of the statement that is carried out; True when this message begins one."""
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._prepared[name] = text
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            self._statement = self._prepared[name]
        elif kind == b"Q":
            self._statement = body
        return kind in {b"B", b"Q"}

    def _moment(self, kind: bytes, begun: bool) -> Moment | None:
        moments = _STATEMENTS if begun else _COPIES if kind == b"d" else {}
        return next((moment for moment, text in moments.items() if text.search(self._statement)), None)


async def read_startup(reader: asyncio.StreamReader) -> bytes:
    """The first message, which has no kind."""
    length = await reader.readexactly(4)
    return length + await reader.readexactly(struct.unpack(">i", length)[0] - 4)


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The next message: its kind, and all of its bytes."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack(">i", head[1:])[0] - 4)
