"""The state of a batch while it is decided, and the steps from which every rule is built.

Rules (`domain/rules`) judge movements of accounts against these states and append rows. `Deciding` handles
idempotency keys and the order of commands.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from tallystick.domain.accounts import AccountKind, AccountState, AccountStatus, AccountTerms
from tallystick.domain.commands import Kind, Note
from tallystick.domain.holds import HoldState
from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.limits import INT64_MAX, INT64_MIN
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, Refused, refuse
from tallystick.domain.rows import AccountRow, Appended, EntryRow, TransactionRow
from tallystick.domain.sagas import SagaState
from tallystick.domain.snapshot import Head, Original, Snapshot

# Most rows are made here. The constructor of a named tuple takes twice as long.
_new_transaction = partial(tuple.__new__, TransactionRow)
_new_entry = partial(tuple.__new__, EntryRow)


class Movement(msgspec.Struct, frozen=True, gc=False):
    """One account's part in a transaction, before it is judged."""

    account: int
    amount: int
    held: int
    param: str


def judge(state: AccountState, amount: int, held: int) -> RefusalCode | None:
    """Judge one change of an account against its bounds.

    A bound applies only to a change towards it: `min_balance` to a change that lowers the available balance,
    `max_balance` to a change that raises the balance. So a bound that is tightened later does not block what was
    reserved before.
    """
    balance = state.balance + amount
    held_after = state.held + held
    available = balance - held_after
    terms = state.terms
    if amount < held and terms.min_balance is not None and available < terms.min_balance:
        return RefusalCode.INSUFFICIENT_FUNDS
    if amount > 0 and terms.max_balance is not None and balance > terms.max_balance:
        return RefusalCode.BALANCE_LIMIT_EXCEEDED
    if balance > INT64_MAX or balance < INT64_MIN or available < INT64_MIN or held_after > INT64_MAX:
        return RefusalCode.BALANCE_LIMIT_EXCEEDED
    return None


