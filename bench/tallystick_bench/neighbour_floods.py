"""A tenant that floods a server, in a process of its own: `python -m tallystick_bench.neighbour_floods`.

It reads a `FloodOrder` as one line, writes a line when the flood has begun, and goes on until its input ends.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from typing import Any, Final

import aiohttp
import msgspec
import uvloop

from tallystick.domain import limits
from tallystick_bench.settings import ASSET, FUNDS_PER_ACCOUNT

BATCH_LOOPS: Final = 8
PAST_READERS: Final = 32
REFUSED_LOOPS: Final = 4
REFUSED_AT_A_TIME: Final = 500
STREAMS: Final = limits.STREAMS_PER_TENANT_DEFAULT
_OPENED_AT_A_TIME: Final = 50
_PAUSE_SECONDS: Final = 0.1
_PLACE: Final = b"@@@@@@@@@@@@@@@@"


class Flood(StrEnum):
    """What one tenant does while another is measured."""

    BATCH = "batch"
    BATCHES = "batches"
    STREAMS = "streams"
    PAST = "past"
    REFUSALS = "refusals"


class FloodOrder(msgspec.Struct, frozen=True):
    """The kind of flood, the server, and the API key. `wallets` pay each other; `payer` has a long history."""

    flood: Flood
    url: str
    api_key: str
    wallets: list[str]
    payer: str
    past: str
    small: bool = False


class _Flooding:
    """A flood: loops that send the next request when the last one is answered."""

    def __init__(self, order: FloodOrder, session: aiohttp.ClientSession) -> None:
        self._order = order
        self._session = session
        self.answered = 0
        self.refused = 0

    async def begin(self) -> list[Coroutine[Any, Any, None]]:
        """Start the loops of this flood. When it returns, its streams are open."""
        small = self._order.small
        match self._order.flood:
            case Flood.BATCH:
                return [self._loop(self._batch(5_000 if not small else 1_000))]
            case Flood.BATCHES:
                return [self._loop(self._batch(5_000 if not small else 500)) for _ in range(BATCH_LOOPS)]
            case Flood.PAST:
                return [self._loop(self._past) for _ in range(PAST_READERS)]
            case Flood.REFUSALS:
                refused = [
                    self._batch(REFUSED_AT_A_TIME, 2 * FUNDS_PER_ACCOUNT) for _ in range(REFUSED_LOOPS)
                ]
                return [self._loop(one) for one in refused]
            case Flood.STREAMS:
                listening: list[Coroutine[Any, Any, None]] = []
                count = 50 if small else STREAMS
                for _ in range(0, count, _OPENED_AT_A_TIME):
                    opened = await asyncio.gather(*(self._open() for _ in range(_OPENED_AT_A_TIME)))
                    listening += [self._listen(stream) for stream in opened]
                return [*listening, self._loop(self._batch(5_000 if not small else 500))]

    async def _loop(self, ask: Callable[[], Awaitable[int]]) -> None:
        while True:
            try:
                status = await ask()
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            if status < 400:  # noqa: PLR2004 - what HTTP calls an error
                self.answered += 1
            else:
                self.refused += 1
                await asyncio.sleep(_PAUSE_SECONDS)

    def _batch(self, size: int, amount: int = 1) -> Callable[[], Awaitable[int]]:
        wallets = self._order.wallets
        body = msgspec.json.encode(
            {
                "transfers": [
                    {
                        "source": wallets[number % len(wallets)],
                        "destination": wallets[(number + 1) % len(wallets)],
                        "amount": amount,
                        "asset": ASSET,
                        "idempotency_key": f"{_PLACE.decode()}{number}",
                    }
                    for number in range(size)
                ]
            }
        )

        async def ask() -> int:
            unique = body.replace(_PLACE, os.urandom(len(_PLACE) // 2).hex().encode())
            async with self._session.post("/v1/transfers/batch", data=unique) as answer:
                await answer.read()
                return answer.status

        return ask

    async def _past(self) -> int:
        path = f"/v1/accounts/{self._order.payer}/balance"
        async with self._session.get(path, params={"effective_at": self._order.past}) as answer:
            await answer.read()
            return answer.status

    async def _open(self) -> aiohttp.ClientResponse:
        stream = await self._session.get("/v1/events", headers={"Accept": "text/event-stream"})
        await stream.content.readany()
        return stream

    async def _listen(self, stream: aiohttp.ClientResponse) -> None:
        while await stream.content.readany():
            self.answered += 1


async def _main() -> None:
    lines = asyncio.StreamReader(limit=2**26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    order = msgspec.json.decode(await lines.readline(), type=FloodOrder)
    headers = {"Authorization": f"Bearer {order.api_key}", "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        order.url, headers=headers, connector=connector, timeout=aiohttp.ClientTimeout(total=None)
    ) as session:
        flooding = _Flooding(order, session)
        tasks = [asyncio.create_task(one) for one in await flooding.begin()]
        sys.stdout.write("on\n")
        sys.stdout.flush()
        await lines.read()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    sys.stdout.write(f"{flooding.answered} {flooding.refused}\n")


if __name__ == "__main__":
    uvloop.run(_main())
