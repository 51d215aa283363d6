"""What a tenant may have of what all share, as callers inside a process meet it."""

import time
from datetime import UTC, datetime

import pytest
from tests.accounts import opened
from tests.crash.databases import ShardDatabase, one_value
from tests.crash.two_shards import AWAY, TwoShards, serving, shard_in
from tests.waiting import WAIT_SECONDS_MAX

from tallystick import Ledger, ParameterError, TooManyOpenedAccountsError, views
from tallystick.store.reads import Reader

ACCOUNTS = "SELECT count(*) FROM accounts WHERE tenant = 1"


async def test_nothing_is_effective_since_1900(database: ShardDatabase) -> None:
    async with Ledger.connect(database.server_dsn) as ledger:
        bank, wallet = await opened(ledger, "bank", "system"), await opened(ledger, "wallet")
        long_ago = datetime(1900, 1, 2, tzinfo=UTC)
        with pytest.raises(ParameterError, match="at most 3653 days ago"):
            await ledger.transfer(bank, wallet, 1, "USD", idempotency_key="a payment", effective_at=long_ago)
        # What is only read may be of any time.
        assert (await ledger.balance(wallet, effective_at=long_ago)).balance == 0


async def test_accounts_of_a_tenant_have_a_quota(database: ShardDatabase) -> None:
    async with Ledger.connect(database.server_dsn) as ledger:
        ledger._engine.account_quota.accounts_max = 20
        other = Ledger(ledger._engine, 2)
        bank = await opened(ledger, "bank", "system")
        first = await ledger.open_account("owner", "USD", idempotency_key="the first")
        assert isinstance(first, views.Account)
        await until_refused(ledger)
        count = one_value(database.owner_dsn, ACCOUNTS)
        assert count >= 20

        # What was opened before under its key is answered still, and what is there works.
        again = await ledger.open_account("owner", "USD", idempotency_key="the first")
        assert again == first
        with pytest.raises(TooManyOpenedAccountsError, match="of 20 that it may have"):
            await ledger.open_account("owner", "USD", idempotency_key="another")
        paid = await ledger.transfer(bank, first.id, 1, "USD", idempotency_key="a payment")
        assert isinstance(paid, views.Transaction)
        await opened(other, "owner")
        assert one_value(database.owner_dsn, ACCOUNTS) == count


async def test_accounts_that_others_opened_are_counted(shards: TwoShards) -> None:
    async with serving(shards.dsns) as ledger:
        for number in range(30):
            await opened(ledger, f"owner {number}")
    # Another process, which opened none of them.
    async with serving(shards.dsns) as ledger:
        ledger._engine.account_quota.accounts_max = 30
        await until_refused(ledger)


async def test_a_shard_that_is_away_has_the_others_counted_no_more_often(
    shards: TwoShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    count = Reader.account_count

    async def noted(reader: Reader, tenant: int) -> int:
        counted.append(tenant)
        return await count(reader, tenant)

    monkeypatch.setattr(Reader, "account_count", noted)
    async with serving(shards.dsns) as ledger:
        quota = ledger._engine.account_quota
        await shard_in(ledger, AWAY).database.close()
        for _ in range(5):
            await quota.require_room(1)
        # Each of the two shards once.
        assert len(counted) == 2


async def until_refused(ledger: Ledger) -> None:
    """Open accounts until it is refused: the first ones need not wait until others are counted."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            await opened(ledger, "owner")
        except TooManyOpenedAccountsError:
            return
    raise AssertionError("it was never refused")
