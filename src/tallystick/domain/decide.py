"""Decide a batch: take commands in order, answer each, and say which rows to append.

`decide` is a pure function. A refused command leaves no trace in the books (only its key is remembered) and
never fails its neighbours; commands in one `Atomic` stand or fall together.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.domain.accounts import AccountState, AccountStatus, AccountTerms, bounds_are_valid
from tallystick.domain.commands import (
    NO_NOTE,
    CaptureHold,
    ChangeAccount,
    Command,
    ExpireHold,
    Kind,
    Note,
    OpenAccount,
    PlaceHold,
    PostTransaction,
    RequestKey,
    Reverse,
    Transfer,
    VoidHold,
)
from tallystick.domain.fingerprint import differing_field
from tallystick.domain.holds import HOLD_TRANSITIONS, HoldEvent, HoldState, HoldStatus
from tallystick.domain.identifiers import local_of
from tallystick.domain.limits import AMOUNT_MAX, ENTRIES_PER_TRANSACTION_MAX, INT64_MAX, INT64_MIN
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, Refused, refuse
from tallystick.domain.rows import AccountRow, Appended, EntryRow, RequestRow, TransactionRow
from tallystick.domain.snapshot import Head, Original, RecordedRequest, Snapshot

REVERSIBLE_KINDS: Final = frozenset({Kind.TRANSFER, Kind.TRANSACTION, Kind.HOLD_CAPTURED})
_TWO_ENTRIES: Final = 2


class Atomic(msgspec.Struct, frozen=True):
    """Commands that are all posted or all refused."""

    commands: tuple[Command, ...]


def commands_of(unit: Command | Atomic) -> tuple[Command, ...]:
    """The commands of a unit: itself, or those of the group."""
    return unit.commands if isinstance(unit, Atomic) else (unit,)


class Decision(NamedTuple):
    """What to answer (one outcome for each command, in order), what to append, and the states that follow.

    `entry_starts` says for each transaction where its entries begin among those appended; `requests` are all
    keys that were known or used.
    """

    outcomes: list[Outcome]
    appended: Appended
    accounts: dict[int, AccountState]
    requests: dict[bytes, RecordedRequest]
    first_position: int
    last_position: int
    entry_starts: list[int]


class _Movement(msgspec.Struct, frozen=True, gc=False):
    """One account's part in a transaction, before it is judged."""

    account: int
    amount: int
    held: int
    param: str


def decide(snapshot: Snapshot, units: Sequence[Command | Atomic], now_us: int) -> Decision:
    """Answer commands in order against a snapshot.

    Args:
        snapshot: the head of the log and all that the commands refer to.
        units: single commands, and groups that stand or fall together.
        now_us: the server's clock, microseconds since 1970 in UTC, not before the head's.

    Returns:
        One outcome for each command, in order, and the rows that carry them out.
    """
    batch = Deciding(snapshot, now_us)
    batch.take(units)
    return batch.decision()


