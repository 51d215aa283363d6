"""Accounts, opened through the Python package."""

import secrets

from tallystick import Ledger, views
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of


async def opened(ledger: Ledger, owner: str, kind: str = "wallet", asset: str = "USD") -> str:
    """A new account of an owner; its identifier."""
    account = await ledger.open_account(owner, asset, kind=kind)
    assert isinstance(account, views.Account), account
    return account.id


async def opened_on(ledger: Ledger, shard: int, kind: str = "wallet", asset: str = "USD") -> str:
    """A new account on one shard: owners are drawn until one lives there."""
    while True:
        account = await opened(ledger, secrets.token_hex(4), kind, asset)
        if shard_of(parse_identifier(Prefix.ACCOUNT, account)) == shard:
            return account
