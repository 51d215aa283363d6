"""Checks of holds and reversals: what is set aside is paid out or comes back, and nothing is given back twice."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tests.chaos.checks.evidence import Evidence
from tests.chaos.messages import Event, Hold

ENDED: Final = frozenset({"captured", "voided", "expired"})


def holds_are_closed(evidence: Evidence) -> Iterator[str]:
    """When all is settled each hold is captured, voided or expired, and no account has anything held."""
    for hold in evidence.final.holds.values():
        if hold.status not in ENDED:
            yield f"{hold.id} is {hold.status}, with {hold.remaining} left"
    for account, states in evidence.states.items():
        if states[-1].held:
            yield f"{account} has {states[-1].held} held"


def holds_tell_one_story(evidence: Evidence) -> Iterator[str]:
    """A hold is placed once and ends once, its captures only add up, never beyond its amount, and nothing follows."""
    for hold, events in _stories(evidence).items():
        first = events[0].hold
        assert first is not None
        if [event.kind for event in events].count("hold_placed") != 1 or events[0].kind != "hold_placed":
            yield f"{hold} was placed {[event.kind for event in events].count('hold_placed')} times"
        captured = 0
        ended = False
        for event in events:
            state = event.hold
            assert state is not None
            if ended:
                yield f"{hold} had ended, and there is a {event.kind} at position {event.position}"
            if state.captured < captured or state.captured > first.amount or state.amount != first.amount:
                yield f"{hold}: {state.captured} of {state.amount} captured, after {captured} of {first.amount}"
            if event.kind == "hold_expired" and event.recorded_at < first.expires_at:
                yield f"{hold} expired at {event.recorded_at}, before {first.expires_at}"
            captured = state.captured
            ended = state.status in ENDED
        final = evidence.final.holds.get(hold)
        last = events[-1].hold
        if final is None or last is None or _facts(final) != _facts(last):
            yield f"{hold} is {final}, and its newest event has {last}"


def captures_are_paid(evidence: Evidence) -> Iterator[str]:
    """What a hold says was captured is what its payments moved to its destination."""
    paid: Counter[str] = Counter()
    for payment in evidence.payments.values():
        hold = evidence.final.holds.get(payment.refers_to or "")
        if payment.kind == "hold_captured" and hold is not None:
            paid[hold.id] += payment.moved.get(hold.destination, 0)
    for hold in evidence.final.holds.values():
        if paid[hold.id] != hold.captured:
            yield f"{hold.id}: {hold.captured} is captured, and {paid[hold.id]} was paid"


def reversals_stay_within_the_original(evidence: Evidence) -> Iterator[str]:
    """The reversals of a payment give back no more than it moved."""
    given_back: Counter[str] = Counter()
    for payment in evidence.payments.values():
        if payment.kind == "reversal":
            given_back[payment.refers_to or ""] += sum(
                change for change in payment.moved.values() if change > 0
            )
    for original, total in given_back.items():
        reversed_one = evidence.payments.get(original)
        changes = [] if reversed_one is None else reversed_one.moved.values()
        moved = sum(change for change in changes if change > 0)
        if total > moved:
            yield f"{original} moved {moved}, and {total} of it was given back"


def _stories(evidence: Evidence) -> dict[str, list[Event]]:
    """The changes of each hold, in the order of the log."""
    found: dict[str, list[Event]] = {}
    for events in evidence.final.log.values():
        for event in events:
            if event.hold is not None:
                found.setdefault(event.hold.id, []).append(event)
    return found


def _facts(hold: Hold) -> tuple[str, int, int, str, str]:
    return hold.status, hold.amount, hold.captured, hold.source, hold.destination
