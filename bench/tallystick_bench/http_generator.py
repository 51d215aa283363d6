"""A process that sends HTTP requests: `python -m tallystick_bench.http_generator`.

The first line on standard input is an `Order`: the address, and the payments or reads. Each further line asks for a
turn, and is answered with one line on standard output. It is a process of its own, so that it takes no time from the
process that measures.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import aiohttp
import msgspec
import uvloop

from tallystick_bench.generator_messages import Order, Turn, TurnReport
from tallystick_bench.measurement import Tally
from tallystick_bench.payments import Payments
from tallystick_bench.prepared_requests import (
    PreparedRequest,
    balance_requests,
    balances_requests,
    batch_requests,
    single_requests,
)

_FIRST_GUESS_PER_SECOND: Final = 8_000
_FIRST_GUESS_OF_BATCHES_PER_SECOND: Final = 40_000
_RESERVE: Final = 2
_PAUSE_AFTER_FAILURE_SECONDS: Final = 0.1
_REQUEST_SECONDS_MAX: Final = 30.0


class _Outcome(msgspec.Struct):
    refusal: msgspec.Raw | None


class _BatchAnswer(msgspec.Struct):
    outcomes: list[_Outcome]


_decode_batch = msgspec.json.Decoder(_BatchAnswer).decode


class _Generator:
    """Sends requests over connections that stay open."""

    def __init__(self, order: Order, session: aiohttp.ClientSession) -> None:
        self._order = order
        self._session = session
        self._payments = Payments(order.recipe)
        self._per_second: float = (
            _FIRST_GUESS_OF_BATCHES_PER_SECOND if order.batch_size else _FIRST_GUESS_PER_SECOND
        )
        self._done = 0

    async def take(self, turn: Turn) -> TurnReport:
        """Take one turn."""
        requests = self._prepared(turn)
        tally = Tally()
        self._done = 0
        started = time.perf_counter()
        deadline = started + turn.seconds if turn.seconds else float("inf")
        async with asyncio.TaskGroup() as callers:
            for _ in range(turn.concurrency):
                callers.create_task(self._caller(requests, deadline, tally))
        seconds = time.perf_counter() - started
        self._per_second = max(self._done / seconds, 1.0)
        return TurnReport(self._done, seconds, tally.latencies_seconds.tolist(), tally.refused, tally.failed)

    def _prepared(self, turn: Turn) -> Iterator[PreparedRequest]:
        size = self._order.batch_size
        number = turn.transfers or int(turn.seconds * self._per_second * _RESERVE) + turn.concurrency * (
            size or 1
        )
        if self._order.reads:
            accounts = self._payments.accounts(number)
            return iter(balances_requests(accounts, size) if size else balance_requests(accounts))
        payments = self._payments.take(number)
        return iter(batch_requests(payments, size) if size else single_requests(payments))

    async def _caller(self, requests: Iterator[PreparedRequest], deadline: float, tally: Tally) -> None:
        for request in requests:
            asked = time.perf_counter()
            if asked >= deadline:
                return
            headers = None if request.key is None else {"Idempotency-Key": request.key}
            try:
                async with self._session.request(
                    request.method, self._order.url + request.path, data=request.body, headers=headers
                ) as answer:
                    body = await answer.read()
            except (aiohttp.ClientError, TimeoutError):
                tally.failed += request.size
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
                continue
            tally.latencies_seconds.append(time.perf_counter() - asked)
            self._count(request, answer.status, body, tally)

    def _count(self, request: PreparedRequest, status: int, body: bytes, tally: Tally) -> None:
        if status == HTTPStatus.OK and self._order.batch_size and not self._order.reads:
            refused = sum(outcome.refusal is not None for outcome in _decode_batch(body).outcomes)
        elif status in {HTTPStatus.OK, HTTPStatus.CREATED}:
            refused = 0
        elif status == HTTPStatus.UNPROCESSABLE_ENTITY:
            refused = request.size
        else:
            tally.failed += request.size
            return
        tally.refused += refused
        self._done += request.size - refused


async def _serve() -> None:
    read_line = sys.stdin.buffer.readline
    order = msgspec.json.decode(await asyncio.to_thread(read_line), type=Order)
    headers = {"Authorization": f"Bearer {order.api_key}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS_MAX),
    ) as session:
        generator = _Generator(order, session)
        while line := await asyncio.to_thread(read_line):
            report = await generator.take(msgspec.json.decode(line, type=Turn))
            sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(_serve())
