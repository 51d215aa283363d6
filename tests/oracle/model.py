"""A naive ledger, written from the design's words and not from the code, so that it can disagree with it.

There is one list of all that ever happened. A balance is a sum over the whole list, what is held is a sum over
all holds and sagas, and whether a change is allowed is found out by making it on a copy and looking. Nothing is
kept up to date, so nothing can be forgotten. It is slow, and that is fine.

A refusal is found by collecting every complaint there is about a command, in the order of its fields, and
giving the one whose code comes first in PRECEDENCE.
"""

from collections.abc import Sequence
from dataclasses import fields, replace

from tests.oracle.complaints import changed, complaints, complaints_about_balances
from tests.oracle.crossing import answered_before, begun_by, reserve, take_step
from tests.oracle.history import History
from tests.oracle.words import (
    PASSING,
    PRECEDENCE,
    Capture,
    Change,
    Claim,
    ClaimKey,
    Command,
    Confirm,
    Credit,
    Event,
    Expire,
    Finalize,
    GiveUp,
    Group,
    Hold,
    Noted,
    Open,
    Outcome,
    Posted,
    RefuseCredit,
    Refused,
    Release,
    Reservation,
    Reverse,
    Revoke,
    Settle,
    Terms,
    Transaction,
    Transfer,
    Unit,
    Void,
    shard_of,
    system_owner,
)

# What a command that nobody complains about does.


def _carry_out(history: History, command: Command, now: int) -> list[Event]:
    """What happens: one event, perhaps after the opening of clearing accounts that it needs."""
    if isinstance(command, Credit | Confirm | Revoke | Finalize | Release | GiveUp | Settle):
        return take_step(history, command, now)
    event = Event(len(history.events) + 1, now, command.tenant, "")
    if isinstance(command, Noted):
        event = replace(
            event,
            description=command.description,
            metadata=command.metadata,
            effective_at=command.effective_at,
        )
    crossing = begun_by(history, command)
    if crossing:
        return [reserve(event, crossing)]
    match command:
        case Open() | Change():
            return [_carry_out_on_account(history, command, event)]
        case Capture() | Void() | Expire():
            return [_carry_out_on_hold(history, command, event)]
    return [_carry_out_payment(history, command, event)]


def _carry_out_on_account(history: History, command: Open | Change, event: Event) -> Event:
    if isinstance(command, Change):
        before = history.terms(command.id)
        assert before
        return replace(event, kind="account_changed", terms=changed(before, command))
    terms = Terms(
        command.account,
        command.tenant,
        command.owner,
        command.asset,
        command.kind,
        "open",
        command.min_balance,
        command.max_balance,
        command.metadata,
    )
    return replace(event, kind="account_opened", terms=terms)


def _carry_out_payment(history: History, command: Command, event: Event) -> Event:
    match command:
        case Transfer():
            return replace(
                event,
                kind="transfer",
                entries=((command.source, -command.amount), (command.destination, command.amount)),
            )
        case Transaction():
            return replace(event, kind="transaction", entries=command.entries)
        case Hold():
            reservation = Reservation(
                command.source, command.destination, command.amount, event.recorded_at + command.expires_in
            )
            return replace(event, kind="hold_placed", reservation=reservation)
        case Reverse():
            original = history.event(command.id)
            assert original
            part = command.amount or history.left_to_reverse(original)
            entries = tuple(
                # Only a transaction of two entries is reversed in part, and both of them by the same amount.
                (account, -amount if len(original.entries) > 2 else (part if amount < 0 else -part))
                for account, amount in original.entries
            )
            return replace(event, kind="reversal", entries=entries, refers_to=command.id)
    raise TypeError(command)


def _carry_out_on_hold(history: History, command: Capture | Void | Expire, event: Event) -> Event:
    event = replace(event, refers_to=command.id, hold=command.id)
    if isinstance(command, Void):
        return replace(event, kind="hold_voided", ends_hold="voided")
    if isinstance(command, Expire):
        return replace(event, kind="hold_expired", ends_hold="expired")
    placed = history.event(command.id)
    assert placed
    assert placed.reservation
    remaining = history.remaining(placed)
    part = remaining if command.amount is None else command.amount
    return replace(
        event,
        kind="hold_captured",
        entries=((placed.reservation.payer, -part), (placed.reservation.payee, part)),
        ends_hold="captured" if command.final or part == remaining else None,
    )


def named_accounts(command: Command) -> list[int]:
    """The accounts that a payment names, each once."""
    named: list[int] = []
    match command:
        case Transfer() | Hold():
            named = [command.source, command.destination]
        case Transaction():
            named = [account for account, _ in command.entries]
        case Credit():
            named = [part.account for part in command.parts]
    return list(dict.fromkeys(named))


def _openings(history: History, command: Command, now: int) -> list[Event]:
    """The openings of the system owners' accounts that a payment is the first to name."""
    events: list[Event] = []
    for account in named_accounts(command):
        whose = None if shard_of(account) else system_owner(account)
        if whose is None or whose[0] != command.tenant or history.terms(account):
            continue
        tenant, owner, asset = whose
        terms = Terms(account, tenant, owner, asset, "system", "open", None, None, None)
        position = len(history.events) + len(events) + 1
        events.append(Event(position, now, tenant, "account_opened", terms=terms))
    return events


