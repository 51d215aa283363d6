"""Runs the same commands through `Deciding` and through the model, and compares all that comes out."""

from collections.abc import Sequence
from operator import attrgetter

import msgspec
import pytest

from tallystick.domain import commands
from tallystick.domain.commands import Kind
from tallystick.domain.decide import Atomic, Decision
from tallystick.domain.holds import HoldState, HoldStatus
from tallystick.domain.rows import EntryRow, TransactionRow
from tallystick.domain.rules.saga_steps import SagaConflictError
from tallystick.domain.sagas import SagaState
from tests.oracle import words
from tests.oracle.deciding import decide
from tests.oracle.model import Model
from tests.oracle.store import Store
from tests.oracle.translation import Translation, from_outcome, to_terms

_account = attrgetter("account")


class Comparison:
    """One ledger, kept twice: by `Deciding` with a store, and by the model."""

    def __init__(self) -> None:
        self.model = Model()
        self.store = Store()

    @property
    def translation(self) -> Translation:
        """From the model's words to the product's, as of now."""
        return Translation(self.model.history)

    def post(self, units: Sequence[words.Unit], now_us: int, *, remembers_accounts: bool = False) -> None:
        """Decide one batch both ways and compare."""
        before = (len(self.model.history.events), len(self.model.claims))
        expected = self.model.apply_batch(units, now_us)
        self.compare(units, expected, before, now_us, remembers_accounts=remembers_accounts)

    def conflict(self, unit: words.Unit, now_us: int) -> None:
        """Ask for what no driver of sagas may ask, both ways: neither takes it."""
        with pytest.raises(words.ConflictError):
            self.model.apply(unit, now_us)
        asked = [self.translation.unit(unit)]
        snapshot = self.store.snapshot(asked, remembers_accounts=False)
        with pytest.raises(SagaConflictError):
            decide(snapshot, asked, now_us)

    def compare(
        self,
        units: Sequence[words.Unit],
        expected: list[words.Outcome],
        before: tuple[int, int],
        now_us: int,
        *,
        remembers_accounts: bool,
    ) -> None:
        """Decide a batch that the model has applied already. `before`: its count of events and of claims."""
        asked: list[commands.Command | Atomic] = [self.translation.unit(unit) for unit in units]
        snapshot = self.store.snapshot(asked, remembers_accounts=remembers_accounts)
        decision = decide(snapshot, asked, now_us)
        assert decide(snapshot, asked, now_us, at_a_time=1) == decision

        assert [from_outcome(outcome) for outcome in decision.outcomes] == expected, "\n".join(
            ["in this batch:", *map(str, units)]
        )
        self._compare_rows(decision, before)
        batch = snapshot.head.number + 1
        self._compare_requests(decision, self.model.claims[before[1] :], batch)
        self.store.append(decision.appended, decision.last_position, now_us)
        assert self.store.head.number == self.model.batch
        self._compare_states(decision, now_us)

    def _compare_rows(self, decision: Decision, before: tuple[int, int]) -> None:
        history, appended, translation = self.model.history, decision.appended, self.translation
        events = history.events[before[0] :]
        assert decision.last_position == len(history.events)
        assert appended.transactions == [
            TransactionRow(
                event.position,
                event.recorded_at,
                event.tenant,
                Kind[event.kind.upper()],
                event.effective_at,
                translation.refers_to(event),
                event.description,
                event.metadata,
            )
            for event in events
        ]
        positions = [row.position for row in appended.entries]
        assert positions == sorted(positions), "entries are not in the order of the log"
        # Which of a transaction's entries comes first means nothing.
        expected = [
            EntryRow(**{**vars(view), "account": translation.account(view.account)})
            for event in events
            for view in history.entry_views(event)
        ]
        assert sorted(appended.entries, key=_entry_key) == sorted(expected, key=_entry_key)
        assert [(row.position, row.state.terms) for row in appended.accounts] == [
            (event.position, to_terms(event.terms, translation.account(event.terms.account)))
            for event in events
            if event.terms
        ]
        assert appended.holds == [
            HoldState(
                view.hold,
                view.position,
                translation.account(view.payer),
                translation.account(view.payee),
                view.amount,
                view.captured,
                HoldStatus[view.status.upper()],
                view.expires_at,
            )
            for event in events
            if (view := history.hold_view(event))
        ]
        begun_or_ended = [saga for event in events if (saga := translation.saga_state(event))]
        assert list(map(_sorted_legs, appended.sagas)) == list(map(_sorted_legs, begun_or_ended))

    def _compare_requests(self, decision: Decision, claims: list[words.Claim], batch: int) -> None:
        rows = decision.appended.requests
        assert len(rows) == len(claims)
        for row, claim in zip(rows, claims, strict=True):
            request = self.translation.command(claim.command).request
            assert request is not None
            assert (row.key, row.fingerprint) == (request.key, request.fingerprint)
            assert claim.batch == batch
            match claim.outcome:
                case words.Posted(position):
                    # A credit says what was asked for: every one of these is of a transfer.
                    asked = "transfer" if isinstance(claim.command, words.Credit) else None
                    assert row == (row.key, position, None, None, asked, None, row.fingerprint)
                case words.Refused(code, param):
                    assert row.code is not None
                    assert (row.position, row.batch) == (None, batch)
                    assert (row.code.text, row.param) == (code, param)
                    assert bool(row.detail) == (code != "idempotency_key_claimed")

    def _compare_states(self, decision: Decision, now_us: int) -> None:
        history, translation = self.model.history, self.translation
        accounts = {translation.account(account): account for account in history.accounts()}
        states = {state.terms.account: state for state in self.store.account_states(set(accounts))}
        for identifier, account in accounts.items():
            state = states[identifier]
            assert (state.balance, state.held) == (history.balance(account), history.held(account))
        # What the batcher would remember is what it would read.
        for identifier, state in decision.accounts.items():
            assert state == states[identifier], f"account {identifier} at {now_us}"
        touched = {row.account for row in decision.appended.entries}
        touched |= {row.state.terms.account for row in decision.appended.accounts}
        assert touched <= decision.accounts.keys(), "an account that changed is not among those that follow"
        holds = {hold.hold: hold for hold in self.store.holds}
        assert decision.holds == {hold: holds[hold] for hold in decision.holds}
        assert {hold.hold for hold in decision.appended.holds} <= decision.holds.keys()
        sagas = {saga.saga: saga for saga in self.store.sagas}
        assert decision.sagas == {saga: sagas[saga] for saga in decision.sagas}
        assert {saga.saga for saga in decision.appended.sagas} <= decision.sagas.keys()


def _sorted_legs(saga: SagaState) -> SagaState:
    # Nor does it mean anything which leg comes first.
    terms = saga.terms
    by_account = msgspec.structs.replace(
        terms,
        debits=tuple(sorted(terms.debits, key=_account)),
        credits=tuple(sorted(terms.credits, key=_account)),
    )
    return msgspec.structs.replace(saga, terms=by_account)


def _entry_key(row: EntryRow) -> tuple[int, int]:
    return row.position, row.account