def judge(state: AccountState, amount: int, held: int) -> RefusalCode | None:
    """Judge one change of an account against its bounds.

    A bound is judged only on a change towards it: one that lowers the available balance against `min_balance`,
    one that raises the balance against `max_balance`. A bound tightened later blocks nothing that was
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


class Deciding:
    """A decision in the making, for a caller that has other things to do in between: see `decide`."""

    def __init__(self, snapshot: Snapshot, now_us: int) -> None:
        self.outcomes: list[Outcome] = []
        self.now_us = now_us
        self.head: Head = snapshot.head
        self.position = snapshot.head.last_position
        self.known_accounts = snapshot.accounts
        self.accounts: dict[int, AccountState] = {}
        self.holds = dict(snapshot.holds)
        self.originals = dict(snapshot.originals)
        self.requests = dict(snapshot.requests)
        self.appended = Appended([], [], [], [], [])
        self.entry_starts: list[int] = []

    def take(self, units: Sequence[Command | Atomic]) -> None:
        """Answer the next commands, in order."""
        for unit in units:
            if isinstance(unit, Atomic):
                self.outcomes.extend(self.answer_atomic(unit))
            else:
                self.outcomes.append(self.answer(unit))

    def decision(self) -> Decision:
        """What all that was taken came to."""
        return Decision(
            self.outcomes,
            self.appended,
            self.accounts,
            self.requests,
            self.head.last_position + 1,
            self.position,
            self.entry_starts,
        )

    # One command, its key and its neighbours.

    def answer(self, command: Command) -> Outcome:
        """Answer one command: as recorded if its key was used before, else by its rule."""
        request = command.request
        if request is not None and (recorded := self.requests.get(request.key)) is not None:
            return _replay(recorded, request)
        outcome = _RULES[type(command)](self, command)
        if request is not None:
            self._record(request, outcome)
        return outcome

    def answer_atomic(self, group: Atomic) -> list[Outcome]:
        """Answer a group: if one command is refused, nothing of the group is posted."""
        before = self._save()
        outcomes = [self.answer(command) for command in group.commands]
        if not any(isinstance(outcome, Refused) for outcome in outcomes):
            return outcomes
        self._restore(before)
        return [
            self._refuse_with_group(command, outcome)
            for command, outcome in zip(group.commands, outcomes, strict=True)
        ]

    def _refuse_with_group(self, command: Command, outcome: Outcome) -> Outcome:
        request = command.request
        if request is not None and (recorded := self.requests.get(request.key)) is not None:
            return _replay(recorded, request)
        if isinstance(outcome, Posted):
            outcome = refuse(RefusalCode.ATOMIC_BATCH_REFUSED)
        if request is not None:
            self._record(request, outcome)
        return outcome

    def _record(self, request: RequestKey, outcome: Outcome) -> None:
        self.requests[request.key] = RecordedRequest(request.fingerprint, outcome)
        if isinstance(outcome, Posted):
            row = RequestRow(request.key, outcome.position, None, None, None, None, request.fingerprint)
        else:
            number = self.head.number + 1
            row = RequestRow(
                request.key, None, number, outcome.code, outcome.param, outcome.detail, request.fingerprint
            )
        self.appended.requests.append(row)

    def _save(self) -> tuple[Any, ...]:
        return (
            self.position,
            dict(self.accounts),
            dict(self.holds),
            dict(self.originals),
            dict(self.requests),
            [len(rows) for rows in self._tables()],
        )

    def _restore(self, saved: tuple[Any, ...]) -> None:
        self.position, self.accounts, self.holds, self.originals, self.requests, lengths = saved
        for rows, length in zip(self._tables(), lengths, strict=True):
            del rows[length:]

    def _tables(self) -> tuple[list[Any], ...]:
        return (*self.appended, self.entry_starts)

    # Accounts.

    def open_account(self, command: OpenAccount) -> Outcome:
        """Open an account under the identifier that the caller drew."""
        if not bounds_are_valid(command.min_balance, command.max_balance):
            return refuse(RefusalCode.BOUNDS_INVALID, "min_balance")
        if self._account(command.account) is not None:
            raise IdentifierTakenError(command.account)
        terms = AccountTerms(
            command.account,
            command.tenant,
            command.owner,
            command.asset,
            command.kind,
            AccountStatus.OPEN,
            command.min_balance,
            command.max_balance,
            command.metadata,
        )
        posted = self._append(command.tenant, Kind.ACCOUNT_OPENED, NO_NOTE)
        self._append_terms(terms, AccountState(terms))
        return posted

    def change_account(self, command: ChangeAccount) -> Outcome:
        """Freeze, unfreeze, close, reopen; change bounds or metadata."""
        state = self._account(command.account)
        if state is None or state.terms.tenant != command.tenant:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
        changes = {
            name: value
            for name in ("status", "min_balance", "max_balance", "metadata")
            if (value := getattr(command, name)) is not msgspec.UNSET
        }
        terms = msgspec.structs.replace(state.terms, **changes)
        if terms.status is AccountStatus.CLOSED and (state.balance or state.held):
            return refuse(RefusalCode.ACCOUNT_NOT_EMPTY, "status")
        if not bounds_are_valid(terms.min_balance, terms.max_balance):
            return refuse(RefusalCode.BOUNDS_INVALID, "min_balance")
        posted = self._append(command.tenant, Kind.ACCOUNT_CHANGED, NO_NOTE)
        self._append_terms(terms, state)
        return posted

    def _append_terms(self, terms: AccountTerms, before: AccountState) -> None:
        state = AccountState(terms, before.balance, before.held, before.position)
        self.appended.accounts.append(AccountRow(self.position, state))
        self.accounts[terms.account] = state

    # Money.

    def transfer(self, command: Transfer) -> Outcome:
        """Move an amount from one account to another."""
        amount = command.amount
        if command.source == command.destination:
            return refuse(RefusalCode.SAME_ACCOUNT, "destination")
        if not 0 < amount <= AMOUNT_MAX:
            return refuse(RefusalCode.AMOUNT_INVALID, "amount")
        movements = (
            _Movement(command.source, -amount, 0, "source"),
            _Movement(command.destination, amount, 0, "destination"),
        )
        return self._move(command.tenant, Kind.TRANSFER, movements, command.note, asset=command.asset)

    def post_transaction(self, command: PostTransaction) -> Outcome:
        """Post several entries that sum to zero in each asset."""
        seen: set[int] = set()
        totals: dict[str, int] = {}
        for index, (account, _) in enumerate(command.entries):
            if account in seen:
                return refuse(RefusalCode.SAME_ACCOUNT, f"entries[{index}].account")
            seen.add(account)
        for index, (_, amount) in enumerate(command.entries):
            if not amount or not -AMOUNT_MAX <= amount <= AMOUNT_MAX:
                return refuse(RefusalCode.AMOUNT_INVALID, f"entries[{index}].amount")
        for index, (account, amount) in enumerate(command.entries):
            state = self._account(account)
            if state is None or state.terms.tenant != command.tenant:
                return refuse(RefusalCode.ACCOUNT_NOT_FOUND, f"entries[{index}].account")
            totals[state.terms.asset] = totals.get(state.terms.asset, 0) + amount
        if any(totals.values()) or not _TWO_ENTRIES <= len(command.entries) <= ENTRIES_PER_TRANSACTION_MAX:
            return refuse(RefusalCode.ENTRIES_UNBALANCED, "entries")
        movements = [
            _Movement(account, amount, 0, f"entries[{index}].account")
            for index, (account, amount) in enumerate(command.entries)
        ]
        return self._move(command.tenant, Kind.TRANSACTION, movements, command.note)

    def reverse(self, command: Reverse) -> Outcome:
        """Post the opposite of a transaction, never more than the whole in total."""
        if command.amount is not None and command.amount <= 0:
            return refuse(RefusalCode.AMOUNT_INVALID, "amount")
        original = self._original(local_of(command.transaction))
        if original is None or original.tenant != command.tenant:
            return refuse(RefusalCode.TRANSACTION_NOT_FOUND, "id")
        if original.kind not in REVERSIBLE_KINDS:
            return refuse(RefusalCode.TRANSACTION_NOT_REVERSIBLE, "id")
        whole = sum(amount for _, amount in original.entries if amount > 0)
        remaining = whole - original.reversed_amount
        amount = remaining if command.amount is None else command.amount
        if not 0 < amount <= remaining:
            return refuse(RefusalCode.REVERSAL_EXCEEDS_ORIGINAL, "amount")
        if amount != whole and len(original.entries) != _TWO_ENTRIES:
            return refuse(RefusalCode.TRANSACTION_NOT_REVERSIBLE, "amount")
        movements = [
            _Movement(account, _opposite(entry, amount, whole), 0, "id")
            for account, entry in original.entries
        ]
        outcome = self._move(
            command.tenant, Kind.REVERSAL, movements, command.note, refers_to=original.position
        )
        if isinstance(outcome, Posted):
            reversed_amount = original.reversed_amount + amount
            self.originals[original.position] = msgspec.structs.replace(
                original, reversed_amount=reversed_amount
            )
        return outcome

    # Holds.

    def place_hold(self, command: PlaceHold) -> Outcome:
        """Set an amount of the source's balance aside for the destination."""
        if command.source == command.destination:
            return refuse(RefusalCode.SAME_ACCOUNT, "destination")
        if not 0 < command.amount <= AMOUNT_MAX:
            return refuse(RefusalCode.AMOUNT_INVALID, "amount")
        source = _Movement(command.source, 0, command.amount, "source")
        destination = _Movement(command.destination, 0, 0, "destination")
        refusal = self._first_refusal(command.tenant, (source, destination), command.asset)
        if refusal is not None:
            return refusal
        posted = self._append(command.tenant, Kind.HOLD_PLACED, command.note)
        self._append_entry(source)
        hold = HoldState(
            hold=posted.position,
            position=posted.position,
            account=command.source,
            destination=command.destination,
            amount=command.amount,
            captured=0,
            status=HoldStatus.OPEN,
            expires_at_us=self.now_us + command.expires_in_us,
        )
        self._append_hold(hold)
        return posted

    def capture_hold(self, command: CaptureHold) -> Outcome:
        """Pay the hold's destination from what the hold set aside."""
        hold = self._hold(command.tenant, command.hold)
        if hold is None:
            return refuse(RefusalCode.HOLD_NOT_FOUND, "id")
        amount = hold.remaining if command.amount is None else command.amount
        final = command.final or amount == hold.remaining
        status = self._next_status(hold, HoldEvent.CAPTURE_FINAL if final else HoldEvent.CAPTURE)
        if status is None:
            return refuse(RefusalCode.HOLD_NOT_OPEN, "id")
        if amount <= 0:
            return refuse(RefusalCode.AMOUNT_INVALID, "amount")
        if amount > hold.remaining:
            return refuse(RefusalCode.CAPTURE_EXCEEDS_HOLD, "amount")
        released = hold.remaining if final else amount
        movements = (
            _Movement(hold.account, -amount, -released, "id"),
            _Movement(hold.destination, amount, 0, "id"),
        )
        outcome = self._move(command.tenant, Kind.HOLD_CAPTURED, movements, command.note, refers_to=hold.hold)
        if isinstance(outcome, Posted):
            self._change_hold(hold, status, captured=hold.captured + amount)
        return outcome

    def void_hold(self, command: VoidHold) -> Outcome:
        """Release what is left of a hold."""
        hold = self._hold(command.tenant, command.hold)
        if hold is None:
            return refuse(RefusalCode.HOLD_NOT_FOUND, "id")
        return self._release(command, hold, HoldEvent.VOID, Kind.HOLD_VOIDED, command.note)

    def expire_hold(self, command: ExpireHold) -> Outcome:
        """Release a hold whose time is over."""
        hold = self._hold(command.tenant, command.hold)
        if hold is None:
            return refuse(RefusalCode.HOLD_NOT_FOUND, "id")
        return self._release(command, hold, HoldEvent.EXPIRE, Kind.HOLD_EXPIRED, NO_NOTE)

    def _release(
        self, command: Command, hold: HoldState, event: HoldEvent, kind: Kind, note: Note
    ) -> Outcome:
        status = self._next_status(hold, event)
        if status is None:
            return refuse(RefusalCode.HOLD_NOT_OPEN, "id")
        posted = self._append(command.tenant, kind, note, refers_to=hold.hold)
        self._append_entry(_Movement(hold.account, 0, -hold.remaining, "id"))
        self._change_hold(hold, status, captured=hold.captured)
        return posted

    def _next_status(self, hold: HoldState, event: HoldEvent) -> HoldStatus | None:
        # The shard's clock decides, whether or not the worker that expires holds has come by.
        expired = self.now_us >= hold.expires_at_us
        if expired != (event is HoldEvent.EXPIRE):
            return None
        return HOLD_TRANSITIONS.get((hold.status, event))

    def _change_hold(self, hold: HoldState, status: HoldStatus, captured: int) -> None:
        self._append_hold(
            msgspec.structs.replace(hold, position=self.position, status=status, captured=captured)
        )

    # What the rules are made of.

    def _account(self, account: int) -> AccountState | None:
        return self.accounts.get(account) or self.known_accounts.get(account)

    def _original(self, position: int) -> Original | None:
        original = self.originals.get(position)
        index = position - self.head.last_position - 1
        if original is None and 0 <= index < len(self.appended.transactions):
            # Posted by an earlier command of this batch.
            row = self.appended.transactions[index]
            entries = tuple(
                (entry.account, entry.amount) for entry in self.appended.entries if entry.position == position
            )
            original = Original(position, row.tenant, row.kind, entries)
        return original

    def _hold(self, tenant: int, identifier: int) -> HoldState | None:
        hold = self.holds.get(local_of(identifier))
        if hold is None:
            return None
        state = self._account(hold.account)
        return hold if state is not None and state.terms.tenant == tenant else None

    def _move(
        self,
        tenant: int,
        kind: Kind,
        movements: Sequence[_Movement],
        note: Note,
        *,
        asset: str | None = None,
        refers_to: int | None = None,
    ) -> Outcome:
        """Judge all movements; post them together or refuse for the first reason in order of precedence."""
        refusal = self._first_refusal(tenant, movements, asset)
        if refusal is not None:
            return refusal
        posted = self._append(tenant, kind, note, refers_to)
        for movement in movements:
            self._append_entry(movement)
        return posted

    def _first_refusal(
        self, tenant: int, movements: Sequence[_Movement], asset: str | None
    ) -> Refused | None:
        """The reason with precedence that these accounts cannot take their parts; of equal ones the earliest."""
        worst: RefusalCode | None = None
        param = ""
        for movement in movements:
            code = self._refusal_code(tenant, movement, asset)
            if code is not None and (worst is None or code < worst):
                worst, param = code, movement.param
        return None if worst is None else refuse(worst, param)

    def _refusal_code(self, tenant: int, movement: _Movement, asset: str | None) -> RefusalCode | None:
        """The first reason, in order of precedence, that one account cannot take its part."""
        state = self._account(movement.account)
        if state is None or state.terms.tenant != tenant:
            return RefusalCode.ACCOUNT_NOT_FOUND
        terms = state.terms
        if asset is not None and terms.asset != asset:
            return RefusalCode.ASSET_MISMATCH
        if terms.status is not AccountStatus.OPEN:
            if terms.status is AccountStatus.CLOSED:
                return RefusalCode.ACCOUNT_CLOSED
            if movement.amount < movement.held:
                return RefusalCode.ACCOUNT_FROZEN
        return judge(state, movement.amount, movement.held)

    def _append(self, tenant: int, kind: Kind, note: Note, refers_to: int | None = None) -> Posted:
        self.position += 1
        self.entry_starts.append(len(self.appended.entries))
        self.appended.transactions.append(
            TransactionRow(
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
        return Posted(self.position)

    def _append_entry(self, movement: _Movement) -> None:
        account, amount, held = movement.account, movement.amount, movement.held
        state = self.accounts.get(account) or self.known_accounts[account]
        terms = state.terms
        balance = state.balance + amount
        held_after = state.held + held
        bound = terms.min_balance if amount < held else terms.max_balance if amount > 0 else None
        position = self.position
        self.accounts[account] = AccountState(terms, balance, held_after, position)
        self.appended.entries.append(
            EntryRow(account, position, amount, balance, held, held_after, bound, terms.asset)
        )

    def _append_hold(self, hold: HoldState) -> None:
        self.holds[hold.hold] = hold
        self.appended.holds.append(hold)


class IdentifierTakenError(Exception):
    """The random identifier of a new account is in use: draw another."""


def _replay(recorded: RecordedRequest, request: RequestKey) -> Outcome:
    if recorded.fingerprint != request.fingerprint:
        field = differing_field(recorded.fingerprint, request.fingerprint)
        return refuse(RefusalCode.IDEMPOTENCY_KEY_REUSED, field)
    return msgspec.structs.replace(recorded.outcome, replayed=True)


def _opposite(entry: int, amount: int, whole: int) -> int:
    """The reversal of an entry: all of it, or `amount` of it where the original has two entries."""
    if amount == whole:
        return -entry
    return -amount if entry > 0 else amount


_RULES: Final[dict[type[Command], Callable[[Deciding, Any], Outcome]]] = {
    OpenAccount: Deciding.open_account,
    ChangeAccount: Deciding.change_account,
    Transfer: Deciding.transfer,
    PostTransaction: Deciding.post_transaction,
    Reverse: Deciding.reverse,
    PlaceHold: Deciding.place_hold,
    CaptureHold: Deciding.capture_hold,
    VoidHold: Deciding.void_hold,
    ExpireHold: Deciding.expire_hold,
}
