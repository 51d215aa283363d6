"""The test's side of the processes of `serving_process`: they are started, asked, and killed."""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from tests.lives import lives

READY_SECONDS_MAX: Final = 60.0
ANSWER_BYTES_MAX: Final = 2**22
_LOOK_SECONDS: Final = 0.005
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
REPOSITORY: Final = Path(__file__).parents[2]


class LostError(ConnectionError):
    """The server did not answer: it was killed."""


class NotServedError(Exception):
    """The server answered that it cannot serve this now."""


class Starter:
    """The program that forks server processes."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.cache.serving_process",
                stdin=PIPE, stdout=PIPE, stderr=log, cwd=REPOSITORY,
            )  # fmt: skip
        return self

    async def start(self, **what: Any) -> int:
        """Start a process; its number."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            return int(await self._process.stdout.readline())

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


class ServerProcess:
    """One server, which may die and live again; `life` counts how often it was started."""

    def __init__(
        self,
        starter: Starter,
        socket: Path,
        dsns: Mapping[int, str],
        cache: str,
        *,
        planted: str = "",
        quick: bool = True,
    ) -> None:
        self._starter = starter
        self._socket = socket
        self._settings = {"dsns": dsns, "cache": cache, "planted": planted, "quick": quick}
        self._free: list[Connection] = []
        self._pid = 0
        self.life = 0
        self.names: dict[str, int] = {}

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self._socket.unlink(missing_ok=True)
        self.life += 1
        self.close()
        self._pid = await self._starter.start(socket=str(self._socket), **self._settings)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._socket.exists():
            assert time.monotonic() < deadline, "the server did not start in time: see its log"
            await asyncio.sleep(_LOOK_SECONDS)
        self.names = await self.ask("names")

    def signal(self, number: signal.Signals) -> None:
        """Kill it, or let it stand still and go on."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def end(self) -> None:
        """Kill it, and leave nothing in its folder."""
        self.signal(signal.SIGKILL)
        self.close()
        self._socket.unlink(missing_ok=True)

    async def gone(self, seconds_max: float = READY_SECONDS_MAX) -> None:
        """Wait for its end."""
        deadline = time.monotonic() + seconds_max
        while lives(self._pid):
            assert time.monotonic() < deadline, "the server did not end in time"
            await asyncio.sleep(_LOOK_SECONDS)
        self._pid = 0
        self._socket.unlink(missing_ok=True)

    async def ask(self, what: str, **arguments: Any) -> Any:
        """Ask it something.

        Raises:
            LostError: it was killed, and may have done what was asked.
            NotServedError: it cannot do it now.
        """
        life = self.life
        try:
            connection = self._free.pop() if self._free else await self._connected()
            line = await _asked(connection, json.dumps({"what": what, **arguments}).encode() + b"\n")
        except OSError as error:
            raise LostError(str(error)) from error
        if not line.endswith(b"\n") or life != self.life:
            connection[1].close()
            raise LostError("no answer")
        self._free.append(connection)
        answer = json.loads(line)
        if "error" in answer:
            raise NotServedError(answer["error"])
        return answer["answer"]

    def close(self) -> None:
        """Close the connections to it."""
        while self._free:
            self._free.pop()[1].close()

    async def _connected(self) -> Connection:
        return await asyncio.open_unix_connection(self._socket, limit=ANSWER_BYTES_MAX)


async def _asked(connection: Connection, line: bytes) -> bytes:
    reader, writer = connection
    try:
        writer.write(line)
        return await reader.readline()
    except BaseException:
        writer.close()
        raise
