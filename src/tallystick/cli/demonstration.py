"""Accounts with money to try things out with, made once."""

from typing import NamedTuple, TypeVar

from tallystick.cli.errors import CommandError
from tallystick.domain.outcomes import Refused
from tallystick.service.ledger import Ledger

Posted = TypeVar("Posted")

ASSET = "USD"
ALICE_MINOR_UNITS = 1_000_000
BOB_MINOR_UNITS = 50_000


class DemonstrationAccounts(NamedTuple):
    """The identifiers of the accounts."""

    bank: str
    alice: str
    bob: str


async def open_demonstration_accounts(ledger: Ledger) -> DemonstrationAccounts:
    """Open the accounts and give them money; done again it changes nothing, however far it came before."""
    bank = _posted(
        await ledger.open_account("demo bank", ASSET, kind="system", idempotency_key="demonstration bank")
    ).id
    alice = _posted(await ledger.open_account("alice", ASSET, idempotency_key="demonstration alice")).id
    bob = _posted(await ledger.open_account("bob", ASSET, idempotency_key="demonstration bob")).id
    for wallet, owner, amount in ((alice, "alice", ALICE_MINOR_UNITS), (bob, "bob", BOB_MINOR_UNITS)):
        _posted(
            await ledger.transfer(
                bank,
                wallet,
                amount,
                ASSET,
                idempotency_key=f"demonstration money of {owner}",
                description="money to begin with",
            )
        )
    return DemonstrationAccounts(bank, alice, bob)


def _posted(outcome: Posted | Refused) -> Posted:
    if isinstance(outcome, Refused):
        raise CommandError(f"the demonstration accounts cannot be opened: {outcome.detail}")
    return outcome
