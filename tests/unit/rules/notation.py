"""A small notation for ledgers and commands, so that each example of a rule takes a few lines.

A ledger is written as one line for each account, hold and saga::

    alice   100 USD, 20 held
    bob       0 USD, frozen, max 500
    hold 1: 20 for bob, open

An account of this notation is a wallet (no overdraft) of tenant 1 on shard 1, unless its line says otherwise:
`min -50`, `no min`, `tenant 2`; `carol/2` is an account on shard 2, `@fees` one of a system owner, and `clearing/2`
the clearing account with shard 2. Amounts are in minor units.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from tallystick.domain.accounts import (
    DEFAULT_MIN_BALANCE,
    AccountKind,
    AccountState,
    AccountStatus,
    AccountTerms,
)
from tallystick.domain.commands import (
    CaptureHold,
    ChangeAccount,
    ClaimKey,
    Command,
    ExpireHold,
    Leg,
    OpenAccount,
    PlaceHold,
    PostTransaction,
    Reach,
    RequestKey,
    Reverse,
    Transfer,
    VoidHold,
)
from tallystick.domain.decide import Atomic
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.fingerprint import RequestKind, fingerprint, request_key
from tallystick.domain.holds import HoldState
from tallystick.domain.identifiers import make_identifier, shard_of
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, Refused, refuse
from tallystick.domain.rows import EntryRow
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
from tallystick.domain.sagas import SagaState, SagaTerms, Step, credit_request, promise_end_request
from tallystick.domain.system_owners import SystemAccount, is_system_owner
from tests.oracle.deciding import decide
from tests.oracle.store import Store

TENANT: Final = 1
SECOND_US: Final = 1_000_000
_NAMES: Final[dict[int, str]] = {}


# Examples.


def posted(before: str, command: Command, after: str) -> None:
    """The command is posted, and makes the ledger `before` into the ledger `after`."""
    ledger = Ledger(before)
    assert ledger.do(command) == "posted"
    ledger.shows(after)


def refused(before: str, command: Command, reason: str) -> None:
    """The command is refused and changes nothing. The reason is the code, and the field that it is about."""
    ledger = Ledger(before)
    assert ledger.do(command) == reason
    ledger.shows(before)


class Ledger:
    """One shard's ledger: written as text, and changed by commands alone."""

    def __init__(self, text: str = "", *, shard: int = 1) -> None:
        self.shard = shard
        self._store = Store(_derivation(shard))
        self._now_us = 0
        for line in _lines(text):
            self._add(line)

    def do(self, command: Command | Atomic) -> str:
        """Decide one command in a batch of its own: `posted`, `posted before`, or the refusal as `code field`."""
        return self.do_all(command)[0]

    def do_all(self, *commands: Command | Atomic) -> list[str]:
        """Decide several commands in one batch."""
        snapshot = self._store.snapshot(commands, remembers_accounts=True)
        decision = decide(snapshot, commands, self._now_us)
        self._store.append(decision.appended, decision.last_position, self._now_us)
        return [_written(outcome) for outcome in decision.outcomes]

    def wait(self, seconds: int) -> None:
        """Let time pass on the shard's clock."""
        self._now_us += seconds * SECOND_US

    def shows(self, text: str) -> None:
        """The ledger is what the text says, in any order of its lines."""
        assert sorted(self._written()) == sorted(_lines(text))

    def saga(self, position: int) -> "Saga":
        """The saga that was reserved at a position, for the commands that are its steps."""
        state = {state.saga: state for state in self._store.sagas}[position]
        return Saga(make_identifier(self.shard, position), state)

    def state(self, name: str) -> AccountState:
        """An account's newest state."""
        (found,) = self._store.account_states({account(name)})
        return found

    @property
    def position(self) -> int:
        """The newest position of the log."""
        return self._store.head.last_position

    def _add(self, line: str) -> None:
        (name, amount, asset), *options = (part.split() for part in line.split(","))
        kind = AccountKind.SYSTEM if is_system_owner(name) else AccountKind.WALLET
        state = AccountState(
            AccountTerms(
                account(name), TENANT, name, asset, kind, AccountStatus.OPEN, DEFAULT_MIN_BALANCE[kind], None
            ),
            int(amount),
        )
        for option in options:
            state = _with_option(state, option)
        terms = state.terms
        self._store.terms.append((0, terms))
        self._store.entries.append(
            EntryRow(terms.account, 0, state.balance, state.balance, state.held, state.held, None, asset)
        )

    def _written(self) -> list[str]:
        accounts = {terms.account for _, terms in self._store.terms}
        holds = {hold.hold: hold for hold in self._store.holds}.values()
        sagas = {saga.saga: saga for saga in self._store.sagas}.values()
        return [
            *map(_account_line, self._store.account_states(accounts)),
            *map(_hold_line, holds),
            *(f"saga {saga.saga}: {saga.status.name.lower()}" for saga in sagas),
        ]


