"""Listeners to balance streams, like the pages of many wallets. They use little of the machine themselves."""

import asyncio
import random
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import urlsplit

import aiohttp
import msgspec

from tallystick_bench.api_server import BenchedServer
from tallystick_bench.errors import BenchError
from tallystick_bench.measurement import Latency, latency_of
from tallystick_bench.settings import ASSET

_EVENT: Final = b"\ndata: "
_OPENED_AT_A_TIME: Final = 50
_OPEN_SECONDS_MAX: Final = 30.0
_PROBE_PAUSE_SECONDS: Final = 0.05
_MEGABYTE: Final = 1024 * 1024


class StreamResult(msgspec.Struct, frozen=True):
    """What the listeners received, and what they cost the server.

    `pay_to_stream_ms` is the time from sending a payment until a stream brings its balance, one payment at a time. It
    is more than the time from commit to stream. Memory is the highest total of the server's processes, with all
    streams open.
    """

    streams: int
    events: int
    events_per_second: float
    pay_to_stream_ms: Latency
    server_memory_mb: float
    server_memory_mb_without: float


class Listeners:
    """Opens its streams for a while, again and again."""

    def __init__(
        self, server: BenchedServer, api_key: str, wallets: Sequence[str], count: int, seed: int
    ) -> None:
        chooser = random.Random(seed)  # nosec B311  # noqa: S311 - reproducible, which is what randomness is for here
        self._server = server
        self._api_key = api_key
        self._accounts = chooser.choices(wallets, k=count)
        self._payer, self._payee = chooser.sample(wallets, 2)
        self._events = 0
        self._seconds = 0.0
        self._latencies_seconds: array[float] = array("d")
        self._memory_bytes = 0
        self._memory_bytes_without = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen until the end of the block. When it begins, every stream is open and has sent its first balance."""
        self._memory_bytes_without = max(self._memory_bytes_without, self._server.memory_bytes())
        streams: list[_Stream] = []
        try:
            for start in range(0, len(self._accounts), _OPENED_AT_A_TIME):
                part = self._accounts[start : start + _OPENED_AT_A_TIME]
                streams += await asyncio.gather(*map(self._open, part))
            before = sum(stream.events for stream in streams)
            started = time.perf_counter()
            enough = asyncio.Event()
            probe = asyncio.create_task(self._probe(enough), name="probe of a stream")
            try:
                yield
            finally:
                enough.set()
                await probe
            self._seconds += time.perf_counter() - started
            self._events += sum(stream.events for stream in streams) - before
            self._memory_bytes = max(self._memory_bytes, self._server.memory_bytes())
            if lost := sum(stream.ended for stream in streams):
                raise BenchError(f"{lost} of {len(streams)} streams ended during the measurement")
        finally:
            for stream in streams:
                stream.close()

    def result(self) -> StreamResult:
        """The results of listening."""
        return StreamResult(
            streams=len(self._accounts),
            events=self._events,
            events_per_second=round(self._events / self._seconds, 1) if self._seconds else 0.0,
            pay_to_stream_ms=latency_of(self._latencies_seconds),
            server_memory_mb=round(self._memory_bytes / _MEGABYTE, 1),
            server_memory_mb_without=round(self._memory_bytes_without / _MEGABYTE, 1),
        )

    async def _open(self, account: str) -> "_Stream":
        place = urlsplit(self._server.url)
        asked = (
            f"GET /v1/accounts/{account}/balance HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"Authorization: Bearer {self._api_key}\r\nAccept: text/event-stream\r\n\r\n"
        )
        _, stream = await asyncio.get_running_loop().create_connection(
            lambda: _Stream(asked.encode()), str(place.hostname), int(place.port or 0)
        )
        try:
            await asyncio.wait_for(stream.begun, _OPEN_SECONDS_MAX)
        except TimeoutError:
            stream.close()
            raise BenchError("a stream sent nothing: try fewer, or see the server's log") from None
        return stream

    async def _probe(self, enough: asyncio.Event) -> None:
        """Pay one account repeatedly, and measure how long until its stream shows it."""
        headers = {"Authorization": f"Bearer {self._api_key}"}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_OPEN_SECONDS_MAX)
        async with (
            aiohttp.ClientSession(self._server.url, headers=headers, timeout=timeout) as session,
            session.get(
                f"/v1/accounts/{self._payee}/balance", headers={"Accept": "text/event-stream"}
            ) as stream,
        ):
            if stream.status != HTTPStatus.OK:
                raise BenchError(f"a stream was answered {stream.status}: {await stream.text()}")
            seen: dict[int, float] = {}
            come = asyncio.Event()
            reader = asyncio.create_task(_read_positions(stream, seen, come), name="reader of a stream")
            try:
                while not enough.is_set():
                    sent = time.perf_counter()
                    position = await self._pay(session)
                    while position not in seen:
                        come.clear()
                        await asyncio.wait_for(come.wait(), _OPEN_SECONDS_MAX)
                    self._latencies_seconds.append(seen[position] - sent)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(enough.wait(), _PROBE_PAUSE_SECONDS)
            finally:
                reader.cancel()

    async def _pay(self, session: aiohttp.ClientSession) -> int:
        body = {"source": self._payer, "destination": self._payee, "amount": "1", "asset": ASSET}
        key = f"probe-{random.randbytes(8).hex()}"  # nosec B311  # noqa: S311 - a random key, no secret
        async with session.post("/v1/transfers", json=body, headers={"Idempotency-Key": key}) as answer:
            if answer.status != HTTPStatus.CREATED:
                raise BenchError(f"a payment was answered {answer.status}")
            return int((await answer.json())["position"])


class _Stream(asyncio.Protocol):
    """One stream: it counts events and keeps nothing."""

    def __init__(self, asked: bytes) -> None:
        self.events = 0
        self.ended = False
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked = asked
        self._tail = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._asked)

    def data_received(self, data: bytes) -> None:
        """Count events. One may arrive in two pieces."""
        text = self._tail + data
        self.events += text.count(_EVENT)
        self._tail = text[1 - len(_EVENT) :]
        if self.events and not self.begun.done():
            self.begun.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream has ended."""
        self.ended = True
        if not self.begun.done():
            self.begun.set_exception(
                BenchError(f"a stream was refused: {self._tail.decode(errors='replace')}")
            )

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()


async def _read_positions(
    stream: aiohttp.ClientResponse, seen: dict[int, float], come: asyncio.Event
) -> None:
    async for line in stream.content:
        if line.startswith(b"id: "):
            seen[int(line[4:])] = time.perf_counter()
            come.set()
