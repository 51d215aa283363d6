"""The primary is killed or hangs, and its standby is promoted: servers go on by themselves, nothing is missing."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import pytest

from tallystick import UnavailableError
from tallystick.verify.log import verify_shard
from tests.crash.databases import SHARD, one_value
from tests.crash.hanging import hanging
from tests.failover.pairs import Pair, replicated_shard
from tests.failover.payments import PATIENCE_SECONDS, Payer, payer
from tests.waiting import until

CLIENTS = 4
CALM_PAYMENTS = 50
AWAY_SECONDS = 2.5
FOUND_SECONDS_MAX = 1.5


@pytest.fixture
def pair() -> Iterator[Pair]:
    with replicated_shard() as pair:
        yield pair


class Clients:
    """They pay without end, ask again after an error, and write down what they were told, and when."""

    def __init__(self, payer: Payer) -> None:
        self._payer = payer
        self.told: dict[str, str] = {}
        self.last_at = 0.0

    async def pay(self, client: int) -> None:
        number = 0
        while True:
            key = f"{client} {number}"
            try:
                posted = await self._payer.pay(key)
            except UnavailableError:
                await asyncio.sleep(0.05)
                continue
            self.told[key] = posted.id
            self.last_at = time.monotonic()
            number += 1


@asynccontextmanager
async def paying(payer: Payer) -> AsyncIterator[Clients]:
    clients = Clients(payer)
    tasks = [asyncio.create_task(clients.pay(client)) for client in range(CLIENTS)]
    try:
        yield clients
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("hangs", [False, True])
async def test_the_standby_takes_over(pair: Pair, *, hangs: bool) -> None:
    async with payer(pair.dsn) as one:
        with ExitStack() as fault:
            async with paying(one) as clients:
                await until(lambda: len(clients.told) >= CALM_PAYMENTS, "they pay")
                if hangs:
                    fault.enter_context(hanging(pair.primary))
                else:
                    pair.primary.kill()
                await asyncio.sleep(AWAY_SECONDS)
                assert clients.last_at < time.monotonic() - AWAY_SECONDS / 2, (
                    "no client is answered meanwhile"
                )
                await asyncio.to_thread(pair.promote)
                promoted_at, before = time.monotonic(), len(clients.told)
                await until(lambda: len(clients.told) > before, "they pay again")
                assert time.monotonic() - promoted_at < FOUND_SECONDS_MAX
                await until(lambda: len(clients.told) > before + CALM_PAYMENTS, "they pay as before")
            await nothing_is_missing(pair, one, clients)


async def nothing_is_missing(pair: Pair, payer: Payer, clients: Clients) -> None:
    """Every payment that was answered is in the log once, and so is at most one unanswered payment of each client."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for key, transaction in clients.told.items():
            assert (await payer.ledger.transaction(transaction)).id == transaction
            assert (await payer.pay(key)).id == transaction
    written = one_value(pair.standby.dsn("shard_1"), "SELECT count(*) FROM transactions WHERE kind = 10")
    assert len(clients.told) <= written <= len(clients.told) + CLIENTS
    report = verify_shard(pair.standby_dsn, SHARD)
    assert report.ok, report.problems