# Commands, with what most examples leave out.


def account(name: str) -> int:
    """The identifier of an account by its name."""
    owner, _, shard = name.partition("/")
    number = int(shard or 1)
    if owner == "clearing":
        identifier = _derivation(1).clearing(number, TENANT, "USD").account
    elif is_system_owner(owner):
        identifier = _derivation(number).of_system_owner(TENANT, owner, "USD").account
    else:
        identifier = make_identifier(number, 1 + zlib.crc32(owner.encode()))
    _NAMES[identifier] = name
    return identifier


def open_account(name: str, *, min_balance: int | None = 0, max_balance: int | None = None) -> OpenAccount:
    return OpenAccount(
        tenant=TENANT,
        account=account(name),
        owner=name,
        asset="USD",
        kind=AccountKind.WALLET,
        min_balance=min_balance,
        max_balance=max_balance,
    )


def change_account(
    name: str,
    *,
    status: AccountStatus | msgspec.UnsetType = msgspec.UNSET,
    min_balance: int | None | msgspec.UnsetType = msgspec.UNSET,
    max_balance: int | None | msgspec.UnsetType = msgspec.UNSET,
    metadata: Mapping[str, str | None] | None = None,
    tags: Collection[str] | None = None,
) -> ChangeAccount:
    return ChangeAccount(
        tenant=TENANT,
        account=account(name),
        status=status,
        min_balance=min_balance,
        max_balance=max_balance,
        metadata_changes=metadata or {},
        tags=None if tags is None else frozenset(tags),
    )


def transfer(
    source: str, destination: str, amount: int, asset: str = "USD", *, reach: Reach = Reach.REACHABLE
) -> Transfer:
    return Transfer(
        tenant=TENANT,
        source=account(source),
        destination=account(destination),
        amount=amount,
        asset=asset,
        reach=reach,
        opens=_system_accounts(source, destination),
    )


def entries(**amounts: int) -> PostTransaction:
    """A transaction of several entries: `entries(alice=-30, bob=20, carol_2=10)`; `carol_2` is on shard 2."""
    return entries_of([(name.replace("_", "/"), amount) for name, amount in amounts.items()])


def entries_of(amounts: Sequence[tuple[str, int]]) -> PostTransaction:
    identifiers = [account(name) for name, _ in amounts]
    return PostTransaction(
        tenant=TENANT,
        entries=tuple(zip(identifiers, (amount for _, amount in amounts), strict=True)),
        foreign_assets={one: "USD" for one in identifiers if shard_of(one) != 1},
    )


def reverse(position: int, amount: int | None = None, *, payers: dict[str, int] | None = None) -> Reverse:
    """Reverse the transaction at a position of shard 1. `payers`: whom a credit came from, on another shard."""
    legs = tuple(Leg(account(name), paid, "USD", "id") for name, paid in (payers or {}).items())
    return Reverse(tenant=TENANT, transaction=make_identifier(1, position), amount=amount, payers=legs)


def place_hold(
    source: str, destination: str, amount: int, asset: str = "USD", *, seconds: int = 60
) -> PlaceHold:
    payee = account(destination)
    return PlaceHold(
        tenant=TENANT,
        source=account(source),
        destination=payee,
        amount=amount,
        asset=asset,
        expires_in_us=seconds * SECOND_US,
        foreign_assets={payee: "USD"},
    )


def capture_hold(hold: int, amount: int | None = None, *, final: bool = False) -> CaptureHold:
    return CaptureHold(tenant=TENANT, hold=make_identifier(1, hold), amount=amount, final=final)


def void_hold(hold: int) -> VoidHold:
    return VoidHold(tenant=TENANT, hold=make_identifier(1, hold))


def expire_hold(hold: int) -> ExpireHold:
    return ExpireHold(tenant=TENANT, hold=make_identifier(1, hold))


def claim_key(key: str, *, shard: int) -> ClaimKey:
    return ClaimKey(
        tenant=TENANT,
        request=RequestKey(request_key(TENANT, key), fingerprint(RequestKind.TRANSFER)),
        shard=shard,
    )


def with_key(key: str, command: Transfer, *, keeps_refusal: bool = True) -> Transfer:
    """The same command with an idempotency key."""
    asked = fingerprint(
        RequestKind.TRANSFER, command.source, command.destination, command.amount, command.asset
    )
    request = RequestKey(request_key(TENANT, key), asked, keeps_refusal)
    return msgspec.structs.replace(command, request=request)


