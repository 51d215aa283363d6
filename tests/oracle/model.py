"""A naive ledger, written from the design's words and not from the code, so that it can disagree with it.

There is one list of all that ever happened. A balance is a sum over the whole list, what is held is a sum over
all holds, and whether a change is allowed is found out by making it on a copy and looking. Nothing is kept
up to date, so nothing can be forgotten. It is slow, and that is fine.

A refusal is found by collecting every complaint there is about a command, in the order of its fields, and
giving the one whose code comes first in PRECEDENCE.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final, Literal

LARGEST: Final = 9_223_372_036_854_775_807
SMALLEST: Final = -9_223_372_036_854_775_808

PRECEDENCE: Final = (
    "idempotency_key_reused",
    "same_account",
    "amount_invalid",
    "transaction_not_found",
    "hold_not_found",
    "account_not_found",
    "transaction_not_reversible",
    "hold_not_open",
    "asset_mismatch",
    "entries_unbalanced",
    "crosses_too_many_shards",
    "capture_exceeds_hold",
    "reversal_exceeds_original",
    "account_closed",
    "account_frozen",
    "account_not_empty",
    "bounds_invalid",
    "insufficient_funds",
    "balance_limit_exceeded",
    "atomic_batch_refused",
)

REVERSIBLE: Final = ("transfer", "transaction", "hold_captured")

Status = Literal["open", "frozen", "closed"]
KEEP: Final = "keep"
Keep = Literal["keep"]
Complaint = tuple[str, str | None]


# Commands. The compared fields after `tenant` and `key` are what the request asks for, in the order in which a
# difference between two requests is named.


@dataclass(frozen=True, kw_only=True)
class Command:
    tenant: int
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Noted(Command):
    description: str | None = None
    metadata: str | None = None
    effective_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class Open(Command):
    # Drawn by the server, so two requests that differ in it alone are the same request.
    account: int = field(compare=False)
    owner: str
    asset: str
    kind: Literal["wallet", "system"]
    min_balance: int | None
    max_balance: int | None
    metadata: str | None = None


@dataclass(frozen=True, kw_only=True)
class Change(Command):
    id: int
    status: Status | Keep = KEEP
    min_balance: int | None | Keep = KEEP
    max_balance: int | None | Keep = KEEP
    metadata: str | None | Keep = KEEP


@dataclass(frozen=True, kw_only=True)
class Transfer(Noted):
    source: int
    destination: int
    amount: int
    asset: str


@dataclass(frozen=True, kw_only=True)
class Transaction(Noted):
    entries: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Hold(Noted):
    source: int
    destination: int
    amount: int
    asset: str
    expires_in: int


@dataclass(frozen=True, kw_only=True)
class Capture(Noted):
    id: int
    amount: int | None = None
    final: bool = False


@dataclass(frozen=True, kw_only=True)
class Void(Noted):
    id: int


@dataclass(frozen=True, kw_only=True)
class Expire(Command):
    id: int


@dataclass(frozen=True, kw_only=True)
class Reverse(Noted):
    id: int
    amount: int | None = None


@dataclass(frozen=True)
class Group:
    """Commands that stand or fall together."""

    commands: tuple[Command, ...]


Unit = Command | Group


# Outcomes.


@dataclass(frozen=True)
class Posted:
    position: int
    replayed: bool = False


@dataclass(frozen=True)
class Refused:
    code: str
    param: str | None
    replayed: bool = False


Outcome = Posted | Refused


# What happened.


@dataclass(frozen=True)
class Terms:
    account: int
    tenant: int
    owner: str
    asset: str
    kind: str
    status: Status
    min_balance: int | None
    max_balance: int | None
    metadata: str | None


@dataclass(frozen=True)
class Reservation:
    payer: int
    payee: int
    amount: int
    expires_at: int


@dataclass(frozen=True)
class Event:
    """One transaction of the log. `ends_hold`: nothing of the hold it refers to is set aside any longer."""

    position: int
    recorded_at: int
    tenant: int
    kind: str
    entries: tuple[tuple[int, int], ...] = ()
    refers_to: int | None = None
    terms: Terms | None = None
    reservation: Reservation | None = None
    ends_hold: bool = False
    description: str | None = None
    metadata: str | None = None
    effective_at: int | None = None


@dataclass(frozen=True)
class Claim:
    """An idempotency key that was used: by which command, with what outcome, recorded in which batch."""

    command: Command
    outcome: Outcome
    batch: int


@dataclass(frozen=True)
class EntryView:
    """One account's change by one event, worked out from the history before and after it."""

    account: int
    position: int
    amount: int
    balance: int
    held: int
    held_after: int
    bound: int | None
    asset: str


