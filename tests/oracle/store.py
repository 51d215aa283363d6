"""Stands for the database: keeps the rows that decisions append and builds each next snapshot from them alone.

The newest row wins, as in the store's SQL.
"""

from collections.abc import Iterable
from types import MappingProxyType

from tallystick.domain import commands
from tallystick.domain.accounts import AccountState, AccountStatus, AccountTerms
from tallystick.domain.commands import Kind
from tallystick.domain.decide import Atomic, commands_of
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.holds import HoldState
from tallystick.domain.needs import Needs
from tallystick.domain.outcomes import Posted, Refused
from tallystick.domain.rows import Appended, EntryRow, RequestRow, TransactionRow
from tallystick.domain.sagas import SagaState, SagaStatus
from tallystick.domain.snapshot import Head, Original, RecordedRequest, Snapshot
from tests.oracle import words
from tests.oracle.translation import DERIVATION


class Store:
    """Rows as they were appended, and what a snapshot says of them."""

    def __init__(self, derivation: Derivation = DERIVATION) -> None:
        self.derivation = derivation
        self.transactions: list[TransactionRow] = []
        self.entries: list[EntryRow] = []
        self.terms: list[tuple[int, AccountTerms]] = []
        self.holds: list[HoldState] = []
        self.sagas: list[SagaState] = []
        self.requests: list[RequestRow] = []
        self.head = Head(0, 0, 0, bytes(32))

    def append(self, appended: Appended, last_position: int, now_us: int) -> None:
        if not appended.transactions and not appended.requests:
            return
        self.transactions += appended.transactions
        self.entries += appended.entries
        self.terms += [(row.position, row.state.terms) for row in appended.accounts]
        self.holds += appended.holds
        self.sagas += appended.sagas
        self.requests += appended.requests
        self.head = Head(self.head.number + 1, last_position, now_us, bytes(32))

    def snapshot(self, units: Iterable[commands.Command | Atomic], *, remembers_accounts: bool) -> Snapshot:
        """What the batcher would load for these units; with `remembers_accounts`, all accounts besides."""
        needs = Needs()
        for unit in units:
            needs.add(commands_of([unit]), self.derivation)
        needs.look_for({})
        accounts = set(needs.accounts)
        for hold in self.holds:
            if hold.hold in needs.holds:
                accounts |= {hold.account, hold.destination}
        accounts |= {entry.account for entry in self.entries if entry.position in needs.originals}
        if remembers_accounts:
            accounts |= {terms.account for _, terms in self.terms}
        return Snapshot(
            derivation=self.derivation,
            head=self.head,
            accounts=MappingProxyType({one.terms.account: one for one in self.account_states(accounts)}),
            holds=MappingProxyType({hold.hold: hold for hold in self.holds if hold.hold in needs.holds}),
            sagas=MappingProxyType({saga.saga: saga for saga in self.sagas if saga.saga in needs.sagas}),
            originals=MappingProxyType(
                {
                    row.position: self._original(row)
                    for row in self.transactions
                    if row.position in needs.originals
                }
            ),
            requests=MappingProxyType(
                {row.key: _recorded(row) for row in self.requests if row.key in needs.requests}
            ),
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
        return Original(
            transaction.position,
            transaction.tenant,
            transaction.kind,
            tuple(
                sorted(
                    (row.account, row.amount) for row in self.entries if row.position == transaction.position
                )
            ),
            self._reversed(transaction.position),
            transaction.refers_to,
        )

    def _reversed(self, position: int) -> int:
        """How much of a transaction was reversed, or is on its way back to another shard."""
        released = {saga.saga for saga in self.sagas if saga.status is SagaStatus.RELEASED}
        about = {row.position: row.kind for row in self.transactions if row.refers_to == position}
        total = 0
        for row in self.entries:
            kind = about.get(row.position)
            if kind is Kind.REVERSAL:
                total += max(0, row.amount)
            elif kind is Kind.TRANSFER_RESERVED and row.position not in released:
                total += max(0, row.held)
        return total


def _recorded(row: RequestRow) -> RecordedRequest:
    if row.position is not None:
        return RecordedRequest(row.fingerprint, Posted(row.position))
    assert row.code is not None
    return RecordedRequest(row.fingerprint, Refused(row.code, row.param, row.detail or ""))


# What must hold of the rows whatever was asked, told from the rows alone.


def check_log(store: Store) -> None:
    """Sums, positions, chains of balances, bounds, holds and sagas, over the whole log."""
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
    held_now = _held(store)
    assert {account: held for account, (_, held) in chain.items() if held} == {
        account: held for account, held in held_now.items() if held
    }


def _held(store: Store) -> dict[int, int]:
    """What holds and sagas set aside, account by account."""
    held: dict[int, int] = {}
    for hold in {hold.hold: hold for hold in store.holds}.values():
        assert 0 <= hold.captured <= hold.amount
        held[hold.account] = held.get(hold.account, 0) + hold.remaining
    for saga in {saga.saga: saga for saga in store.sagas}.values():
        reserved = saga.status in {SagaStatus.RESERVED, SagaStatus.GIVEN_UP}
        if reserved and saga.terms.operation is not Kind.HOLD_CAPTURED:
            for leg in saga.terms.debits:
                held[leg.account] = held.get(leg.account, 0) + leg.amount
    ends = {Kind.TRANSFER_CONFIRMED, Kind.TRANSFER_REVOKED}
    ended = {row.refers_to for row in store.transactions if row.kind in ends}
    promised = {
        row.position
        for row in store.transactions
        if row.kind is Kind.TRANSFER_PROMISED and row.refers_to not in ended
    }
    for entry in store.entries:
        if entry.position in promised and entry.amount > 0:
            held[entry.account] = held.get(entry.account, 0) + entry.amount
    return held


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
        assert words.SMALLEST <= number <= words.LARGEST
