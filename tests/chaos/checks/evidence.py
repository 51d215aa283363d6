"""What the checks judge by: a recorded history, the final state, and what follows from both."""

import json
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.chaos.final_state import FinalState
from tests.chaos.history import Attempt, History, Result
from tests.chaos.messages import Balance, Balances, Event, Hold, Transaction, read

CLEARING: Final = "clearing"
MOVING: Final = frozenset({"transfer", "hold", "capture", "void", "reversal"})
"""The operations that move money or set it aside."""
_HOLD_OPERATIONS: Final = frozenset({"hold", "capture", "void"})


class Payment(NamedTuple):
    """A transaction as a client sees it that ignores shards: its parts on all shards together.

    `moved` and `held` are the changes of each account, `positions` where the log has them, `parts` the number of
    events for each account.
    """

    id: str
    kind: str
    description: str | None
    refers_to: str | None
    moved: dict[str, int]
    held: dict[str, int]
    positions: dict[str, int]
    parts: dict[str, int]
    hold: Hold | None

    def __str__(self) -> str:
        moved = {account: amount for account, amount in self.moved.items() if amount}
        return f"{self.kind} {self.id} ({self.description}): {moved}"


class Sent(NamedTuple):
    """One request: its key, path and body, and all attempts at it."""

    key: str
    kind: str
    path: str
    body: dict[str, Any]
    attempts: list[Attempt]

    @property
    def results(self) -> set[Result]:
        """What its clients know."""
        return {attempt.result for attempt in self.attempts}

    def answers(self, result: Result) -> list[Attempt]:
        """The attempts with a result."""
        return [attempt for attempt in self.attempts if attempt.result is result]

    @property
    def description(self) -> str:
        """What a payment of it bears."""
        return str(self.body["description"])

    def __str__(self) -> str:
        return f"{self.kind} under {self.key}"


class State(NamedTuple):
    """What an account had as of a position."""

    position: int
    balance: int
    held: int
    recorded_at: datetime


class BalanceRead(NamedTuple):
    """A balance that a client was told."""

    attempt: Attempt
    account: str
    balance: int
    held: int | None
    position: int
    consistency: str
    min_position: int = 0
    at: datetime | None = None

    def __str__(self) -> str:
        return (
            f"{self.account} had {self.balance} at {self.position}"
            f" ({self.consistency}; request {self.attempt.invoked.request})"
        )


class Sighting(NamedTuple):
    """Since a moment a client knows that an account has an entry at a position; `where` is what it is counted by."""

    at_us: int
    where: Hashable
    position: int


class Evidence:
    """A history, a final state, and what follows from both. It is not changed."""

    def __init__(self, history: History, final: FinalState) -> None:
        self.history = history
        self.final = final

    @cached_property
    def sent(self) -> list[Sent]:
        """All requests that move money, in the order of their first attempts."""
        found: dict[tuple[str, str, str], Sent] = {}
        for key, attempts in self.history.by_key.items():
            for attempt in attempts:
                asked = attempt.invoked
                if asked.kind in MOVING:
                    place = key, asked.path, asked.body or "{}"
                    if place not in found:
                        found[place] = Sent(key, asked.kind, asked.path, json.loads(place[2]), [])
                    found[place].attempts.append(attempt)
        return list(found.values())

    @cached_property
    def sent_by_key(self) -> dict[str, list[Sent]]:
        """The same by key: several requests if a client used a key twice."""
        found: dict[str, list[Sent]] = {}
        for sent in self.sent:
            found.setdefault(sent.key, []).append(sent)
        return found

    @cached_property
    def payments(self) -> dict[str, Payment]:
        """All payments, by identifier, from the feeds of all shards."""
        found: dict[str, Payment] = {}
        for events in self.final.feed.values():
            for event in events:
                if event.entries:
                    _add_part(found, event)
        return found

    @cached_property
    def payments_by_description(self) -> dict[str, list[Payment]]:
        """The payments that bear a description."""
        found: dict[str, list[Payment]] = {}
        for payment in self.payments.values():
            if payment.description is not None:
                found.setdefault(payment.description, []).append(payment)
        return found

    def payments_of(self, sent: Sent) -> list[Payment]:
        """The payments that a request has made."""
        return self.payments_by_description.get(sent.description, [])

    @cached_property
    def states(self) -> dict[str, list[State]]:
        """What each account had after each of its entries, in the order of the log."""
        found: dict[str, list[State]] = {}
        for events in self.final.log.values():
            for event in events:
                for entry in event.entries:
                    found.setdefault(entry.account, []).append(
                        State(event.position, entry.balance or 0, entry.held_after or 0, event.recorded_at)
                    )
        return found

    def state_at(self, account: str, position: int) -> State | None:
        """What an account had as of a position: after its newest entry up to there. None: it had no entry yet."""
        states = self.states.get(account, [])
        place = bisect_right(states, position, key=lambda state: state.position)
        return states[place - 1] if place else None

    @cached_property
    def assets(self) -> dict[str, str]:
        """The asset of each account that the log or the final state names."""
        found = {account.id: account.asset for account in self.final.accounts.values()}
        for events in self.final.log.values():
            for event in events:
                found.update((entry.account, entry.asset) for entry in event.entries)
        return found

    @cached_property
    def reads(self) -> list[BalanceRead]:
        """All balances that clients were told, in the order in which they asked."""
        return [read for attempt in self.history.attempts for read in _reads_in(attempt)]

    @cached_property
    def sightings(self) -> list[Sighting]:
        """Who knows of which position of an account, and since when: from reads and from acknowledged requests."""
        found = [
            Sighting(_ended(one.attempt), one.account, one.position)
            for one in self.reads
            if one.consistency != "at"
        ]
        for sent in self.sent:
            for attempt in sent.answers(Result.ACKNOWLEDGED):
                payment = self.payments.get(answered_payment(attempt))
                if payment is not None:
                    found += [
                        Sighting(_ended(attempt), account, position)
                        for account, position in payment.positions.items()
                    ]
        return found


