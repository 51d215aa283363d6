"""Requests leave no objects that only the garbage collector can free.

So a server collects rarely (`COLLECTION_THRESHOLDS`), and no request waits while the objects of others are examined.
"""

import gc

import pytest
from tests.accounts import opened
from tests.crash.databases import ShardDatabase
from tests.forgery.builder import serving

from tallystick import Refused
from tallystick.service.errors import ParameterError
from tallystick.service.ledger import Ledger
from tallystick.service.transactions import TransferRequest

ROUNDS = 50


async def _each_kind_of_request(ledger: Ledger, alice: str, bob: str, number: int) -> None:
    key = f"request {number}"
    await ledger.transfer(alice, bob, 1, "USD", idempotency_key=key)
    await ledger.transfer(alice, bob, 1, "USD", idempotency_key=key)
    assert isinstance(
        await ledger.transfer(alice, bob, 10**9, "USD", idempotency_key=f"{key} refused"), Refused
    )
    with pytest.raises(ParameterError):
        await ledger.transfer(alice, "unknown", 1, "USD", idempotency_key=f"{key} wrong")
    await ledger.transfers([TransferRequest(alice, bob, 1, "USD", f"{key} {place}") for place in range(200)])
    await ledger.balance(alice)
    await ledger.entries(alice)


async def test_requests_leave_no_garbage(database: ShardDatabase) -> None:
    async with serving(database.server_dsn) as ledger:
        bank = await opened(ledger, "bank", "system")
        alice, bob = await opened(ledger, "alice"), await opened(ledger, "bob")
        await ledger.transfer(bank, alice, 100_000, "USD", idempotency_key="funds")
        # What is imported, compiled or remembered at first is not counted.
        for number in range(3):
            await _each_kind_of_request(ledger, alice, bob, number)
        gc.collect()
        gc.disable()
        try:
            for number in range(3, 3 + ROUNDS):
                await _each_kind_of_request(ledger, alice, bob, number)
            # Reconnections and rounds of workers in between may leave a little.
            assert gc.collect() < ROUNDS
        finally:
            gc.enable()
