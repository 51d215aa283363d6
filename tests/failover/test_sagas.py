"""A transfer to another shard whose reservation no standby has yet: the other shard does not pay."""

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tallystick import Ledger, views
from tallystick.domain import limits
from tallystick.domain.commands import Kind
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.ledger.crossing.saga.steps import SagaDriver
from tallystick.store.connection import SETTINGS, Database
from tests.accounts import opened_on
from tests.crash.databases import ShardDatabase, one_value, temporary_database
from tests.crash.hanging import hanging
from tests.crash.two_shards import AWAY, HOME
from tests.failover.pairs import Pair
from tests.waiting import until


@pytest.fixture
def away(postgres: EmbeddedPostgres) -> Iterator[ShardDatabase]:
    with temporary_database(postgres, number=AWAY) as away:
        yield away


def credits_on(away: ShardDatabase) -> int:
    return one_value(
        away.owner_dsn, f"SELECT count(*) FROM transactions WHERE kind = {Kind.TRANSFER_CREDITED.value}"
    )


async def reserved_is_on_the_standby(
    pair: Pair, away: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reservation is committed on the primary alone, and only the recovery drives its saga."""
    monkeypatch.setattr(limits, "RECOVERY_AGE_SECONDS", 0.5)
    dsns = (pair.dsn, away.server_dsn)
    async with Ledger.connect(*dsns) as ledger:
        payer = await opened_on(ledger, HOME, kind="system")
        payee = await opened_on(ledger, AWAY)
    with hanging(pair.standby):
        with monkeypatch.context() as careless:
            careless.setitem(SETTINGS, "synchronous_commit", "local")
            careless.setattr(SagaDriver, "begin", lambda *_, **__: None)
            async with Ledger.connect(*dsns) as ledger:
                pending = await ledger.transfer(payer, payee, 1, "USD", idempotency_key=payee)
                assert isinstance(pending, views.Transaction)
                assert pending.state == "pending"
        async with Ledger.connect(*dsns):
            await asyncio.sleep(limits.RECOVERY_AGE_SECONDS + 1.0)
            assert credits_on(away) == 0, "what is paid is reserved on a standby"
    async with Ledger.connect(*dsns):
        await until(lambda: credits_on(away) == 1, "it arrives when the standby has it")


async def test_what_is_paid_is_reserved_on_the_standby(
    pair: Pair, away: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reserved_is_on_the_standby(pair, away, monkeypatch)


async def test_a_hasty_recovery_is_seen(
    pair: Pair, away: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hasty(_: Database) -> None:
        return

    monkeypatch.setattr("tallystick.ledger.shard._ShardDatabase.await_standbys", hasty)
    monkeypatch.setattr(limits, "SHUTDOWN_SECONDS_MAX", 1.0)
    with capture_logs(), pytest.raises(AssertionError, match="what is paid"):
        await reserved_is_on_the_standby(pair, away, monkeypatch)
