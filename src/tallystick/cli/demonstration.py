"""Demonstration accounts with money, made once."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from tallystick.cli.errors import CommandError
from tallystick.domain.identifiers import Prefix, parse_identifier
from tallystick.domain.outcomes import Refused
from tallystick.service.engine import Engine
from tallystick.service.errors import AccountNotFoundError
from tallystick.service.ledger import Ledger

Posted = TypeVar("Posted")

ASSET = "USD"
ALICE_MINOR_UNITS = 1_000_000
BOB_MINOR_UNITS = 50_000


class DemonstrationAccounts(NamedTuple):
    """The identifiers of the accounts. If there are two shards, carol's is not on that of alice and bob."""

    bank: str
    alice: str
    bob: str
    carol: str


async def demonstration_accounts(engine: Engine, tenant: int, path: Path) -> DemonstrationAccounts:
    """The accounts that are written in a file. If there is none, new ones are opened and written to it."""
    ledger = Ledger(engine, tenant)
    remembered = _read(path)
    if remembered is not None:
        with suppress(AccountNotFoundError):
            await asyncio.gather(*map(ledger.account, remembered))
            return remembered
    opened = await _open_accounts(engine, ledger, tenant)
    _write(path, opened)
    return opened


async def _open_accounts(engine: Engine, ledger: Ledger, tenant: int) -> DemonstrationAccounts:
    """Open the accounts and give them money. It can be repeated, also after it was interrupted."""
    home = await _home(engine, tenant, "alice")
    several = len(engine.router.placement.generations[-1]) > 1
    bank_owner = await _owner(engine, tenant, "demo bank", lambda shard: shard == home)
    bob_owner = await _owner(engine, tenant, "bob", lambda shard: shard == home)
    carol_owner = await _owner(engine, tenant, "carol", lambda shard: shard != home or not several)
    bank = _posted(
        await ledger.open_account(bank_owner, ASSET, kind="system", idempotency_key="demonstration bank")
    ).id
    alice, bob, carol = [
        _posted(await ledger.open_account(owner, ASSET, idempotency_key=f"demonstration {name}")).id
        for name, owner in (("alice", "alice"), ("bob", bob_owner), ("carol", carol_owner))
    ]
    for wallet, name, amount in ((alice, "alice", ALICE_MINOR_UNITS), (bob, "bob", BOB_MINOR_UNITS)):
        _posted(
            await ledger.transfer(
                bank,
                wallet,
                amount,
                ASSET,
                idempotency_key=f"demonstration money of {name}",
                description="money to begin with",
            )
        )
    return DemonstrationAccounts(bank, alice, bob, carol)


async def _owner(engine: Engine, tenant: int, name: str, suits: Callable[[int], bool]) -> str:
    """The first of `name`, `name 2`, `name 3`, … that lives, or would live, on a suitable shard."""
    for number in count(1):
        owner = name if number == 1 else f"{name} {number}"
        if suits(await _home(engine, tenant, owner)):
            return owner
    raise AssertionError("there is always another number")


async def _home(engine: Engine, tenant: int, owner: str) -> int:
    async with engine.router.opening(tenant, owner) as shard:
        return shard.number


def _read(path: Path) -> DemonstrationAccounts | None:
    try:
        identifiers = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        accounts = DemonstrationAccounts(**identifiers)
        for identifier in accounts:
            parse_identifier(Prefix.ACCOUNT, identifier)
    except (FileNotFoundError, msgspec.DecodeError, TypeError, ValueError):
        return None
    return accounts


def _write(path: Path, accounts: DemonstrationAccounts) -> None:
    path.write_bytes(msgspec.json.encode(accounts._asdict()))


def _posted(outcome: Posted | Refused) -> Posted:
    if isinstance(outcome, Refused):
        raise CommandError(f"the demonstration accounts cannot be opened: {outcome.detail}")
    return outcome
