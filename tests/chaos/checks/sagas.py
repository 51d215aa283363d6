"""Checks of payments between shards: each one ends, on both shards alike."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.chaos.checks.evidence import Evidence
from tests.chaos.messages import Event

RESERVED: Final = "transfer_reserved"
CREDITED: Final = "transfer_credited"
FINALIZED: Final = "transfer_finalized"
RELEASED: Final = "transfer_released"


class Saga(NamedTuple):
    """The stages of one payment between shards, as all shards have them."""

    stages: list[Event]

    def of(self, kind: str) -> list[Event]:
        """The stages of one kind."""
        return [event for event in self.stages if event.kind == kind]


def sagas_are_closed(evidence: Evidence) -> Iterator[str]:
    """When all is settled each payment between shards that was reserved is finalized or released, once."""
    for name, saga in sagas(evidence).items():
        ends = [*saga.of(FINALIZED), *saga.of(RELEASED)]
        if len(saga.of(RESERVED)) != 1:
            yield f"{name} was reserved {len(saga.of(RESERVED))} times: {_kinds(saga)}"
        if len(ends) != 1:
            yield f"{name} has ended {len(ends)} times: {_kinds(saga)}"


def credits_match_their_ends(evidence: Evidence) -> Iterator[str]:
    """A payment that is finalized was credited once, with its amount; one that is released was never credited."""
    for name, saga in sagas(evidence).items():
        credited = saga.of(CREDITED)
        if saga.of(RELEASED) and credited:
            yield f"{name} was released, and credited on shard {credited[0].shard} at {credited[0].position}"
        if saga.of(FINALIZED):
            if len(credited) != 1:
                yield f"{name} was finalized, and credited {len(credited)} times"
            for end in saga.of(FINALIZED):
                there = sum(_amount(event) for event in credited[:1])
                if credited and _amount(end) != there:
                    yield f"{name}: {_amount(end)} was paid, and {there} was credited"


def sagas(evidence: Evidence) -> dict[str, Saga]:
    """All payments between shards, by identifier, with their stages on all shards."""
    found: dict[str, Saga] = {}
    for events in evidence.final.log.values():
        for event in events:
            if event.kind in {RESERVED, CREDITED, FINALIZED, RELEASED}:
                # The stage of a payer names the payment, that of a payee refers to it.
                name = event.crossing.transaction if event.crossing is not None else event.refers_to or ""
                found.setdefault(name, Saga([])).stages.append(event)
    return found


def _amount(event: Event) -> int:
    return sum(entry.amount for entry in event.entries if entry.amount > 0)


def _kinds(saga: Saga) -> list[str]:
    return [event.kind for event in saga.stages]
