"""A log from which a value was taken that must be there: the caller gets an error, and an operator an alarm."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from tests.crash.databases import SHARD, ShardDatabase
from tests.forgery.builder import serving

from tallystick import FaultyCommandError, Ledger, Refused
from tallystick.domain.invariants import BrokenInvariantError


@pytest.fixture
async def ledger(database: ShardDatabase) -> AsyncIterator[Ledger]:
    async with serving(database.server_dsn) as ledger:
        yield ledger


async def paid(ledger: Ledger, key: str) -> str:
    bank = await ledger.open_account(f"bank {key}", "USD", kind="system")
    alice = await ledger.open_account(f"alice {key}", "USD")
    assert not isinstance(bank, Refused)
    assert not isinstance(alice, Refused)
    done = await ledger.transfer(bank.id, alice.id, 5, "USD", idempotency_key=key)
    assert not isinstance(done, Refused)
    refused = await ledger.transfer(alice.id, bank.id, 6, "USD", idempotency_key=f"{key} refused")
    assert isinstance(refused, Refused)
    return done.id


def break_log(database: ShardDatabase, *statements: str) -> None:
    with psycopg.connect(database.owner_dsn) as owner:
        for table in ("transactions", "requests", "entries"):
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER immutable".encode())
        for statement in statements:
            assert owner.execute(statement.encode()).rowcount


async def test_a_credit_that_names_no_payment(database: ShardDatabase, ledger: Ledger) -> None:
    payment = await paid(ledger, "broken")
    break_log(database, "UPDATE transactions SET kind = 31 WHERE kind = 10")
    with pytest.raises(BrokenInvariantError, match="refers to is missing"):
        await ledger.transaction(payment)
    with pytest.raises(BrokenInvariantError, match="refers to is missing"):
        await ledger.reverse(payment, idempotency_key="back")


async def test_a_refusal_without_its_reason_fails_its_request_alone(
    database: ShardDatabase, ledger: Ledger
) -> None:
    """The alarm is that of a bug in a rule, and what waits beside it is answered."""
    await paid(ledger, "first")
    break_log(database, "UPDATE requests SET detail = NULL WHERE code IS NOT NULL")
    accounts = [
        page.items[0] for page in [await ledger.accounts(f"{owner} first") for owner in ("alice", "bank")]
    ]
    faulty = faulty_commands()
    with capture_logs() as logged, pytest.raises(FaultyCommandError):
        await ledger.transfer(accounts[0].id, accounts[1].id, 6, "USD", idempotency_key="first refused")
    assert [one["event"] for one in logged if one["log_level"] == "error"] == ["ALARM: command failed alone"]
    assert faulty_commands() == faulty + 1
    after = await ledger.transfer(accounts[0].id, accounts[1].id, 5, "USD", idempotency_key="second")
    assert not isinstance(after, Refused)


def faulty_commands() -> float:
    return REGISTRY.get_sample_value("tallystick_faulty_commands_total", {"shard": str(SHARD)}) or 0.0


async def test_books_that_do_not_balance_are_not_reported(database: ShardDatabase, ledger: Ledger) -> None:
    payment = await ledger.transaction(await paid(ledger, "unbalanced"))
    account = payment.entries[1].account
    since, until = payment.recorded_at, datetime.now(UTC)
    assert (await ledger.statement(account, since, until)).closing_balance == 5
    break_log(
        database,
        f"UPDATE entries SET balance = balance + 1 WHERE position = {payment.position} AND amount > 0",
    )
    with pytest.raises(BrokenInvariantError, match="the balance of shard"):
        await ledger.trial_balance()
    with pytest.raises(BrokenInvariantError, match="the running balance at position"):
        await ledger.statement(account, since, until)