# The ledger.


def _first_difference(first: Command, second: Command) -> str | None:
    """The first field in which two requests ask for something else, wherever they are sent."""
    first, second = (one.asked if isinstance(one, ClaimKey) else one for one in (first, second))
    if isinstance(first, Credit | RefuseCredit | Confirm | Revoke):
        # Whatever is asked about the credit of a saga is one question, and gets one answer.
        return None
    if type(first) is not type(second):
        return "path"
    names = [item.name for item in fields(first) if item.compare]
    noted = [item.name for item in fields(Noted)]
    for name in sorted(names, key=noted.__contains__):
        if name in {"tenant", "key"}:
            continue
        if getattr(first, name) != getattr(second, name):
            return name
    return None


class Model:
    """The ledger: a history and the keys that were used."""

    def __init__(self) -> None:
        self.history = History()
        self.claims: list[Claim] = []
        self.batch = 0

    def apply_batch(self, units: Sequence[Unit], now: int) -> list[Outcome]:
        before = (len(self.history.events), len(self.claims))
        outcomes = [outcome for unit in units for outcome in self.apply(unit, now)]
        self.end_batch(before)
        return outcomes

    def end_batch(self, before: tuple[int, int]) -> None:
        """A batch that wrote nothing is no batch."""
        if (len(self.history.events), len(self.claims)) != before:
            self.batch += 1

    def apply(self, unit: Unit, now: int) -> list[Outcome]:
        return self._apply_group(unit.commands, now) if isinstance(unit, Group) else [self._apply(unit, now)]

    def _apply(self, command: Command, now: int) -> Outcome:
        claim = self.claim_of(command)
        if claim:
            return _answer_again(claim, command)
        if isinstance(command, Finalize | Release | GiveUp | Settle) and (
            answered := answered_before(self.history, command)
        ):
            return answered
        # As if the system owners' accounts were open; they stay so if nothing is refused.
        opened = self.history.and_then(*_openings(self.history, command, now))
        found = list(complaints(opened, command, now))
        if not found:
            events = _carry_out(opened, command, now)
            found = list(complaints_about_balances(opened, events, command))
        outcome: Outcome
        if found:
            outcome = Refused(*min(found, key=lambda complaint: PRECEDENCE.index(complaint[0])))
        else:
            self.history = opened.and_then(*events)
            outcome = Posted(events[-1].position)
        self._remember(command, outcome)
        return outcome

    def _apply_group(self, commands: tuple[Command, ...], now: int) -> list[Outcome]:
        trial = Model()
        trial.history, trial.claims, trial.batch = self.history, list(self.claims), self.batch
        outcomes = [trial._apply_in_group(command, now) for command in commands]
        # What was reserved for another shard may still come to nothing, so no group stands on it.
        crosses = any(isinstance(command, Transfer) and shard_of(command.destination) for command in commands)
        if not crosses and not any(isinstance(outcome, Refused) for outcome in outcomes):
            self.history, self.claims = trial.history, trial.claims
            return outcomes
        answers: list[Outcome] = []
        for command, outcome in zip(commands, outcomes, strict=True):
            claim = self.claim_of(command)
            answer = outcome
            if claim:
                answer = _answer_again(claim, command)
            elif isinstance(outcome, Posted):
                answer = Refused("atomic_batch_refused", None)
            if not claim:
                self._remember(command, answer)
            answers.append(answer)
        return answers

    def _apply_in_group(self, command: Command, now: int) -> Outcome:
        """A group is one shard's: what crosses cannot stand or fall with it, whatever else there is against it."""
        if isinstance(command, Transfer) and shard_of(command.destination) and not self.claim_of(command):
            return Refused("crosses_too_many_shards", "destination")
        return self._apply(command, now)

    def claim_of(self, command: Command) -> Claim | None:
        who = _claimant(command)
        return next((claim for claim in self.claims if who and _claimant(claim.command) == who), None)

    def _remember(self, command: Command, outcome: Outcome) -> None:
        if isinstance(outcome, Refused) and outcome.code in PASSING:
            return
        if _claimant(command):
            self.claims.append(Claim(command, outcome, self.batch + 1))


def _claimant(command: Command) -> tuple[int, str] | None:
    """Whose key it is, and which. The credit of a saga has a key of its own, which is no tenant's."""
    if isinstance(command, Credit | RefuseCredit):
        return 0, f"credit of saga {command.saga}"
    if isinstance(command, Confirm | Revoke):
        return 0, f"end of promise of saga {command.saga}"
    return None if command.key is None else (command.tenant, command.key)


def _answer_again(claim: Claim, command: Command) -> Outcome:
    difference = _first_difference(claim.command, command)
    if difference:
        return Refused("idempotency_key_reused", difference)
    return replace(claim.outcome, replayed=True)
