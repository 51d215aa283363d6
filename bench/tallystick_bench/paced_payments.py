"""Payments at a steady rate through HTTP, beside something else that is measured."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import aiohttp

from tallystick_bench.payments import Payments, Recipe
from tallystick_bench.prepared_requests import PreparedRequest, single_requests

_PAYMENTS_AT_A_TIME: Final = 10_000
_UNDER_WAY_MAX: Final = 1_000
_REQUEST_SECONDS_MAX: Final = 30.0
_PAUSE_SECONDS: Final = 0.005


class PacedPayments:
    """A number of payments each second to a server. Payments that are late are not caught up on."""

    def __init__(self, recipe: Recipe, api_key: str, per_second: int) -> None:
        self.acknowledged = 0
        self.failed = 0
        self.per_second_wanted = per_second
        self._seconds = 0.0
        self._payments = Payments(recipe)
        self._api_key = api_key
        self._prepared: list[PreparedRequest] = []

    @property
    def per_second(self) -> float:
        """How many payments were made each second."""
        return self.acknowledged / self._seconds if self._seconds else 0.0

    @asynccontextmanager
    async def paying(self, url: str) -> AsyncIterator[None]:
        """Pay until the end of the block, and wait for the last answer."""
        headers = {"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS_MAX)
        async with aiohttp.ClientSession(url, headers=headers, timeout=timeout) as session:
            enough = asyncio.Event()
            started = time.perf_counter()
            payer = asyncio.create_task(self._pay(session, enough), name="paced payments")
            try:
                yield
            finally:
                enough.set()
                await payer
                self._seconds += time.perf_counter() - started

    async def _pay(self, session: aiohttp.ClientSession, enough: asyncio.Event) -> None:
        started = time.perf_counter()
        sent = 0
        async with asyncio.TaskGroup() as under_way:
            waiting: set[asyncio.Task[None]] = set()
            while not enough.is_set():
                due = int((time.perf_counter() - started) * self.per_second_wanted)
                for _ in range(min(due - sent, _UNDER_WAY_MAX - len(waiting))):
                    task = under_way.create_task(self._send(session, self._next()))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                sent = due
                await asyncio.sleep(_PAUSE_SECONDS)

    def _next(self) -> PreparedRequest:
        if not self._prepared:
            self._prepared = single_requests(self._payments.take(_PAYMENTS_AT_A_TIME))
        return self._prepared.pop()

    async def _send(self, session: aiohttp.ClientSession, request: PreparedRequest) -> None:
        headers = {"Idempotency-Key": request.key or ""}
        try:
            async with session.post(request.path, data=request.body, headers=headers) as answer:
                await answer.read()
                paid = answer.status == HTTPStatus.CREATED
        except (aiohttp.ClientError, TimeoutError):
            paid = False
        self.acknowledged += paid
        self.failed += not paid