@dataclass(frozen=True)
class HoldView:
    """A hold as it was after an event that touched it."""

    hold: int
    position: int
    payer: int
    payee: int
    amount: int
    captured: int
    status: str
    expires_at: int


@dataclass(frozen=True)
class History:
    """All that ever happened, and every question about it."""

    events: tuple[Event, ...] = ()

    def and_then(self, event: Event) -> "History":
        return History((*self.events, event))

    def until(self, position: int) -> "History":
        return History(tuple(event for event in self.events if event.position <= position))

    def event(self, position: int) -> Event | None:
        return next((event for event in self.events if event.position == position), None)

    def referring_to(self, position: int, kind: str) -> list[Event]:
        return [event for event in self.events if event.refers_to == position and event.kind == kind]

    def terms(self, account: int) -> Terms | None:
        said = [event.terms for event in self.events if event.terms and event.terms.account == account]
        return said[-1] if said else None

    def terms_for(self, account: int, tenant: int) -> Terms | None:
        """The account's terms, as far as this tenant may know that it exists."""
        terms = self.terms(account)
        return terms if terms is not None and terms.tenant == tenant else None

    def accounts(self) -> list[int]:
        return sorted({event.terms.account for event in self.events if event.terms})

    def balance(self, account: int) -> int:
        return sum(amount for event in self.events for name, amount in event.entries if name == account)

    def holds(self) -> list[Event]:
        return [event for event in self.events if event.reservation]

    def captured(self, hold: int) -> int:
        return sum(_moved(event) for event in self.referring_to(hold, "hold_captured"))

    def end_of_hold(self, hold: int) -> str | None:
        """How a hold ended: the kind of the event that ended it."""
        ends = [event.kind for event in self.events if event.refers_to == hold and event.ends_hold]
        return ends[0] if ends else None

    def remaining(self, hold: Event) -> int:
        assert hold.reservation
        if self.end_of_hold(hold.position):
            return 0
        return hold.reservation.amount - self.captured(hold.position)

    def held(self, account: int) -> int:
        return sum(
            self.remaining(hold)
            for hold in self.holds()
            if hold.reservation and hold.reservation.payer == account
        )

    def available(self, account: int) -> int:
        return self.balance(account) - self.held(account)

    def left_to_reverse(self, original: Event) -> int:
        return _moved(original) - sum(
            _moved(event) for event in self.referring_to(original.position, "reversal")
        )

    def payer_of(self, event: Event) -> int | None:
        """Whose money the hold sets aside that the event is about, if it is about one."""
        about = event if event.reservation else self.event(event.refers_to or 0)
        return about.reservation.payer if about and about.reservation else None

    # What the log should say of each event.

    def entry_views(self, event: Event) -> list[EntryView]:
        before, after = self.until(event.position - 1), self.until(event.position)
        touched = [account for account, _ in event.entries]
        payer = self.payer_of(event)
        if payer is not None and event.kind != "reversal" and payer not in touched:
            touched.append(payer)
        views = []
        for account in touched:
            terms = before.terms(account)
            assert terms
            bound = None
            if after.available(account) < before.available(account):
                bound = terms.min_balance
            if after.balance(account) > before.balance(account):
                bound = terms.max_balance
            views.append(
                EntryView(
                    account=account,
                    position=event.position,
                    amount=after.balance(account) - before.balance(account),
                    balance=after.balance(account),
                    held=after.held(account) - before.held(account),
                    held_after=after.held(account),
                    bound=bound,
                    asset=terms.asset,
                )
            )
        return views

    def hold_view(self, event: Event) -> HoldView | None:
        if event.kind == "reversal":
            return None
        after = self.until(event.position)
        placed = event if event.reservation else after.event(event.refers_to or 0)
        if placed is None or placed.reservation is None:
            return None
        end = after.end_of_hold(placed.position)
        return HoldView(
            hold=placed.position,
            position=event.position,
            payer=placed.reservation.payer,
            payee=placed.reservation.payee,
            amount=placed.reservation.amount,
            captured=after.captured(placed.position),
            status="open" if end is None else end.removeprefix("hold_"),
            expires_at=placed.reservation.expires_at,
        )


def _moved(event: Event) -> int:
    return sum(amount for _, amount in event.entries if amount > 0)


# Complaints about a command that can be told from its fields and from what they name.


def _complaints_about_payment(history: History, command: Transfer | Hold) -> Iterator[Complaint]:
    if command.source == command.destination:
        yield "same_account", "destination"
    if not 1 <= command.amount <= LARGEST:
        yield "amount_invalid", "amount"
    for account, param in ((command.source, "source"), (command.destination, "destination")):
        terms = history.terms_for(account, command.tenant)
        if terms is None:
            yield "account_not_found", param
            continue
        if terms.asset != command.asset:
            yield "asset_mismatch", param
        if terms.status == "closed":
            yield "account_closed", param
        if terms.status == "frozen" and param == "source":
            yield "account_frozen", param


