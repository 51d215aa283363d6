"""Reading what is not there raises; a command that names it is answered with a refusal."""

from collections.abc import Awaitable, Callable

import pytest
from tests.crash.databases import ShardDatabase

from tallystick import (
    Account,
    AccountNotFoundError,
    Hold,
    HoldNotFoundError,
    Ledger,
    NotFoundError,
    Refused,
    Transaction,
    TransactionNotFoundError,
)
from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.limits import LOCAL_NUMBER_MAX
from tallystick.service.ledger import UNSET

NOTHING = make_identifier(1, LOCAL_NUMBER_MAX)
ACCOUNT = format_identifier(Prefix.ACCOUNT, NOTHING)
HOLD = format_identifier(Prefix.HOLD, NOTHING)
TRANSACTION = format_identifier(Prefix.TRANSACTION, NOTHING)
OTHER_TENANT = 2

Read = Callable[[Ledger, str], Awaitable[object]]
READS: dict[type[NotFoundError], list[Read]] = {
    AccountNotFoundError: [
        lambda ledger, account: ledger.account(account),
        lambda ledger, account: ledger.balance(account),
        lambda ledger, account: ledger.balance(account, strong=True),
        lambda ledger, account: ledger.entries(account),
        lambda ledger, account: ledger.follow_balance(account),
    ],
    HoldNotFoundError: [lambda ledger, hold: ledger.held(hold)],
    TransactionNotFoundError: [lambda ledger, transaction: ledger.transaction(transaction)],
}


async def expect_not_found(ledger: Ledger, names: dict[type[NotFoundError], str]) -> None:
    for kind, reads in READS.items():
        for read in reads:
            with pytest.raises(kind, match=names[kind]) as told:
                await read(ledger, names[kind])
            assert told.value.code == f"{kind.__name__.removesuffix('NotFoundError').lower()}_not_found"
            assert isinstance(told.value, LookupError)


async def test_what_is_not_there(database: ShardDatabase) -> None:
    async with Ledger.connect(database.server_dsn) as ledger:
        names = {
            AccountNotFoundError: ACCOUNT,
            HoldNotFoundError: HOLD,
            TransactionNotFoundError: TRANSACTION,
        }
        await expect_not_found(ledger, names)
        many = await ledger.balances([ACCOUNT])
        assert (list(many.balances), list(many.not_found)) == ([], [ACCOUNT])
        assert (await ledger.accounts("nobody")).items == []
        for outcome in (
            await ledger.change_account(ACCOUNT, status="frozen"),
            await ledger.transfer(ACCOUNT, ACCOUNT, 1, "USD", idempotency_key="a"),
            await ledger.capture(HOLD, idempotency_key="b"),
            await ledger.void(HOLD, idempotency_key="c"),
            await ledger.reverse(TRANSACTION, idempotency_key="d"),
        ):
            assert isinstance(outcome, Refused)


async def test_what_is_another_tenants(database: ShardDatabase) -> None:
    async with Ledger.connect(database.server_dsn) as ledger:
        bank = await ledger.open_account("bank", "USD", kind="system", min_balance=UNSET)
        alice = await ledger.open_account("alice", "USD")
        assert isinstance(bank, Account)
        assert isinstance(alice, Account)
        paid = await ledger.transfer(bank.id, alice.id, 5, "USD", idempotency_key="paid")
        held = await ledger.hold(alice.id, bank.id, 1, "USD", idempotency_key="held")
        assert isinstance(paid, Transaction)
        assert isinstance(held, Hold)
    names = {AccountNotFoundError: alice.id, HoldNotFoundError: held.id, TransactionNotFoundError: paid.id}
    async with Ledger.connect(database.server_dsn, tenant=OTHER_TENANT) as stranger:
        await expect_not_found(stranger, names)
