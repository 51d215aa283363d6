"""Runs the same commands through `decide` and through the model, and compares all that comes out.

`Store` stands for the database: it keeps the rows that decisions append and builds each next snapshot from
them alone, the newest row winning, as the store's SQL does.
"""

from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType

import msgspec

from tallystick.domain import commands, decide, fingerprint
from tallystick.domain.accounts import AccountKind, AccountState, AccountStatus, AccountTerms
from tallystick.domain.commands import Kind, Note, RequestKey
from tallystick.domain.decide import Atomic, Decision
from tallystick.domain.fingerprint import Field, Operation
from tallystick.domain.holds import HoldState, HoldStatus
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.needs import Needs
from tallystick.domain.outcomes import Outcome, Posted, Refused
from tallystick.domain.rows import Appended, EntryRow, RequestRow, TransactionRow
from tallystick.domain.snapshot import Head, Original, RecordedRequest, Snapshot
from tests.oracle import model

SHARD = 1
Decide = Callable[[Snapshot, Sequence[commands.Command | Atomic], int], Decision]


# From the model's words to the product's.


def to_unit(unit: model.Unit) -> commands.Command | Atomic:
    if isinstance(unit, model.Group):
        return Atomic(tuple(to_command(command) for command in unit.commands))
    return to_command(unit)


def to_command(command: model.Command) -> commands.Command:
    match command:
        case model.Open():
            return commands.OpenAccount(
                tenant=command.tenant,
                request=_request(command, Operation.OPEN_ACCOUNT),
                account=command.account,
                owner=command.owner,
                asset=command.asset,
                kind=AccountKind[command.kind.upper()],
                min_balance=command.min_balance,
                max_balance=command.max_balance,
                metadata=command.metadata,
            )
        case model.Change():
            return commands.ChangeAccount(
                tenant=command.tenant,
                request=_request(command, Operation.CHANGE_ACCOUNT),
                account=command.id,
                status=msgspec.UNSET if command.status == "keep" else AccountStatus[command.status.upper()],
                min_balance=msgspec.UNSET if command.min_balance == "keep" else command.min_balance,
                max_balance=msgspec.UNSET if command.max_balance == "keep" else command.max_balance,
                metadata=msgspec.UNSET if command.metadata == "keep" else command.metadata,
            )
        case model.Transfer():
            return commands.Transfer(
                tenant=command.tenant,
                request=_request(command, Operation.TRANSFER),
                source=command.source,
                destination=command.destination,
                amount=command.amount,
                asset=command.asset,
                note=_note(command),
            )
        case model.Hold():
            return commands.PlaceHold(
                tenant=command.tenant,
                request=_request(command, Operation.HOLD),
                source=command.source,
                destination=command.destination,
                amount=command.amount,
                asset=command.asset,
                expires_in_us=command.expires_in,
                note=_note(command),
            )
        case model.Transaction():
            return commands.PostTransaction(
                tenant=command.tenant,
                request=_request(command, Operation.TRANSACTION),
                entries=command.entries,
                note=_note(command),
            )
        case _:
            return _to_command_on_earlier(command)


def _to_command_on_earlier(command: model.Command) -> commands.Command:
    match command:
        case model.Capture():
            return commands.CaptureHold(
                tenant=command.tenant,
                request=_request(command, Operation.CAPTURE),
                hold=make_identifier(SHARD, command.id),
                amount=command.amount,
                final=command.final,
                note=_note(command),
            )
        case model.Void():
            return commands.VoidHold(
                tenant=command.tenant,
                request=_request(command, Operation.VOID),
                hold=make_identifier(SHARD, command.id),
                note=_note(command),
            )
        case model.Expire():
            return commands.ExpireHold(tenant=command.tenant, hold=make_identifier(SHARD, command.id))
        case model.Reverse():
            return commands.Reverse(
                tenant=command.tenant,
                request=_request(command, Operation.REVERSE),
                transaction=make_identifier(SHARD, command.id),
                amount=command.amount,
                note=_note(command),
            )
    raise TypeError(command)


def _note(command: model.Noted) -> Note:
    return Note(command.description, command.metadata, command.effective_at)


def _request(command: model.Command, operation: Operation) -> RequestKey | None:
    if command.key is None:
        return None
    values = [_field(command, name) for name in fingerprint.FIELDS[operation]]
    return RequestKey(
        fingerprint.request_key(command.tenant, command.key), fingerprint.fingerprint(operation, *values)
    )


def _field(command: model.Command, name: str) -> Field:
    value = getattr(command, name)
    if isinstance(command, model.Change) and value in {"keep", None}:
        # To remove a bound is not the same request as to leave it alone.
        return None if value == "keep" else "null"
    if name == "entries":
        return [list(entry) for entry in value]
    found: Field = value
    return found


def from_outcome(outcome: Outcome) -> model.Outcome:
    if isinstance(outcome, Posted):
        return model.Posted(outcome.position, outcome.replayed)
    return model.Refused(outcome.code.text, outcome.param, outcome.replayed)