def _complaints_about_entries(history: History, command: Transaction) -> Iterator[Complaint]:
    seen: set[int] = set()
    sums: dict[str, int] = {}
    for index, (account, amount) in enumerate(command.entries):
        terms = history.terms_for(account, command.tenant)
        if account in seen:
            yield "same_account", f"entries[{index}].account"
        seen.add(account)
        if not 1 <= abs(amount) <= LARGEST:
            yield "amount_invalid", f"entries[{index}].amount"
        if terms is None:
            yield "account_not_found", f"entries[{index}].account"
            continue
        sums[terms.asset] = sums.get(terms.asset, 0) + amount
        if terms.status == "closed":
            yield "account_closed", f"entries[{index}].account"
        if terms.status == "frozen" and amount < 0:
            yield "account_frozen", f"entries[{index}].account"
    if not 2 <= len(command.entries) <= 100 or any(sums.values()):
        yield "entries_unbalanced", "entries"


def _complaints_about_hold(
    history: History, command: Capture | Void | Expire, now: int
) -> Iterator[Complaint]:
    placed = history.event(command.id)
    if placed is None or placed.reservation is None or placed.tenant != command.tenant:
        yield "hold_not_found", "id"
        return
    is_over = now >= placed.reservation.expires_at
    if history.end_of_hold(placed.position) or is_over != isinstance(command, Expire):
        # What the state of the hold allows is judged before what is asked of it.
        yield "hold_not_open", "id"
        return
    amount = command.amount if isinstance(command, Capture) else None
    if amount is not None and amount <= 0:
        yield "amount_invalid", "amount"
    if amount is not None and amount > history.remaining(placed):
        yield "capture_exceeds_hold", "amount"
    if isinstance(command, Capture):
        payee = history.terms(placed.reservation.payee)
        if payee and payee.status == "closed":
            yield "account_closed", "id"


def _complaints_about_reversal(history: History, command: Reverse) -> Iterator[Complaint]:
    if command.amount is not None and command.amount <= 0:
        yield "amount_invalid", "amount"
    original = history.event(command.id)
    if original is None or original.tenant != command.tenant:
        yield "transaction_not_found", "id"
        return
    if original.kind not in REVERSIBLE:
        yield "transaction_not_reversible", "id"
        return
    left = history.left_to_reverse(original)
    if left == 0 or (command.amount or 0) > left:
        yield "reversal_exceeds_original", "amount"
    elif len(original.entries) > 2 and command.amount not in {None, left}:
        yield "transaction_not_reversible", "amount"
    for account, amount in original.entries:
        terms = history.terms(account)
        assert terms
        if terms.status == "closed":
            yield "account_closed", "id"
        if terms.status == "frozen" and amount > 0:
            yield "account_frozen", "id"


def _changed(terms: Terms, command: Change) -> Terms:
    asked = {name: getattr(command, name) for name in ("status", "min_balance", "max_balance", "metadata")}
    return replace(terms, **{name: value for name, value in asked.items() if value != KEEP})


def _complaints_about_change(history: History, command: Change) -> Iterator[Complaint]:
    terms = history.terms_for(command.id, command.tenant)
    if terms is None:
        yield "account_not_found", "id"
        return
    after = _changed(terms, command)
    if after.status == "closed" and (history.balance(command.id) or history.held(command.id)):
        yield "account_not_empty", "status"
    yield from _complaints_about_bounds(after.min_balance, after.max_balance)


def _complaints_about_bounds(min_balance: int | None, max_balance: int | None) -> Iterator[Complaint]:
    if min_balance is not None and max_balance is not None and min_balance > max_balance:
        yield "bounds_invalid", "min_balance"


def _complaints(history: History, command: Command, now: int) -> Iterator[Complaint]:
    match command:
        case Transfer() | Hold():
            return _complaints_about_payment(history, command)
        case Transaction():
            return _complaints_about_entries(history, command)
        case Capture() | Void() | Expire():
            return _complaints_about_hold(history, command, now)
        case Reverse():
            return _complaints_about_reversal(history, command)
        case Change():
            return _complaints_about_change(history, command)
        case Open():
            return _complaints_about_bounds(command.min_balance, command.max_balance)
    raise TypeError(command)


# Complaints that are found by trying: what would the balances be?


