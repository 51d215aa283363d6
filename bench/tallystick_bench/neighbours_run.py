"""A run of the workload `neighbours`: a quiet tenant's payments and balances, alone and beside another's floods."""

import asyncio
import os
import sys
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import aiohttp
import msgspec

from tallystick.service.engine import Engine
from tallystick_bench.api_server import api_server
from tallystick_bench.books import open_books
from tallystick_bench.errors import BenchError
from tallystick_bench.machine import machine
from tallystick_bench.measurement import Latency, latency_of
from tallystick_bench.neighbour_floods import Flood, FloodOrder
from tallystick_bench.progress import ProgressBar
from tallystick_bench.result import Machine, Money
from tallystick_bench.settings import ASSET, FUNDS_PER_ACCOUNT, TENANT, Settings
from tallystick_bench.target import LogState, Target

RATIO_MAX: Final = 3.0
"""How many times the p99 alone the p99 beside a flood may be; or `MILLISECONDS_MAX`, whichever is more."""
MILLISECONDS_MAX: Final = 50.0
_QUIET_WALLETS: Final = 10
_PAUSE_SECONDS: Final = 0.01
_SETTLE_SECONDS: Final = 1.0
_ANSWER_SECONDS_MAX: Final = 60.0
_STOP_SECONDS_MAX: Final = 30.0
_RUN_BYTES: Final = 8
_SMALL_ACCOUNTS: Final = 1_000


class Quiet(msgspec.Struct, frozen=True):
    """The latencies of a quiet tenant: of a payment, and of a balance read from PostgreSQL, one after the other."""

    payment_ms: Latency
    balance_ms: Latency
    requests: int
    failed: int


class Beside(msgspec.Struct, frozen=True):
    """The same beside a flood. The ratios compare its p99 with the turn before, without a flood."""

    flood: str
    alone: Quiet
    beside: Quiet
    payment_ratio: float
    balance_ratio: float
    flood_answered: int
    flood_refused: int

    @property
    def bearable(self) -> bool:
        """Whether the p99 of both is at most `RATIO_MAX` times what it is alone, or `MILLISECONDS_MAX`."""
        return all(
            beside.p99 <= max(RATIO_MAX * alone.p99, MILLISECONDS_MAX)
            for alone, beside in (
                (self.alone.payment_ms, self.beside.payment_ms),
                (self.alone.balance_ms, self.beside.balance_ms),
            )
        )


class NeighboursResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run, and the money afterwards."""

    workload: str
    accounts: int
    floods: list[Beside]
    money: Money
    machine: Machine
    notes: list[str]


async def measure_neighbours(settings: Settings, target: Target, progress: ProgressBar) -> NeighboursResult:
    """Carry out one run."""
    run = os.urandom(_RUN_BYTES).hex()
    engine = Engine({target.shard: target.dsn})
    await engine.start()
    try:
        shard = engine.router.shards[0]
        neighbour = f"bench neighbour {run}"
        tenant = await target.make_tenant(neighbour)
        *loud_wallets, payer = await open_books(shard, tenant, settings.accounts, run, progress)
        *quiet_wallets, _ = await open_books(shard, TENANT, _QUIET_WALLETS, f"{run} quiet", progress)
        opened = target.log_state()
        async with (
            target.api_key(f"bench {run}", neighbour) as loud,
            target.api_key(f"bench {run} quiet") as quiet,
            api_server(target) as server,
        ):
            past = datetime.now(UTC).isoformat()
            orders = [
                FloodOrder(
                    flood,
                    server.url,
                    loud,
                    loud_wallets,
                    payer,
                    past,
                    settings.accounts <= _SMALL_ACCOUNTS,
                )
                for flood in Flood
            ]
            caller = _QuietCaller(server.url, quiet, quiet_wallets)
            floods = await _take_turns(settings, caller, orders, progress)
    finally:
        await engine.stop()
    return NeighboursResult(
        workload=settings.workload,
        accounts=settings.accounts,
        floods=floods,
        money=_money(target, opened, [*loud_wallets, *quiet_wallets], caller.acknowledged),
        machine=machine(target),
        notes=["flood, quiet caller, server and database have the same cores"],
    )


async def _take_turns(
    settings: Settings, caller: "_QuietCaller", orders: Sequence[FloodOrder], progress: ProgressBar
) -> list[Beside]:
    seconds = settings.seconds / (2 * len(orders))
    phase = progress.phase("measuring", 2 * len(orders))
    found: list[Beside] = []
    await caller.run(min(1.0, seconds))
    for order in orders:
        alone = await caller.run(seconds)
        phase.advance()
        told: list[int] = []
        async with _flooding(order, told):
            await asyncio.sleep(_SETTLE_SECONDS)
            beside = await caller.run(seconds)
        phase.advance()
        found.append(
            Beside(
                order.flood,
                alone,
                beside,
                _ratio(beside.payment_ms, alone.payment_ms),
                _ratio(beside.balance_ms, alone.balance_ms),
                *told,
            )
        )
        await asyncio.sleep(_SETTLE_SECONDS)
    return found


@asynccontextmanager
async def _flooding(order: FloodOrder, told: list[int]) -> AsyncIterator[None]:
    """Let a process flood the server until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "tallystick_bench.neighbour_floods",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise BenchError("the process of the flood has no pipes")
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        if not await asyncio.wait_for(process.stdout.readline(), _ANSWER_SECONDS_MAX):
            raise BenchError(f"the flood {order.flood} ended before it began")
        yield
        process.stdin.close()
        last = await asyncio.wait_for(process.stdout.readline(), _STOP_SECONDS_MAX)
        told.extend(map(int, last.split()))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class _QuietCaller:
    """A tenant that sends one request after the other."""

    def __init__(self, url: str, api_key: str, wallets: Sequence[str]) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._wallets = wallets
        self.acknowledged = 0

    async def run(self, seconds: float) -> Quiet:
        """Pay and read a balance, repeatedly."""
        payments, balances = array("d"), array("d")
        failed = 0
        deadline = time.perf_counter() + seconds
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS_MAX)
        async with aiohttp.ClientSession(self._url, headers=self._headers, timeout=timeout) as session:
            # Otherwise opening the connection would be measured with the first request.
            await self._look(session)
            while not payments or time.perf_counter() < deadline:
                started = time.perf_counter()
                failed += await self._pay(session)
                payments.append(time.perf_counter() - started)
                started = time.perf_counter()
                failed += await self._look(session)
                balances.append(time.perf_counter() - started)
                await asyncio.sleep(_PAUSE_SECONDS)
        return Quiet(latency_of(payments), latency_of(balances), len(payments) + len(balances), failed)

    async def _pay(self, session: aiohttp.ClientSession) -> bool:
        body = {"source": self._wallets[0], "destination": self._wallets[1], "amount": "1", "asset": ASSET}
        key = os.urandom(_RUN_BYTES).hex()
        async with session.post("/v1/transfers", json=body, headers={"Idempotency-Key": key}) as answer:
            await answer.read()
            paid = answer.status == HTTPStatus.CREATED
        self.acknowledged += paid
        return not paid

    async def _look(self, session: aiohttp.ClientSession) -> bool:
        path = f"/v1/accounts/{self._wallets[1]}/balance"
        async with session.get(path, params={"consistency": "strong"}) as answer:
            await answer.read()
            return answer.status != HTTPStatus.OK


def _ratio(beside: Latency, alone: Latency) -> float:
    return round(beside.p99 / alone.p99, 2) if alone.p99 else 0.0


def _money(target: Target, opened: LogState, wallets: list[str], acknowledged: int) -> Money:
    _, held = target.balances(wallets)
    (logged,) = target.fetch("logged_transfers", (opened.position,))
    conserved = held == len(wallets) * FUNDS_PER_ACCOUNT and logged >= acknowledged
    return Money(conserved, held, acknowledged, logged)
