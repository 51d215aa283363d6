"""The keys, accounts, holds, sagas and transactions that must be read before commands can be decided."""

from collections.abc import Iterable, Mapping

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import (
    CaptureHold,
    ChangeAccount,
    ClaimKey,
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
from tallystick.domain.derived_accounts import Derivation, DerivedAccount
from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.saga_commands import (
    Confirm,
    Credit,
    Finalize,
    GiveUp,
    Promise,
    RefuseCredit,
    Release,
    Revoke,
    Settle,
)
from tallystick.domain.sagas import credit_request


class Needs:
    """Sets of request keys, account identifiers, and the positions of holds, sagas and transactions to reverse.

    `derived`: accounts that may have either of two identifiers, see `look_for`.
    """

    def __init__(self) -> None:
        self.requests: set[bytes] = set()
        self.accounts: set[int] = set()
        self.derived: set[DerivedAccount] = set()
        self.holds: set[int] = set()
        self.sagas: set[int] = set()
        self.originals: set[int] = set()

    def look_for(self, known: Mapping[int, AccountState]) -> None:
        """Add both identifiers of each derived account, except for accounts that are known already."""
        for one in self.derived:
            if one.among(known.get) is None:
                self.accounts.update((one.account, one.former))

    def add(self, commands: Iterable[Command], derivation: Derivation) -> None:
        """Add what these commands need on a shard."""
        shard = derivation.shard
        for command in commands:
            if command.request is not None:
                self.requests.add(command.request.key)
            match command:
                case Transfer() | PlaceHold():
                    self.accounts.add(command.source)
                    if (other_shard := shard_of(command.destination)) == shard:
                        self.accounts.add(command.destination)
                    else:
                        self.derived.add(derivation.clearing(other_shard, command.tenant, command.asset))
                case PostTransaction():
                    self.accounts.update(
                        account for account, _ in command.entries if shard_of(account) == shard
                    )
                    self.derived.update(
                        derivation.clearing(shard_of(account), command.tenant, asset)
                        for account, asset in command.foreign_assets.items()
                        if asset is not None
                    )
                case ClaimKey():
                    pass
                case OpenAccount() | ChangeAccount():
                    self.accounts.add(command.account)
                case CaptureHold() | VoidHold() | ExpireHold():
                    self.holds.add(local_of(command.hold))
                case Reverse():
                    self.originals.add(local_of(command.transaction))
                    self._add_clearings(command.payers, command.tenant, derivation)
                case _:
                    self._add_step(command, derivation)

    def _add_step(self, command: Command, derivation: Derivation) -> None:
        shard = derivation.shard
        match command:
            case Credit():
                self._add_legs(derivation, shard_of(command.saga), command.tenant, command.terms.credits)
            case RefuseCredit():
                pass
            case Finalize() | Release():
                self._add_end(command, derivation)
            case Promise() | Confirm() | Revoke():
                legs = command.terms.credits_on(shard)
                # The end of a promise checks that the promise exists.
                self.requests.add(credit_request(command.saga).key)
                self._add_legs(derivation, shard_of(command.saga), command.tenant, legs)
            case GiveUp() | Settle():
                self.sagas.add(local_of(command.saga))
            case _:
                raise TypeError(f"no rule says what {type(command).__name__} needs")

    def _add_end(self, command: Finalize | Release, derivation: Derivation) -> None:
        terms = command.terms
        self.sagas.add(local_of(command.saga))
        self.accounts.update(leg.account for leg in terms.debits)
        self._add_clearings(terms.credits, command.tenant, derivation)
        if terms.operation is Kind.HOLD_CAPTURED and terms.refers_to is not None:
            self.holds.add(terms.refers_to)

    def _add_clearings(self, payees: Iterable[Leg], tenant: int, derivation: Derivation) -> None:
        """Add the clearing accounts for payments to these accounts of other shards."""
        for leg in payees:
            if leg.asset is not None:
                self.derived.add(derivation.clearing(shard_of(leg.account), tenant, leg.asset))

    def _add_legs(self, derivation: Derivation, other_shard: int, tenant: int, legs: Iterable[Leg]) -> None:
        """Add the accounts of this shard that a step moves, and the clearing accounts on the other side."""
        for leg in legs:
            self.accounts.add(leg.account)
            if leg.asset is not None:
                self.derived.add(derivation.clearing(other_shard, tenant, leg.asset))