def _complaints_about_balances(history: History, event: Event, command: Command) -> Iterator[Complaint]:
    after = history.and_then(event)
    for index, view in enumerate(after.entry_views(event)):
        account = view.account
        terms = history.terms(account)
        assert terms
        param = _param_of_change(command, index, account)
        falls = after.available(account) < history.available(account)
        rises = after.balance(account) > history.balance(account)
        if falls and terms.min_balance is not None and after.available(account) < terms.min_balance:
            yield "insufficient_funds", param
        if rises and terms.max_balance is not None and after.balance(account) > terms.max_balance:
            yield "balance_limit_exceeded", param
        numbers = (after.balance(account), after.available(account), after.held(account))
        if not all(SMALLEST <= number <= LARGEST for number in numbers):
            yield "balance_limit_exceeded", param


def _param_of_change(command: Command, index: int, account: int) -> str:
    match command:
        case Transfer() | Hold():
            return "source" if account == command.source else "destination"
        case Transaction():
            return f"entries[{index}].account"
        case _:
            return "id"


# What a command that nobody complains about does.


def _carry_out(history: History, command: Command, now: int) -> Event:
    event = Event(len(history.events) + 1, now, command.tenant, "")
    if isinstance(command, Noted):
        event = replace(
            event,
            description=command.description,
            metadata=command.metadata,
            effective_at=command.effective_at,
        )
    match command:
        case Open():
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
            event = replace(event, kind="account_opened", terms=terms)
        case Change():
            before = history.terms(command.id)
            assert before
            event = replace(event, kind="account_changed", terms=_changed(before, command))
        case Transfer():
            event = replace(
                event,
                kind="transfer",
                entries=((command.source, -command.amount), (command.destination, command.amount)),
            )
        case Transaction():
            event = replace(event, kind="transaction", entries=command.entries)
        case Hold():
            reservation = Reservation(
                command.source, command.destination, command.amount, now + command.expires_in
            )
            event = replace(event, kind="hold_placed", reservation=reservation)
        case Reverse():
            original = history.event(command.id)
            assert original
            part = command.amount or history.left_to_reverse(original)
            entries = tuple(
                # Only a transaction of two entries is reversed in part, and both of them by the same amount.
                (account, -amount if len(original.entries) > 2 else (part if amount < 0 else -part))
                for account, amount in original.entries
            )
            event = replace(event, kind="reversal", entries=entries, refers_to=command.id)
        case _:
            event = _carry_out_on_hold(history, command, event)
    return event


def _carry_out_on_hold(history: History, command: Command, event: Event) -> Event:
    assert isinstance(command, Capture | Void | Expire)
    event = replace(event, refers_to=command.id)
    if isinstance(command, Void):
        return replace(event, kind="hold_voided", ends_hold=True)
    if isinstance(command, Expire):
        return replace(event, kind="hold_expired", ends_hold=True)
    placed = history.event(command.id)
    assert placed
    assert placed.reservation
    remaining = history.remaining(placed)
    part = remaining if command.amount is None else command.amount
    return replace(
        event,
        kind="hold_captured",
        entries=((placed.reservation.payer, -part), (placed.reservation.payee, part)),
        ends_hold=command.final or part == remaining,
    )


# The ledger.


def _first_difference(first: Command, second: Command) -> str | None:
    """The first field in which two requests ask for something else."""
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
        complaints = list(_complaints(self.history, command, now))
        if not complaints:
            event = _carry_out(self.history, command, now)
            complaints = list(_complaints_about_balances(self.history, event, command))
        outcome: Outcome
        if complaints:
            outcome = Refused(*min(complaints, key=lambda complaint: PRECEDENCE.index(complaint[0])))
        else:
            self.history = self.history.and_then(event)
            outcome = Posted(event.position)
        self._remember(command, outcome)
        return outcome

    def _apply_group(self, commands: tuple[Command, ...], now: int) -> list[Outcome]:
        trial = Model()
        trial.history, trial.claims, trial.batch = self.history, list(self.claims), self.batch
        outcomes = [trial._apply(command, now) for command in commands]
        if not any(isinstance(outcome, Refused) for outcome in outcomes):
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

    def claim_of(self, command: Command) -> Claim | None:
        if command.key is None:
            return None
        who = (command.tenant, command.key)
        return next(
            (claim for claim in self.claims if (claim.command.tenant, claim.command.key) == who), None
        )

    def _remember(self, command: Command, outcome: Outcome) -> None:
        if command.key is not None:
            self.claims.append(Claim(command, outcome, self.batch + 1))


def _answer_again(claim: Claim, command: Command) -> Outcome:
    difference = _first_difference(claim.command, command)
    if difference:
        return Refused("idempotency_key_reused", difference)
    return replace(claim.outcome, replayed=True)