# The rows of the log.


class Store:
    """Rows as they were appended, and what a snapshot says of them."""

    def __init__(self) -> None:
        self.transactions: list[TransactionRow] = []
        self.entries: list[EntryRow] = []
        self.terms: list[tuple[int, AccountTerms]] = []
        self.holds: list[HoldState] = []
        self.requests: list[RequestRow] = []
        self.head = Head(0, 0, 0, bytes(32))

    def append(self, appended: Appended, last_position: int, now_us: int) -> None:
        if not appended.transactions and not appended.requests:
            return
        self.transactions += appended.transactions
        self.entries += appended.entries
        self.terms += [(row.position, row.state.terms) for row in appended.accounts]
        self.holds += appended.holds
        self.requests += appended.requests
        self.head = Head(self.head.number + 1, last_position, now_us, bytes(32))

    def snapshot(self, units: Iterable[commands.Command | Atomic], *, remembers_accounts: bool) -> Snapshot:
        """What the batcher would load for these units; with `remembers_accounts`, all accounts besides."""
        needs = Needs()
        for unit in units:
            needs.add(unit.commands if isinstance(unit, Atomic) else (unit,))
        accounts = set(needs.accounts)
        for hold in self.holds:
            if hold.hold in needs.holds:
                accounts |= {hold.account, hold.destination}
        accounts |= {entry.account for entry in self.entries if entry.position in needs.originals}
        if remembers_accounts:
            accounts |= {terms.account for _, terms in self.terms}
        requests = {row.key: _recorded(row) for row in self.requests if row.key in needs.requests}
        return Snapshot(
            self.head,
            MappingProxyType({state.terms.account: state for state in self.account_states(accounts)}),
            MappingProxyType({hold.hold: hold for hold in self.holds if hold.hold in needs.holds}),
            MappingProxyType(
                {
                    row.position: self._original(row)
                    for row in self.transactions
                    if row.position in needs.originals
                }
            ),
            MappingProxyType(requests),
        )

    def account_states(self, accounts: set[int]) -> list[AccountState]:
        newest_terms = {terms.account: terms for _, terms in self.terms if terms.account in accounts}
        newest_entries = {entry.account: entry for entry in self.entries if entry.account in accounts}
        return [
            AccountState(terms, newest.balance, newest.held_after, newest.position)
            if (newest := newest_entries.get(account))
            else AccountState(terms)
            for account, terms in newest_terms.items()
        ]

    def _original(self, transaction: TransactionRow) -> Original:
        reversals = {
            row.position
            for row in self.transactions
            if row.refers_to == transaction.position and row.kind is Kind.REVERSAL
        }
        return Original(
            transaction.position,
            transaction.tenant,
            transaction.kind,
            tuple(
                sorted(
                    (row.account, row.amount) for row in self.entries if row.position == transaction.position
                )
            ),
            sum(row.amount for row in self.entries if row.position in reversals and row.amount > 0),
        )


def _recorded(row: RequestRow) -> RecordedRequest:
    if row.position is not None:
        return RecordedRequest(row.fingerprint, Posted(row.position))
    assert row.code is not None
    return RecordedRequest(row.fingerprint, Refused(row.code, row.param, row.detail or ""))


# Comparing.