class Books:
    """All states as of the command that is being answered, and the rows appended so far."""

    def __init__(self, snapshot: Snapshot, now_us: int) -> None:
        self.derivation = snapshot.derivation
        self.shard = snapshot.shard
        self.now_us = now_us
        self.head: Head = snapshot.head
        self.position = snapshot.head.last_position
        self.known_accounts = snapshot.accounts
        self.accounts: dict[int, AccountState] = {}
        self.holds = dict(snapshot.holds)
        self.sagas = dict(snapshot.sagas)
        self.originals = dict(snapshot.originals)
        self.requests = dict(snapshot.requests)
        self.appended = Appended([], [], [], [], [], [])
        self.entry_starts: list[int] = []
        # The tenant of each refusal that was recorded.
        self.refused_tenants: list[int] = []

    def save(self) -> tuple[Any, ...]:
        """The state that `restore` needs to return to this point."""
        return (
            self.position,
            dict(self.accounts),
            dict(self.holds),
            dict(self.sagas),
            dict(self.originals),
            dict(self.requests),
            [len(rows) for rows in self._tables()],
        )

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Return to a saved state. Rows that were appended since are dropped."""
        (
            self.position,
            self.accounts,
            self.holds,
            self.sagas,
            self.originals,
            self.requests,
            lengths,
        ) = saved
        for rows, length in zip(self._tables(), lengths, strict=True):
            del rows[length:]

    def _tables(self) -> tuple[list[Any], ...]:
        return (*self.appended, self.entry_starts, self.refused_tenants)

    def append_terms(self, terms: AccountTerms, before: AccountState) -> None:
        """Append the terms of an account at the newest position."""
        state = AccountState(terms, before.balance, before.held, before.position)
        self.appended.accounts.append(AccountRow(self.position, state))
        self.accounts[terms.account] = state

    def is_local(self, account: int) -> bool:
        """Whether an account lives on this shard."""
        return shard_of(account) == self.shard

    def account(self, account: int) -> AccountState | None:
        """An account's newest state."""
        return self.accounts.get(account) or self.known_accounts.get(account)

    def original(self, position: int) -> Original | None:
        """A transaction that may be reversed. It may be one of this batch."""
        original = self.originals.get(position)
        index = position - self.head.last_position - 1
        if original is None and 0 <= index < len(self.appended.transactions):
            # Posted by an earlier command of this batch.
            row = self.appended.transactions[index]
            entries = tuple(
                (entry.account, entry.amount) for entry in self.appended.entries if entry.position == position
            )
            original = Original(position, row.tenant, row.kind, entries, refers_to=row.refers_to)
        return original

    def return_reversed(self, position: int, amount: int) -> None:
        """Subtract an amount from what is recorded as reversed, because the reversal was released."""
        if (original := self.originals.get(position)) is not None:
            self.originals[position] = msgspec.structs.replace(
                original, reversed_amount=original.reversed_amount - amount
            )

    def hold(self, tenant: int, identifier: int) -> HoldState | None:
        """A tenant's hold by its identifier."""
        hold = self.holds.get(local_of(identifier))
        if hold is None:
            return None
        state = self.account(hold.account)
        return hold if state is not None and state.terms.tenant == tenant else None

    def move(
        self,
        tenant: int,
        kind: Kind,
        movements: Sequence[Movement],
        note: Note,
        *,
        asset: str | None = None,
        refers_to: int | None = None,
    ) -> Outcome:
        """Judge all movements. Post them together, or refuse for the reason with the highest precedence."""
        refusal = self.first_refusal(tenant, movements, asset)
        if refusal is not None:
            return refusal
        posted = self.append(tenant, kind, note, refers_to)
        for movement in movements:
            self.append_entry(movement)
        return posted

    def first_refusal(self, tenant: int, movements: Sequence[Movement], asset: str | None) -> Refused | None:
        """The refusal with the highest precedence among these movements, the earliest of equal ones.

        None if all are allowed.
        """
        worst: RefusalCode | None = None
        param = ""
        for movement in movements:
            code = self._refusal_code(tenant, movement, asset)
            if code is not None and (worst is None or code < worst):
                worst, param = code, movement.param
        return None if worst is None else refuse(worst, param)

    def _refusal_code(self, tenant: int, movement: Movement, asset: str | None) -> RefusalCode | None:
        """The reason with the highest precedence to refuse one movement; None if it is allowed."""
        state = self.account(movement.account)
        if state is None or state.terms.tenant != tenant:
            return RefusalCode.ACCOUNT_NOT_FOUND
        terms = state.terms
        if terms.kind is AccountKind.CLEARING:
            # Only sagas move clearing accounts, and they do not call this.
            return RefusalCode.ACCOUNT_NOT_FOUND
        if asset is not None and terms.asset != asset:
            return RefusalCode.ASSET_MISMATCH
        if terms.status is not AccountStatus.OPEN:
            if terms.status is AccountStatus.CLOSED:
                return RefusalCode.ACCOUNT_CLOSED
            if movement.amount < movement.held:
                return RefusalCode.ACCOUNT_FROZEN
        return judge(state, movement.amount, movement.held)

    def append(self, tenant: int, kind: Kind, note: Note, refers_to: int | None = None) -> Posted:
        """Append a transaction at the next position."""
        self.position += 1
        self.entry_starts.append(len(self.appended.entries))
        self.appended.transactions.append(
            _new_transaction(
                (
                    self.position,
                    self.now_us,
                    tenant,
                    kind,
                    note.effective_at_us,
                    refers_to,
                    note.description,
                    note.metadata,
                )
            )
        )
        return Posted(self.position)

    def append_entry(self, movement: Movement) -> None:
        """Append the change of one account to the newest transaction."""
        account, amount, held = movement.account, movement.amount, movement.held
        state = self.accounts.get(account) or self.known_accounts[account]
        terms = state.terms
        balance = state.balance + amount
        held_after = state.held + held
        bound = terms.min_balance if amount < held else terms.max_balance if amount > 0 else None
        position = self.position
        self.accounts[account] = AccountState(terms, balance, held_after, position)
        self.appended.entries.append(
            _new_entry((account, position, amount, balance, held, held_after, bound, terms.asset))
        )

    def append_plain(self, state: AccountState, balance: int, amount: int, bound: int | None) -> None:
        """Append a change that holds nothing and was judged already against `bound`."""
        terms = state.terms
        account, held, position = terms.account, state.held, self.position
        self.accounts[account] = AccountState(terms, balance, held, position)
        self.appended.entries.append(
            _new_entry((account, position, amount, balance, 0, held, bound, terms.asset))
        )

    def append_hold(self, hold: HoldState) -> None:
        """Append a hold's newest state."""
        self.holds[hold.hold] = hold
        self.appended.holds.append(hold)

    def append_saga(self, saga: SagaState) -> None:
        """Append a saga's newest state."""
        self.sagas[saga.saga] = saga
        self.appended.sagas.append(saga)
