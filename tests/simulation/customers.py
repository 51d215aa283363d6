"""The accounts of the simulated shards, and what their owners ask for."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Final

from tallystick.domain.accounts import AccountKind, AccountStatus
from tallystick.domain.commands import (
    CaptureHold,
    ChangeAccount,
    Command,
    Kind,
    Leg,
    OpenAccount,
    PlaceHold,
    PostTransaction,
    RequestKey,
    Reverse,
    Transfer,
    VoidHold,
)
from tallystick.domain.identifiers import make_identifier, shard_of
from tallystick.domain.outcomes import Outcome
from tallystick.domain.sagas import SagaStatus
from tests.simulation.shard import Shard

TENANT: Final = 1
START_US: Final = 1_800_000_000_000_000

# Of each shard: local number, asset, what it is given at first.
BANK: Final = 1
WALLETS: Final = (2, 3, 4)
EURO_BANK: Final = 5
EURO_WALLETS: Final = (6, 7)
_GIVEN: Final = {2: 100, 3: 60, 4: 0, 6: 50, 7: 0}


@dataclass
class Request:
    """What somebody asked for under a key, and every answer that came."""

    number: int
    shard: int
    command: Command
    effects: dict[int, int]
    answers: list[Outcome] = field(default_factory=list)
    told: list[SagaStatus] = field(default_factory=list)


@cache
def _opened(number: int) -> Shard:
    shard = Shard(number)
    opened: list[Command] = []
    for local in (BANK, *WALLETS, EURO_BANK, *EURO_WALLETS):
        is_bank = local in {BANK, EURO_BANK}
        opened.append(
            OpenAccount(
                tenant=TENANT,
                account=make_identifier(number, local),
                owner=f"owner {local}",
                asset=_asset(local),
                kind=AccountKind.SYSTEM if is_bank else AccountKind.WALLET,
                min_balance=None if is_bank else 0,
                max_balance=None,
            )
        )
    opened += [
        Transfer(
            tenant=TENANT,
            source=make_identifier(number, BANK if _asset(local) == "USD" else EURO_BANK),
            destination=make_identifier(number, local),
            amount=amount,
            asset=_asset(local),
        )
        for local, amount in _GIVEN.items()
        if amount
    ]
    shard.decide(opened, START_US)
    return shard


def open_shards(count: int) -> dict[int, Shard]:
    """Shards with some accounts, some of them funded."""
    return {number: _opened(number).copy() for number in range(1, count + 1)}


def given(shards: Iterable[int]) -> dict[int, int]:
    """What every account had before anybody asked for anything."""
    balances: dict[int, int] = {}
    for number in shards:
        for local in (BANK, *WALLETS, EURO_BANK, *EURO_WALLETS):
            balances[make_identifier(number, local)] = _GIVEN.get(local, 0)
        for bank, wallets in ((BANK, WALLETS), (EURO_BANK, EURO_WALLETS)):
            balances[make_identifier(number, bank)] = -sum(_GIVEN[local] for local in wallets)
    return balances


def _asset(local: int) -> str:
    return "USD" if local < EURO_BANK else "EUR"


class Customers:
    """Ask for one thing after the other, most of it across shards."""

    def __init__(self, random: Random, shards: dict[int, Shard]) -> None:
        self.random = random
        self.shards = shards
        self.requests: list[Request] = []

    def ask(self) -> Request | None:
        """A new request; None if there is nothing to ask for now."""
        makers: tuple[Callable[[RequestKey], tuple[Command, dict[int, int]] | None], ...] = (
            self._transfer,
            self._transfer,
            self._transfer,
            self._payment_with_fee,
            self._exchange,
            self._split,
            self._split,
            self._split,
            self._hold,
            self._hold,
            self._capture,
            self._capture,
            self._capture,
            self._void,
            self._reverse,
            self._reverse,
            self._reverse,
        )
        number = len(self.requests) + 1
        made = self.random.choice(makers)(RequestKey(number.to_bytes(16, "big"), number.to_bytes(8, "big")))
        if made is None:
            return None
        command, effects = made
        request = Request(number, self._home_of(command), command, effects)
        self.requests.append(request)
        return request

    @staticmethod
    def _home_of(command: Command) -> int:
        match command:
            case Transfer() | PlaceHold():
                return shard_of(command.source)
            case PostTransaction():
                return shard_of(next(account for account, amount in command.entries if amount < 0))
            case CaptureHold() | VoidHold():
                return shard_of(command.hold)
            case Reverse():
                return shard_of(command.transaction)
        raise TypeError(command)

    def _two_shards(self) -> tuple[int, int]:
        here = self.random.choice(list(self.shards))
        there = self.random.choice([number for number in self.shards if number != here])
        return here, there

    def _wallet(self, shard: int) -> int:
        return make_identifier(shard, self.random.choice(WALLETS))

    def _amount(self) -> int:
        return self.random.choice((1, 5, 10, 30, 60, 100))

    def _transfer(self, key: RequestKey) -> tuple[Command, dict[int, int]]:
        here, there = self._two_shards()
        source, amount = self._wallet(here), self._amount()
        if self.random.random() < 0.15:
            there = here
        destination = self._wallet(there)
        effects = {source: -amount, destination: amount}
        command = Transfer(
            tenant=TENANT, request=key, source=source, destination=destination, amount=amount, asset="USD"
        )
        return command, effects if source != destination else {}

    def _payment_with_fee(self, key: RequestKey) -> tuple[Command, dict[int, int]]:
        here, there = self._two_shards()
        amount = self._amount()
        first, second = self.random.sample(WALLETS, 2)
        effects = {
            self._wallet(here): -amount - 2,
            make_identifier(there, first): amount,
            make_identifier(there, second): 2,
        }
        return self._post(key, effects), effects

    def _exchange(self, key: RequestKey) -> tuple[Command, dict[int, int]]:
        """Two people of one shard pay two of another, in two assets."""
        here, there = self._two_shards()
        amount = self._amount()
        effects = {
            self._wallet(here): -amount,
            make_identifier(here, self.random.choice(EURO_WALLETS)): -7,
            self._wallet(there): amount,
            make_identifier(there, self.random.choice(EURO_WALLETS)): 7,
        }
        return self._post(key, effects), effects

    def _split(self, key: RequestKey) -> tuple[Command, dict[int, int]] | None:
        """One or two people of one shard pay people on all the others, in one asset or two."""
        here = self.random.choice(list(self.shards))
        others = [number for number in self.shards if number != here]
        if len(others) < 2:
            return None
        amount = self.random.choice((1, 5, 10, 20))
        effects = {self._wallet(here): -amount * len(others)}
        effects |= {self._wallet(there): amount for there in others}
        if self.random.random() < 0.3:
            effects[make_identifier(here, self.random.choice(EURO_WALLETS))] = -3
            effects[make_identifier(others[0], self.random.choice(EURO_WALLETS))] = 3
        return self._post(key, effects), effects

    def _post(self, key: RequestKey, effects: dict[int, int]) -> PostTransaction:
        assets: dict[int, str | None] = {account: self._asset_of(account) for account in effects}
        return PostTransaction(
            tenant=TENANT, request=key, entries=tuple(effects.items()), foreign_assets=assets
        )

    def _asset_of(self, account: int) -> str:
        return self.shards[shard_of(account)].accounts[account].terms.asset

    def _hold(self, key: RequestKey) -> tuple[Command, dict[int, int]]:
        here, there = self._two_shards()
        destination = self._wallet(there)
        command = PlaceHold(
            tenant=TENANT,
            request=key,
            source=self._wallet(here),
            destination=destination,
            amount=self._amount(),
            asset="USD",
            expires_in_us=self.random.choice((5, 40, 1_000)),
            foreign_assets={destination: "USD"},
        )
        return command, {}

    def _capture(self, key: RequestKey) -> tuple[Command, dict[int, int]] | None:
        held = self._some_hold()
        if held is None:
            return None
        shard, position = held
        hold = self.shards[shard].holds[position]
        amount = self.random.choice((1, 5, hold.remaining, hold.amount))
        command = CaptureHold(
            tenant=TENANT,
            request=key,
            hold=make_identifier(shard, position),
            amount=amount,
            final=self.random.random() < 0.3,
        )
        return command, {hold.account: -amount, hold.destination: amount}

    def _void(self, key: RequestKey) -> tuple[Command, dict[int, int]] | None:
        held = self._some_hold()
        if held is None:
            return None
        return VoidHold(tenant=TENANT, request=key, hold=make_identifier(*held)), {}

    def _some_hold(self) -> tuple[int, int] | None:
        held = [(shard.number, hold) for shard in self.shards.values() for hold in shard.holds]
        return self.random.choice(held) if held else None

    def _reverse(self, key: RequestKey) -> tuple[Command, dict[int, int]] | None:
        """Give back what was credited, or a part of it where one paid one."""
        credited = list(self._credited())
        if not credited:
            return None
        shard, position, payers = self.random.choice(credited)
        paid = {
            entry.account: entry.amount for entry in self.shards[shard].entries[position] if entry.amount > 0
        }
        whole = sum(paid.values())
        amount = whole
        if len(paid) == 1 and len(payers) == 1:
            amount = self.random.choice((whole, 1, max(1, whole // 2)))
        part = {leg.account: leg.amount if amount == whole else amount for leg in payers}
        effects = part | {account: -(one if amount == whole else amount) for account, one in paid.items()}
        command = Reverse(
            tenant=TENANT,
            request=key,
            transaction=make_identifier(shard, position),
            amount=amount,
            payers=payers,
        )
        return command, effects

    def _credited(self) -> Iterator[tuple[int, int, tuple[Leg, ...]]]:
        """What was credited on a shard, at which position, and who paid it."""
        for shard in self.shards.values():
            for saga in shard.sagas.values():
                if saga.counterpart is not None and saga.terms.operation is not Kind.REVERSAL:
                    yield saga.terms.other_shard, saga.counterpart or 0, saga.terms.debits

    def change(self) -> tuple[int, ChangeAccount]:
        """A change of a receiver between steps: frozen, closed, full, or open again."""
        shard = self.random.choice(list(self.shards))
        account = self._wallet(shard)
        balance = self.shards[shard].accounts[account].balance
        status = self.random.choice(tuple(AccountStatus) + (AccountStatus.OPEN,) * 2)
        limit = self.random.choice((None, None, balance, balance + 20))
        return shard, ChangeAccount(tenant=TENANT, account=account, status=status, max_balance=limit)
