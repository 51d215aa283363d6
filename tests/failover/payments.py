"""Payments on a shard of a pair, and whether they are answered."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from tallystick import Ledger, Refused, views
from tests.accounts import opened
from tests.waiting import until

PATIENCE_SECONDS = 30.0


class Payer(NamedTuple):
    """A ledger with two accounts of which one may pay as much as it likes."""

    ledger: Ledger
    source: str
    destination: str

    @classmethod
    async def of(cls, ledger: Ledger) -> "Payer":
        name = secrets.token_hex(4)
        source = await opened(ledger, f"bank {name}", kind="system")
        return cls(ledger, source, await opened(ledger, f"wallet {name}"))

    async def pay(self, key: str) -> views.Transaction:
        """Pay one cent, and be told that it is posted."""
        answer = await self.ledger.transfer(
            self.source, self.destination, 1, "USD", idempotency_key=f"{self.destination} {key}"
        )
        assert not isinstance(answer, Refused), answer
        assert isinstance(answer, views.Transaction), answer
        return answer

    def paying(self, key: str) -> "asyncio.Task[views.Transaction]":
        """The same, while the test goes on."""
        return asyncio.create_task(self.pay(key))

    async def paid(self) -> int:
        """How many cents have arrived, as the log says."""
        found = await self.ledger.balance(self.destination)
        assert isinstance(found, views.Balance)
        return found.balance


@asynccontextmanager
async def payer(dsn: str) -> AsyncIterator[Payer]:
    """A client that pays through a ledger of its own, as each server has one."""
    async with Ledger.connect(dsn) as ledger:
        batcher = ledger._engine.router.shards[0].batcher
        await until(lambda: batcher.available, "the shard can be written to")
        yield await Payer.of(ledger)
