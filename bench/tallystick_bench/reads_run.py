"""A run of the workload `reads`: balances through HTTP, from a server with the cache and one without it in turns."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, NamedTuple

import aiohttp
import msgspec

from tallystick.domain import limits
from tallystick.service.engine import Engine
from tallystick_bench import measurement
from tallystick_bench.api_server import api_server
from tallystick_bench.books import open_books
from tallystick_bench.errors import BenchError
from tallystick_bench.generator_messages import Order
from tallystick_bench.http_load import HttpLoad, http_load
from tallystick_bench.machine import machine
from tallystick_bench.paced_payments import PacedPayments
from tallystick_bench.payments import Recipe
from tallystick_bench.prepared_requests import balances_requests
from tallystick_bench.progress import ProgressBar
from tallystick_bench.reads_result import ReadCall, ReadsResult
from tallystick_bench.result import Money
from tallystick_bench.settings import FUNDS_PER_ACCOUNT, PAYMENTS_BESIDE_READS, TENANT, Settings
from tallystick_bench.target import LogState, Target
from tallystick_bench.wrk_load import WrkLoad, wrk_load

CACHE: Final = "cache"
DATABASE: Final = "database"
_MANY_CONCURRENCY: Final = 8
_RUN_BYTES: Final = 8
_POLL_SECONDS: Final = 0.1


class _Call(NamedTuple):
    """One way to read: its name, accounts in a request (0: one, in the path), and connections."""

    name: str
    batch_size: int
    concurrency: int


class _Reading(NamedTuple):
    """A call to one server, and its turns."""

    call: _Call
    source: str
    url: str
    load: HttpLoad | WrkLoad
    turns: list[measurement.MeasuredTurn]


class _Balance(msgspec.Struct):
    balance: str


class _Balances(msgspec.Struct):
    balances: list[_Balance]


_decode = msgspec.json.Decoder(_Balances).decode


async def measure_reads(settings: Settings, target: Target, progress: ProgressBar) -> ReadsResult:
    """Carry out one run. If the target has no cache, only its database is read."""
    run = os.urandom(_RUN_BYTES).hex()
    engine = Engine({target.shard: target.dsn})
    await engine.start()
    try:
        *wallets, _ = await open_books(engine.router.shards[0], TENANT, settings.accounts, run, progress)
        opened = target.log_state()
        recipe = Recipe(settings.workload, wallets, settings.seed, run)
        async with target.api_key(f"bench {run}") as api_key:
            payments = PacedPayments(recipe, api_key, settings.rate or PAYMENTS_BESIDE_READS)
            async with (
                _servers(settings, target) as urls,
                _loads(settings, urls, recipe, api_key) as readings,
            ):
                await _take_turns(settings, readings, payments, progress)
                total = await _count_what_is_read(urls, wallets, api_key)
    finally:
        await engine.stop()
    return _result(settings, target, readings, payments, _money(target, opened, wallets, total, payments))


@asynccontextmanager
async def _servers(settings: Settings, target: Target) -> AsyncIterator[dict[str, str]]:
    """A server for each source, on the same shard: its address by the name of the source."""
    plain = msgspec.structs.replace(target, cache=None)
    if target.cache is None:
        async with api_server(plain) as server:
            yield {DATABASE: server.url}
        return
    async with api_server(target) as server:
        if settings.cache == "on":
            yield {CACHE: server.url}
            return
        async with api_server(plain) as other:
            yield {CACHE: server.url, DATABASE: other.url}


@asynccontextmanager
async def _loads(
    settings: Settings, urls: dict[str, str], recipe: Recipe, api_key: str
) -> AsyncIterator[list[_Reading]]:
    """The loads: one for each call and server."""
    many = limits.BALANCES_PER_REQUEST_MAX
    calls = [
        _Call("GET /v1/accounts/{id}/balance", 0, settings.concurrency),
        _Call("POST /v1/balances", many, min(_MANY_CONCURRENCY, settings.concurrency)),
    ]
    async with AsyncExitStack() as stack:
        found = []
        for call in calls:
            for source, url in urls.items():
                order = Order(url, api_key, recipe, call.batch_size, reads=True)
                load: HttpLoad | WrkLoad
                if settings.wrk:
                    load = await stack.enter_async_context(wrk_load(order))
                else:
                    load = await stack.enter_async_context(http_load(order))
                found.append(_Reading(call, source, url, load, []))
        yield found


async def _take_turns(
    settings: Settings, readings: Sequence[_Reading], payments: PacedPayments, progress: ProgressBar
) -> None:
    """Let each warm up, then take turns."""
    phase = progress.phase("warming up", len(readings))
    for reading in readings:
        await reading.load.run(settings.warm_up, reading.call.concurrency)
        phase.advance()
    phase = progress.phase("reading", settings.rounds * len(readings))
    for _ in range(settings.rounds):
        for reading in readings:
            async with payments.paying(reading.url):
                reading.turns.append(await reading.load.run(settings.stint, reading.call.concurrency))
            phase.advance()


async def _count_what_is_read(urls: dict[str, str], wallets: list[str], api_key: str) -> int:
    """The total of all wallets, as each server shows it after the last payment. The servers must agree.

    A cache may be behind for `CACHE_AGE_MS_MAX`. For so long it is asked again.
    """
    expected = len(wallets) * FUNDS_PER_ACCOUNT
    deadline = time.monotonic() + limits.CACHE_AGE_MS_MAX / 1000
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    total = 0
    async with aiohttp.ClientSession(headers=headers) as session:
        for url in urls.values():
            while (total := await _total(session, url, wallets)) != expected:
                if time.monotonic() > deadline:
                    return total
                await asyncio.sleep(_POLL_SECONDS)
    return total


async def _total(session: aiohttp.ClientSession, url: str, wallets: list[str]) -> int:
    total = 0
    for request in balances_requests(iter(wallets), limits.BALANCES_PER_REQUEST_MAX):
        async with session.post(url + request.path, data=request.body) as answer:
            body = await answer.read()
            if not answer.ok:
                raise BenchError(f"balances could not be read: the server answered {answer.status}")
        found = _decode(body).balances
        if len(found) != request.size:
            raise BenchError(f"{request.size} balances were asked for, {len(found)} answered")
        total += sum(int(item.balance) for item in found)
    return total


def _money(
    target: Target, opened: LogState, wallets: list[str], total: int, payments: PacedPayments
) -> Money:
    _, held = target.balances(wallets)
    (logged,) = target.fetch("logged_transfers", (opened.position,))
    conserved = total == held == len(wallets) * FUNDS_PER_ACCOUNT and logged >= payments.acknowledged
    return Money(conserved, held, payments.acknowledged, logged)


def _result(
    settings: Settings, target: Target, readings: Sequence[_Reading], payments: PacedPayments, money: Money
) -> ReadsResult:
    throughputs = {
        (reading.call, reading.source): measurement.median_throughput(reading.turns) for reading in readings
    }
    notes = [note for reading in readings for note in reading.load.notes]
    return ReadsResult(
        workload=settings.workload,
        through=settings.through,
        generator=readings[0].load.generator,
        accounts=settings.accounts,
        payments_per_second=round(payments.per_second, 1),
        payments_per_second_wanted=payments.per_second_wanted,
        payments_failed=payments.failed,
        calls=[
            ReadCall(
                call=reading.call.name,
                source=reading.source,
                balances_per_request=reading.call.batch_size or 1,
                concurrency=reading.call.concurrency,
                balances_per_second=round(throughputs[reading.call, reading.source], 1),
                latency_ms=measurement.latency(reading.turns),
                not_read=sum(turn.refused + turn.failed for turn in reading.turns),
                rounds=[round(turn.per_second, 1) for turn in reading.turns],
                ratio_to_database=_ratio(throughputs, reading),
            )
            for reading in readings
        ],
        money=money,
        machine=machine(target),
        notes=list(dict.fromkeys(notes)),
    )


def _ratio(throughputs: dict[tuple[_Call, str], float], reading: _Reading) -> float | None:
    beside = throughputs.get((reading.call, DATABASE))
    if reading.source == DATABASE or not beside:
        return None
    return round(throughputs[reading.call, reading.source] / beside, 2)
