"""What commands refer to: which keys, accounts, holds and transactions must be read before they can be decided."""

from collections.abc import Iterable

from tallystick.domain.commands import (
    CaptureHold,
    ChangeAccount,
    Command,
    ExpireHold,
    Kind,
    Leg,
    OpenAccount,
    PlaceHold,
    PostTransaction,
    Reverse,
    Transfer,
    VoidHold,
)
from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.saga_commands import Credit, Finalize, RefuseCredit, Release
from tallystick.domain.sagas import clearing_account


class Needs:
    """Sets of request keys, account identifiers, and the positions of holds, sagas and transactions to reverse."""

    def __init__(self) -> None:
        self.requests: set[bytes] = set()
        self.accounts: set[int] = set()
        self.holds: set[int] = set()
        self.sagas: set[int] = set()
        self.originals: set[int] = set()

    def add(self, commands: Iterable[Command], shard: int) -> None:
        """Add what these commands refer to, on a shard."""
        for command in commands:
            if command.request is not None:
                self.requests.add(command.request.key)
            match command:
                case Transfer() | PlaceHold():
                    self.accounts.add(command.source)
                    if shard_of(command.destination) == shard:
                        self.accounts.add(command.destination)
                case PostTransaction():
                    self.accounts.update(
                        account for account, _ in command.entries if shard_of(account) == shard
                    )
                case OpenAccount() | ChangeAccount():
                    self.accounts.add(command.account)
                case CaptureHold() | VoidHold() | ExpireHold():
                    self.holds.add(local_of(command.hold))
                case Reverse():
                    self.originals.add(local_of(command.transaction))
                case Credit() | RefuseCredit() | Finalize() | Release():
                    self._add_step(command, shard)
                case _:
                    raise TypeError(f"no rule says what {type(command).__name__} needs")

    def _add_step(self, command: Credit | RefuseCredit | Finalize | Release, shard: int) -> None:
        if isinstance(command, Credit):
            self._add_legs(shard, shard_of(command.saga), command.tenant, command.terms.credits)
        elif not isinstance(command, RefuseCredit):
            terms = command.terms
            self.sagas.add(local_of(command.saga))
            self._add_legs(shard, terms.other_shard, command.tenant, terms.debits)
            if terms.operation is Kind.HOLD_CAPTURED and terms.refers_to is not None:
                self.holds.add(terms.refers_to)

    def _add_legs(self, shard: int, other_shard: int, tenant: int, legs: Iterable[Leg]) -> None:
        """Accounts of this shard that a step moves, and the clearing accounts that it moves them against."""
        for leg in legs:
            self.accounts.add(leg.account)
            if leg.asset is not None:
                self.accounts.add(clearing_account(shard, other_shard, tenant, leg.asset))