class Comparison:
    """One ledger, kept twice: by `decide` with a store, and by the model."""

    def __init__(self, decide_batch: Decide = decide.decide) -> None:
        self.decide_batch = decide_batch
        self.model = model.Model()
        self.store = Store()

    def post(self, units: Sequence[model.Unit], now_us: int, *, remembers_accounts: bool = False) -> None:
        """Decide one batch both ways and compare."""
        before = (len(self.model.history.events), len(self.model.claims))
        expected = self.model.apply_batch(units, now_us)
        self.compare(units, expected, before, now_us, remembers_accounts=remembers_accounts)

    def compare(
        self,
        units: Sequence[model.Unit],
        expected: list[model.Outcome],
        before: tuple[int, int],
        now_us: int,
        *,
        remembers_accounts: bool,
    ) -> None:
        """Decide a batch that the model has applied already. `before`: its count of events and of claims."""
        asked = [to_unit(unit) for unit in units]
        snapshot = self.store.snapshot(asked, remembers_accounts=remembers_accounts)
        decision = self.decide_batch(snapshot, asked, now_us)

        assert [from_outcome(outcome) for outcome in decision.outcomes] == expected, "\n".join(
            ["in this batch:", *map(str, units)]
        )
        self._compare_rows(decision, before)
        batch = snapshot.head.number + 1
        self._compare_requests(decision, self.model.claims[before[1] :], batch)
        self.store.append(decision.appended, decision.last_position, now_us)
        assert self.store.head.number == self.model.batch
        self._compare_accounts(decision, now_us)

    def _compare_rows(self, decision: Decision, before: tuple[int, int]) -> None:
        history, appended = self.model.history, decision.appended
        events = history.events[before[0] :]
        assert decision.last_position == len(history.events)
        assert appended.transactions == [
            TransactionRow(
                event.position,
                event.recorded_at,
                event.tenant,
                Kind[event.kind.upper()],
                event.effective_at,
                event.refers_to,
                event.description,
                event.metadata,
            )
            for event in events
        ]
        positions = [row.position for row in appended.entries]
        assert positions == sorted(positions), "entries are not in the order of the log"
        # Which of a transaction's entries comes first means nothing.
        assert sorted(appended.entries, key=_entry_key) == sorted(
            (EntryRow(**vars(view)) for event in events for view in history.entry_views(event)),
            key=_entry_key,
        )
        assert [(row.position, row.state.terms) for row in appended.accounts] == [
            (event.position, _to_terms(event.terms)) for event in events if event.terms
        ]
        assert appended.holds == [
            HoldState(
                view.hold,
                view.position,
                view.payer,
                view.payee,
                view.amount,
                view.captured,
                HoldStatus[view.status.upper()],
                view.expires_at,
            )
            for event in events
            if (view := history.hold_view(event))
        ]

    def _compare_requests(self, decision: Decision, claims: list[model.Claim], batch: int) -> None:
        rows = decision.appended.requests
        assert len(rows) == len(claims)
        for row, claim in zip(rows, claims, strict=True):
            request = to_command(claim.command).request
            assert request is not None
            assert (row.key, row.fingerprint) == (request.key, request.fingerprint)
            assert claim.batch == batch
            match claim.outcome:
                case model.Posted(position):
                    assert row == (row.key, position, None, None, None, None, row.fingerprint)
                case model.Refused(code, param):
                    assert row.code is not None
                    assert (row.position, row.batch) == (None, batch)
                    assert (row.code.text, row.param) == (code, param)
                    assert row.detail

    def _compare_accounts(self, decision: Decision, now_us: int) -> None:
        history = self.model.history
        states = {state.terms.account: state for state in self.store.account_states(set(history.accounts()))}
        for account in history.accounts():
            state = states[account]
            assert (state.balance, state.held) == (history.balance(account), history.held(account))
        # What the batcher would remember is what it would read.
        for account, state in decision.accounts.items():
            assert state == states[account], f"account {account} at {now_us}"
        touched = {row.account for row in decision.appended.entries}
        touched |= {row.state.terms.account for row in decision.appended.accounts}
        assert touched <= decision.accounts.keys(), "an account that changed is not among those that follow"


def _to_terms(terms: model.Terms) -> AccountTerms:
    return AccountTerms(
        terms.account,
        terms.tenant,
        terms.owner,
        terms.asset,
        AccountKind[terms.kind.upper()],
        AccountStatus[terms.status.upper()],
        terms.min_balance,
        terms.max_balance,
        terms.metadata,
    )


def _entry_key(row: EntryRow) -> tuple[int, int]:
    return row.position, row.account


# What must hold of the rows whatever was asked, told from the rows alone.


def check_log(store: Store) -> None:
    """Sums, positions, chains of balances, bounds, and holds, over the whole log."""
    assert [row.position for row in store.transactions] == list(range(1, store.head.last_position + 1))
    times = [row.recorded_at_us for row in store.transactions]
    assert times == sorted(times)
    sums: dict[tuple[int, str], int] = {}
    chain: dict[int, tuple[int, int]] = {}
    for row in store.entries:
        sums[row.position, row.asset] = sums.get((row.position, row.asset), 0) + row.amount
        balance, held = chain.get(row.account, (0, 0))
        assert (row.balance, row.held_after) == (balance + row.amount, held + row.held)
        chain[row.account] = (row.balance, row.held_after)
        assert row.held_after >= 0
        _check_bound(store, row)
    assert not any(sums.values())
    assert len({(row.account, row.position) for row in store.entries}) == len(store.entries)

    newest_holds = {hold.hold: hold for hold in store.holds}
    held_now: dict[int, int] = {}
    for hold in newest_holds.values():
        assert 0 <= hold.captured <= hold.amount
        held_now[hold.account] = held_now.get(hold.account, 0) + hold.remaining
    assert {account: held for account, (_, held) in chain.items() if held} == {
        account: held for account, held in held_now.items() if held
    }


def _check_bound(store: Store, row: EntryRow) -> None:
    terms = next(
        terms
        for position, terms in reversed(store.terms)
        if terms.account == row.account and position < row.position
    )
    assert terms.asset == row.asset
    assert terms.status is not AccountStatus.CLOSED
    expected = None
    if row.amount < row.held:
        expected = terms.min_balance
        assert expected is None or row.balance - row.held_after >= expected
    elif row.amount > 0:
        expected = terms.max_balance
        assert expected is None or row.balance <= expected
    assert row.bound == expected
    for number in (row.balance, row.held_after, row.balance - row.held_after):
        assert model.SMALLEST <= number <= model.LARGEST