def atomic(*commands: Command) -> Atomic:
    return Atomic(commands)


# The steps of a saga.


class Saga(msgspec.Struct, frozen=True):
    """A saga, for its steps: its identifier, and what the payer's shard wrote about it."""

    identifier: int
    state: SagaState

    @property
    def terms(self) -> SagaTerms:
        return self.state.terms


def credit(saga: Saga) -> Credit:
    return Credit(
        tenant=TENANT, request=credit_request(saga.identifier), saga=saga.identifier, terms=saga.terms
    )


def refuse_credit(saga: Saga) -> RefuseCredit:
    return RefuseCredit(tenant=TENANT, request=credit_request(saga.identifier), saga=saga.identifier)


def finalize(saga: Saga, counterpart: int | None = None) -> Finalize:
    return Finalize(tenant=TENANT, saga=saga.identifier, terms=saga.terms, counterpart=counterpart)


def release(saga: Saga, code: RefusalCode = RefusalCode.TRANSFER_CANCELLED) -> Release:
    return Release(tenant=TENANT, saga=saga.identifier, terms=saga.terms, refusal=refuse(code))


def promise(saga: Saga) -> Promise:
    return Promise(
        tenant=TENANT, request=credit_request(saga.identifier), saga=saga.identifier, terms=saga.terms
    )


def confirm(saga: Saga) -> Confirm:
    request = promise_end_request(saga.identifier, Step.CONFIRM)
    return Confirm(tenant=TENANT, request=request, saga=saga.identifier, terms=saga.terms)


def revoke(saga: Saga) -> Revoke:
    request = promise_end_request(saga.identifier, Step.REVOKE)
    return Revoke(tenant=TENANT, request=request, saga=saga.identifier, terms=saga.terms)


def give_up(saga: Saga, code: RefusalCode = RefusalCode.TRANSFER_CANCELLED) -> GiveUp:
    return GiveUp(tenant=TENANT, saga=saga.identifier, terms=saga.terms, refusal=refuse(code))


def settle(saga: Saga) -> Settle:
    return Settle(tenant=TENANT, saga=saga.identifier, terms=saga.terms)


# Texts.


def _derivation(shard: int) -> Derivation:
    return Derivation(shard, bytes([shard]) * 32)


def _system_accounts(*names: str) -> tuple[SystemAccount, ...]:
    return tuple(SystemAccount(account(name), name, "USD") for name in names if is_system_owner(name))


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _with_option(state: AccountState, option: list[str]) -> AccountState:
    replace = msgspec.structs.replace
    terms = state.terms
    match option:
        case [amount, "held"]:
            return replace(state, held=int(amount))
        case ["frozen" | "closed" as status]:
            terms = replace(terms, status=AccountStatus[status.upper()])
        case ["no", "min"]:
            terms = replace(terms, min_balance=None)
        case ["min", amount]:
            terms = replace(terms, min_balance=int(amount))
        case ["max", amount]:
            terms = replace(terms, max_balance=int(amount))
        case ["tenant", number]:
            terms = replace(terms, tenant=int(number))
        case ["identifier", "of", name]:
            terms = replace(terms, account=account(name))
        case _:
            raise ValueError(option)
    return replace(state, terms=terms)


def _account_line(state: AccountState) -> str:
    terms = state.terms
    name = terms.owner.replace("clearing with shard ", "clearing/")
    parts = [f"{name} {state.balance} {terms.asset}"]
    if state.held:
        parts.append(f"{state.held} held")
    if terms.status is not AccountStatus.OPEN:
        parts.append(terms.status.name.lower())
    if terms.min_balance != DEFAULT_MIN_BALANCE[terms.kind]:
        parts.append("no min" if terms.min_balance is None else f"min {terms.min_balance}")
    if terms.max_balance is not None:
        parts.append(f"max {terms.max_balance}")
    if terms.tenant != TENANT:
        parts.append(f"tenant {terms.tenant}")
    if (other := _NAMES.get(terms.account, name)) != name:
        parts.append(f"identifier of {other}")
    return ", ".join(parts)


def _hold_line(hold: HoldState) -> str:
    captured = f", {hold.captured} captured" if hold.captured else ""
    return f"hold {hold.hold}: {hold.amount} for {_NAMES[hold.destination]}{captured}, {hold.status.name.lower()}"


def _written(outcome: Outcome) -> str:
    match outcome:
        case Posted():
            return "posted before" if outcome.replayed else "posted"
        case Refused(code, None):
            return code.text
        case Refused(code, param):
            return f"{code.text} {param}"
