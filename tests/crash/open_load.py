"""A load that comes at a fixed rate, whatever the server does, as clients who do not know of each other."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import aiohttp

from tests.crash.api_server import ApiServer

CONNECTIONS_MAX = 900
TRANSFERS_PER_CALL = 500


class Told(NamedTuple):
    """One answer: the status, whether it says when to come back, and how long it took."""

    status: int
    says_when: bool
    seconds: float
    ended_at: float


class Batches:
    """Sends batches of transfers, each with keys of its own."""

    def __init__(self, server: ApiServer, source: str, destination: str) -> None:
        self._url = f"{server.address}/v1/transfers/batch"
        self._headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
        one = {"source": source, "destination": destination, "amount": "1", "asset": "USD"}
        numbered = [{**one, "idempotency_key": f"@@ {number}"} for number in range(TRANSFERS_PER_CALL)]
        self._text = json.dumps({"transfers": numbered})
        self._count = 0
        self.told: list[Told] = []

    async def one_by_one(self, clients: int, seconds: float) -> float:
        """Batches per second that some clients get answered, each of whom waits for its answers."""
        async with self._session() as session:
            begun = time.monotonic()
            before = self._answered

            async def go_on() -> None:
                while time.monotonic() < begun + seconds:
                    await self._send(session)

            await asyncio.gather(*(go_on() for _ in range(clients)))
            return (self._answered - before) / (time.monotonic() - begun)

    async def at_rate(self, rate_per_second: float, seconds: float) -> None:
        """Send at a rate, and wait for all answers."""
        async with self._session() as session:
            begun = time.monotonic()
            sent = []
            for number in range(int(rate_per_second * seconds)):
                await asyncio.sleep(max(0.0, begun + number / rate_per_second - time.monotonic()))
                sent.append(asyncio.create_task(self._send(session)))
            await asyncio.gather(*sent)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(told.status for told in self.told)

    def slowest(self, wanted: Callable[[Told], bool]) -> float:
        """Seconds for the slowest of some answers."""
        return max((told.seconds for told in self.told if wanted(told)), default=0.0)

    @property
    def _answered(self) -> int:
        return self.statuses[200]

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            timeout=aiohttp.ClientTimeout(total=60),
        )

    async def _send(self, session: aiohttp.ClientSession) -> None:
        self._count += 1
        body = self._text.replace("@@", f"{id(self)}-{self._count}").encode()
        begun = time.monotonic()
        async with session.post(self._url, data=body) as response:
            await response.read()
            ended = time.monotonic()
            self.told.append(Told(response.status, "Retry-After" in response.headers, ended - begun, ended))
