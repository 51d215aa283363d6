"""The pulse of a shard: regular round trips, so that a database that hangs is detected before requests wait for it.

A database that hangs keeps its connections and accepts new ones. Only the missing answer shows it.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.ledger.condition import Condition, State
from tallystick.store.connection import connect_writer, ping
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.primary import Connection

_log = structlog.get_logger(__name__)


class Pulse:
    """Checks the pulse of one shard, over a separate connection."""

    def __init__(
        self, shard: int, dsn: str, condition: Condition, on_silence: Callable[[], Awaitable[None]]
    ) -> None:
        """`on_silence` is called when the shard stops answering."""
        self._shard = shard
        self._dsn = dsn
        self._condition = condition
        self._on_silence = on_silence
        self._connection: Connection | None = None
        self._worker = Worker(
            "pulse", self._feel, interval_seconds=limits.PULSE_INTERVAL_SECONDS, shard=shard
        )

    def start(self) -> None:
        """Begin to check."""
        self._worker.start()

    async def stop(self) -> None:
        """Stop checking."""
        await self._worker.stop()
        self._drop()

    async def _feel(self) -> None:
        beat = asyncio.create_task(self._beat(), name=f"beat of shard {self._shard}")
        try:
            if not await _soon(beat) and not self._condition.silent:
                self._condition.begins(State.SILENT, "it does not answer")
                _log.warning("shard does not answer", shard=self._shard)
                await self._on_silence()
                # The next beat uses a new connection: if the shard has several servers, another one may answer.
                beat.cancel()
                await asyncio.gather(beat, return_exceptions=True)
                self._drop()
            else:
                await beat
        finally:
            beat.cancel()

    async def _beat(self) -> None:
        """Make one round trip. If there is no answer, the next one uses a new connection."""
        try:
            async with asyncio.timeout(limits.PULSE_SECONDS_MAX):
                if self._connection is None:
                    self._connection = await connect_writer(self._dsn, "pulse")
                await ping(self._connection)
        except TimeoutError:
            self._drop()
            return
        except ShardUnavailableError:
            # The connection was refused or ended. Requests get that error at once.
            self._drop()
        if self._condition.silent:
            _log.info("shard answers again", shard=self._shard)
        self._condition.is_over(State.SILENT)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def _soon(beat: asyncio.Task[None]) -> bool:
    """Whether a beat comes in time. The clock alone is not enough: this machine may have been suspended."""
    for _ in range(limits.PULSE_LOOKS):
        await asyncio.wait([beat], timeout=limits.PULSE_LOOK_SECONDS)
        if beat.done():
            return True
    return False
