"""One shard in memory: what a batch of it would read, and what it knows after one."""

from collections.abc import Iterator, Sequence

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import PROMISE_KINDS, Command, Kind
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.holds import HoldState
from tallystick.domain.needs import Needs
from tallystick.domain.outcomes import Outcome
from tallystick.domain.rows import EntryRow, TransactionRow
from tallystick.domain.sagas import SagaState, SagaStatus
from tallystick.domain.snapshot import Head, Original, RecordedRequest, Snapshot
from tests.oracle.deciding import decide


class Shard:
    """A serial log. Batches are decided one after the other; nothing of a batch that fails remains."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.derivation = Derivation(number, bytes(32))
        self.head = Head(0, 0, 0, bytes(32))
        self.accounts: dict[int, AccountState] = {}
        self.holds: dict[int, HoldState] = {}
        self.sagas: dict[int, SagaState] = {}
        self.requests: dict[bytes, RecordedRequest] = {}
        self.transactions: list[TransactionRow] = []
        self.entries: dict[int, list[EntryRow]] = {}
        self.credits: dict[int, list[int]] = {}
        self.undoing: dict[int, list[int]] = {}
        # What became of promises, by saga: each kind of step with its positions.
        self.promises: dict[int, dict[Kind, list[int]]] = {}

    def copy(self) -> "Shard":
        """The same log, to go on with in another way. For one that nothing has crossed yet."""
        other = Shard(self.number)
        other.head = self.head
        other.accounts = dict(self.accounts)
        other.requests = dict(self.requests)
        other.transactions = list(self.transactions)
        other.entries = dict(self.entries)
        return other

    @property
    def open_sagas(self) -> list[SagaState]:
        """The sagas that began here and did not end, oldest first."""
        return [saga for saga in self.sagas.values() if not saga.has_ended]

    @property
    def promised(self) -> Iterator[EntryRow]:
        """What came with promises that have not ended."""
        for steps in self.promises.values():
            if steps.keys() == {Kind.TRANSFER_PROMISED}:
                (position,) = steps[Kind.TRANSFER_PROMISED]
                yield from (entry for entry in self.entries[position] if entry.amount > 0)

    def decide(self, commands: Sequence[Command], now_us: int) -> list[Outcome]:
        """Decide a batch and remember what follows."""
        now_us = max(now_us, self.head.recorded_at_us)
        decision = decide(self._snapshot(commands), commands, now_us)
        appended = decision.appended
        if appended.transactions or appended.requests:
            self.head = Head(self.head.number + 1, decision.last_position, now_us, bytes(32))
        self.accounts.update(decision.accounts)
        self.holds.update(decision.holds)
        self.sagas.update(decision.sagas)
        self.requests.update(decision.requests)
        self.transactions += appended.transactions
        for entry in appended.entries:
            self.entries.setdefault(entry.position, []).append(entry)
        for row in appended.transactions:
            if row.refers_to is None:
                continue
            if row.kind is Kind.TRANSFER_CREDITED:
                self.credits.setdefault(row.refers_to, []).append(row.position)
            elif row.kind in PROMISE_KINDS:
                self.promises.setdefault(row.refers_to, {}).setdefault(row.kind, []).append(row.position)
            elif row.kind in {Kind.REVERSAL, Kind.TRANSFER_RESERVED}:
                self.undoing.setdefault(row.refers_to, []).append(row.position)
        return decision.outcomes

    def _snapshot(self, commands: Sequence[Command]) -> Snapshot:
        needs = Needs()
        needs.add(commands, self.derivation)
        needs.look_for({})
        holds = {hold: self.holds[hold] for hold in needs.holds if hold in self.holds}
        accounts = set(needs.accounts)
        for hold in holds.values():
            accounts |= {hold.account, hold.destination}
        for position in needs.originals:
            accounts.update(entry.account for entry in self.entries.get(position, ()))
        return Snapshot(
            derivation=self.derivation,
            head=self.head,
            accounts={account: self.accounts[account] for account in accounts if account in self.accounts},
            holds=holds,
            sagas={saga: self.sagas[saga] for saga in needs.sagas if saga in self.sagas},
            originals={
                position: self._original(position)
                for position in needs.originals
                if 0 < position <= self.head.last_position
            },
            requests={key: self.requests[key] for key in needs.requests if key in self.requests},
        )

    def _original(self, position: int) -> Original:
        row = self.transactions[position - 1]
        entries = tuple((entry.account, entry.amount) for entry in self.entries.get(position, ()))
        return Original(position, row.tenant, row.kind, entries, self.undone(position), row.refers_to)

    def undone(self, position: int) -> int:
        """How much of a transaction was reversed, or is on its way back to another shard."""
        total = 0
        for later in self.undoing.get(position, ()):
            if self.transactions[later - 1].kind is Kind.REVERSAL:
                total += sum(max(0, entry.amount) for entry in self.entries[later])
            elif self.sagas[later].status is not SagaStatus.RELEASED:
                total += sum(max(0, entry.held) for entry in self.entries.get(later, ()))
        return total
