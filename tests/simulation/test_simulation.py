"""Whatever happens, in whatever order: the books are right. And where a rule is missing, that is seen."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

import pytest

from tallystick.domain.commands import RequestKey
from tallystick.domain.sagas import SAGA_STAGES, Found, Stage, Step
from tests.oracle.planting import planted
from tests.simulation.driving import PRODUCT, Conduct
from tests.simulation.simulation import simulate
from tests.simulation.violation import Violation


def test_books_are_right_whatever_happens(seeds: range) -> None:
    for seed in seeds:
        try:
            simulate(seed)
        except Violation as violation:
            pytest.fail(f"{violation}\nTo see every step: python -m tests.simulation --seed {seed}")


def test_same_seed_is_the_same_run() -> None:
    first: list[str] = []
    second: list[str] = []
    simulate(11, tell=first.append)
    simulate(11, tell=second.append)
    assert first == second != []


# What is found when something is missing.


def _release_at_once(stage: Stage, give_up: bool) -> Step | None:
    """Give the money back without a refusal under the credit's key: the rule that all depends on."""
    if stage is Stage.RESERVED and give_up:
        return Step.RELEASE
    return PRODUCT.next_step(stage, give_up)


_STAGES_WITH_RELEASE_AT_ONCE: Final[Mapping[tuple[Stage, Step, Found], Stage]] = {
    **SAGA_STAGES,
    (Stage.RESERVED, Step.RELEASE, Found.POSTED): Stage.RELEASED,
}


def _fresh_credit_request() -> Callable[[int], RequestKey]:
    """A key that is drawn, and not derived from the saga."""
    numbers = count(1)
    return lambda saga: RequestKey(b"drawn" + next(numbers).to_bytes(11, "big"), saga.to_bytes(8, "big"))


def _shared_credit_request(saga: int) -> RequestKey:
    return RequestKey(bytes(16), PRODUCT.credit_request(saga).fingerprint)


@dataclass(frozen=True)
class Fault:
    """A mistake in how drivers go about it, or one in the rules of the shards."""

    conduct: Callable[[], Conduct] = lambda: PRODUCT
    bug: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)


FAULTS: Final = {
    "what is given up is released at once": Fault(
        lambda: replace(PRODUCT, next_step=_release_at_once, stages=_STAGES_WITH_RELEASE_AT_ONCE)
    ),
    "the key of a credit is drawn": Fault(lambda: replace(PRODUCT, credit_request=_fresh_credit_request())),
    "all credits share a key": Fault(lambda: replace(PRODUCT, credit_request=_shared_credit_request)),
    "silence is taken for a refusal": Fault(lambda: replace(PRODUCT, silence_is_refusal=True)),
    "finalizing is not idempotent": Fault(
        bug=lambda: planted(
            "SagaEvent.FINALIZE)\n    if state.status is status:", "SagaEvent.FINALIZE)\n    if False:"
        )
    ),
    "releasing is not idempotent": Fault(
        bug=lambda: planted(
            "SagaEvent.RELEASE)\n    if state.status is status:", "SagaEvent.RELEASE)\n    if False:"
        )
    ),
    "that a credit was given up is not recorded": Fault(
        bug=lambda: planted(
            "PASSING: Final = frozenset({RefusalCode.HOLD_BUSY,",
            "PASSING: Final = frozenset({RefusalCode.HOLD_BUSY, RefusalCode.TRANSFER_CANCELLED,",
        )
    ),
    "a hold that is being captured looks open": Fault(
        bug=lambda: planted("HOLD_TRANSITIONS[hold.status, HoldEvent.RESERVE_CAPTURE]", "hold.status")
    ),
    "that a hold is busy is recorded": Fault(
        bug=lambda: planted(
            "PASSING: Final = frozenset({RefusalCode.HOLD_BUSY, ", "PASSING: Final = frozenset({"
        )
    ),
    "what was given back is forgotten": Fault(
        bug=lambda: planted("remaining = whole - original.reversed_amount", "remaining = whole")
    ),
}


def seeds_until_found(fault: Fault, seeds: range) -> int | None:
    """How many seeds it takes to find a fault."""
    with fault.bug():
        for seed in seeds:
            try:
                simulate(seed, fault.conduct())
            except Violation:
                return seed - seeds.start + 1
    return None


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found(name: str) -> None:
    assert seeds_until_found(FAULTS[name], range(50)) is not None, f"nothing finds that {name}"
