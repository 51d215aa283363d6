"""A wire to the cache on which what is sent is held up at random, so that what was sent later may arrive before it.

What is on it arrives, though whoever sent it has given up, or was killed.
"""

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

CHUNK_BYTES: Final = 2**20
# Shares of what is sent, and for how many seconds at most it is held up. The last is longer than anybody waits.
WRITE_HELD_SHARE: Final = 0.3
WRITE_HELD_SECONDS_MAX: Final = 0.08
READ_HELD_SHARE: Final = 0.05
READ_HELD_SECONDS_MAX: Final = 0.02
LATE_SHARE: Final = 0.02
LATE_SECONDS_MIN: Final = 0.15
LATE_SECONDS_MAX: Final = 0.9
_TURNS: Final = 5


class SlowWire:
    """What listens on one socket, and passes on to another one."""

    def __init__(self, listen: Path, cache: Path, chance: random.Random) -> None:
        """Take both sockets; each connection is held up by itself."""
        self._listen = listen
        self._cache = cache
        self._chance = chance
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._senders: set[asyncio.StreamWriter] = set()
        self._cut = False
        self.held = 0
        self.late = 0

    @property
    def address(self) -> str:
        return f"unix://{self._listen}"

    def cut(self, *, cut: bool) -> None:
        """Let nobody through, or again."""
        self._cut = cut
        if cut:
            for sender in self._senders:
                sender.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._connected, self._listen)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for _turn in range(_TURNS):
            # Who was let in a moment ago is told to us in the next turns of the loop.
            await asyncio.sleep(0)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        for sender in self._senders:
            sender.close()
            with suppress(OSError):
                await sender.wait_closed()
        self._listen.unlink(missing_ok=True)

    def _connected(self, reader: asyncio.StreamReader, sender: asyncio.StreamWriter) -> None:
        """Serve a connection. (No coroutine: one that is cancelled before it began would leave it open.)"""
        self._senders.add(sender)
        task = asyncio.create_task(self._serve(reader, sender))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, sender: asyncio.StreamWriter) -> None:
        try:
            if not self._cut:
                await self._pass_on(reader, sender)
        except (OSError, asyncio.CancelledError):
            pass  # the cache is gone, or the test is over; the event loop would shout about either
        finally:
            self._senders.discard(sender)
            sender.close()

    async def _pass_on(self, reader: asyncio.StreamReader, sender: asyncio.StreamWriter) -> None:
        answers, cache = await asyncio.open_unix_connection(self._cache)
        answering = asyncio.create_task(_copy(answers, sender))
        try:
            while sent := await reader.read(CHUNK_BYTES):
                await asyncio.sleep(self._seconds(sent))
                cache.write(sent)
                await cache.drain()
        finally:
            cache.close()
            await answering

    def _seconds(self, sent: bytes) -> float:
        """For how long to hold it up."""
        write = b"EVAL" in sent
        if write and self._chance.random() < LATE_SHARE:
            self.late += 1
            return self._chance.uniform(LATE_SECONDS_MIN, LATE_SECONDS_MAX)
        share, seconds = (
            (WRITE_HELD_SHARE, WRITE_HELD_SECONDS_MAX) if write else (READ_HELD_SHARE, READ_HELD_SECONDS_MAX)
        )
        if self._chance.random() < share:
            self.held += 1
            return self._chance.uniform(0, seconds)
        return 0.0


async def _copy(answers: asyncio.StreamReader, sender: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while answer := await answers.read(CHUNK_BYTES):
            sender.write(answer)
            await sender.drain()
    sender.close()
