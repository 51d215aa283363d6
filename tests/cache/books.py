"""Accounts that pay each other, and what may be asked about their balances."""

import redis

from tallystick import Ledger, Refused
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.views import Balance, Transaction
from tests.waiting import until


async def opened(ledger: Ledger, owner: str, count: int) -> list[str]:
    """Accounts of one owner, on one shard; they may be overdrawn."""
    accounts = []
    for _ in range(count):
        account = await ledger.open_account(owner, "USD", min_balance=None)
        assert not isinstance(account, Refused)
        accounts.append(account.id)
    return accounts


async def paid(ledger: Ledger, source: str, destination: str, amount: int, key: str) -> Transaction:
    posted = await ledger.transfer(source, destination, amount, "USD", idempotency_key=key)
    assert not isinstance(posted, Refused)
    return posted


async def seen(ledger: Ledger, account: str, *, min_position: int = 0, strong: bool = False) -> Balance:
    balance = await ledger.balance(account, min_position=min_position, strong=strong)
    assert not isinstance(balance, Refused)
    return balance


async def until_cached(ledger: Ledger, *accounts: str) -> list[Balance]:
    """Ask until the cache answers for all."""
    balances: list[Balance] = []

    async def asked() -> bool:
        balances[:] = [await seen(ledger, account) for account in accounts]
        return all(balance.source == "cache" for balance in balances)

    await until(asked)
    return balances


def key_of(account: str) -> str:
    """Where an account's balance is cached."""
    identifier = parse_identifier(Prefix.ACCOUNT, account)
    return f"tallystick:{{{shard_of(identifier)}}}:{identifier}"


def cached(keys: "redis.Redis", account: str) -> bytes | None:
    found = keys.get(key_of(account))
    assert found is None or isinstance(found, bytes)
    return found


def mark_of(account: str) -> str:
    """Where the mark of an account's shard is cached."""
    return key_of(account).rpartition(":")[0] + ":mark"


def passed(keys: "redis.Redis", account: str) -> int:
    """How far the log of an account's shard was passed."""
    mark = keys.get(mark_of(account))
    return int(mark.split(b" ")[1]) if isinstance(mark, bytes) else -1