def newest_before(sightings: Iterable[Sighting], asked: Sequence[tuple[int, Hashable]]) -> list[int]:
    """For each moment and place: the newest position that was known there before it; 0 if none was."""
    ordered = sorted(sightings, key=lambda one: one.at_us)
    newest: dict[Hashable, int] = {}
    found = [0] * len(asked)
    place = 0
    for index in sorted(range(len(asked)), key=lambda one: asked[one][0]):
        at_us, where = asked[index]
        while place < len(ordered) and ordered[place].at_us < at_us:
            one = ordered[place]
            newest[one.where] = max(one.position, newest.get(one.where, 0))
            place += 1
        found[index] = newest.get(where, 0)
    return found


def answered_payment(attempt: Attempt) -> str:
    """The payment that the answer to an attempt names; an empty text if it has no answer."""
    if attempt.answer is None:
        return ""
    if attempt.invoked.kind in _HOLD_OPERATIONS:
        return read(attempt.answer, Hold).transaction
    return read(attempt.answer, Transaction).id


def _ended(attempt: Attempt) -> int:
    assert attempt.ended_us is not None
    return attempt.ended_us


def _add_part(payments: dict[str, Payment], event: Event) -> None:
    payment = payments.get(event.transaction)
    if payment is None:
        payment = Payment(
            event.transaction, event.kind, event.description, event.refers_to, {}, {}, {}, {}, event.hold
        )
    elif payment.description is None:
        payment = payment._replace(description=event.description)
    payments[event.transaction] = payment
    for entry in event.entries:
        account = entry.account
        payment.moved[account] = payment.moved.get(account, 0) + entry.amount
        payment.held[account] = payment.held.get(account, 0) + entry.held
        payment.positions[account] = event.position
        payment.parts[account] = payment.parts.get(account, 0) + 1


def _reads_in(attempt: Attempt) -> Iterator[BalanceRead]:
    asked = attempt.invoked
    if attempt.status != 200 or attempt.answer is None:
        return
    if asked.kind == "balances":
        consistency = json.loads(asked.body or "{}").get("consistency", "fast")
        for one in read(attempt.answer, Balances).balances:
            yield BalanceRead(attempt, one.account, one.balance, one.held, one.position, consistency)
    elif asked.kind == "balance":
        query = {name: values[0] for name, values in parse_qs(urlsplit(asked.path).query).items()}
        one = read(attempt.answer, Balance)
        found = BalanceRead(
            attempt, one.account, one.balance, one.held, one.position, query.get("consistency", "fast")
        )
        if "min_position" in query:
            found = found._replace(consistency="min_position", min_position=int(query["min_position"]))
        if "at" in query:
            at = datetime.fromisoformat(query["at"])
            found = found._replace(consistency="at", at=at)
        yield found
