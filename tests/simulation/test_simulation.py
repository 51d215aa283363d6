"""Whatever happens, in whatever order: the books are right. And where a rule is missing, that is seen."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

import pytest

from tallystick.domain.commands import RequestKey
from tallystick.domain.sagas import SAGA_STAGES, SPLIT_STAGES, Stage, Step, StepResult, next_split_step
from tallystick.ledger.crossing.saga import split as split_sagas
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


_STAGES_WITH_RELEASE_AT_ONCE: Final[Mapping[tuple[Stage, Step, StepResult], Stage]] = {
    **SAGA_STAGES,
    (Stage.RESERVED, Step.RELEASE, StepResult.POSTED): Stage.RELEASED,
}


def _fresh_credit_request() -> Callable[[int], RequestKey]:
    """A key that is drawn, and not derived from the saga."""
    numbers = count(1)
    return lambda saga: RequestKey(b"drawn" + next(numbers).to_bytes(11, "big"), saga.to_bytes(8, "big"))


def _shared_credit_request(saga: int) -> RequestKey:
    return RequestKey(bytes(16), PRODUCT.credit_request(saga).fingerprint)


@contextmanager
def driven(**others: Any) -> Iterator[None]:
    """Have drivers of split sagas go by other tables and functions."""
    with pytest.MonkeyPatch.context() as patch:
        for name, other in others.items():
            holder, _, method = name.partition("__")
            if method:
                patch.setattr(getattr(split_sagas, holder), f"_{method}", other)
            else:
                patch.setattr(split_sagas, name, other)
        yield


def _fresh_end_request() -> Callable[[int, Step], RequestKey]:
    numbers = count(1)
    return lambda saga, _: RequestKey(b"ended" + next(numbers).to_bytes(11, "big"), saga.to_bytes(8, "big"))


def _instead(stage: Stage, step: Step, *, only_to_give_up: bool = False) -> Callable[..., Step | None]:
    """The product's next step, but another one in this stage."""

    def other_step(now: Stage, *, give_up: bool = False) -> Step | None:
        if now is stage and (give_up or not only_to_give_up):
            return step
        return next_split_step(now, give_up=give_up)

    return other_step


_revoke_at_once: Final = _instead(Stage.RESERVED, Step.REFUSE_PROMISE, only_to_give_up=True)
_STAGES_WITH_REVOKE_AT_ONCE: Final = {
    **SPLIT_STAGES,
    (Stage.RESERVED, Step.REFUSE_PROMISE, StepResult.POSTED): Stage.REVOKING,
    (Stage.RESERVED, Step.REFUSE_PROMISE, StepResult.REFUSED): Stage.REVOKED,
}
_release_before_revoking: Final = _instead(Stage.GIVEN_UP, Step.RELEASE)
_STAGES_WITH_HASTY_RELEASE: Final = {
    **SPLIT_STAGES,
    (Stage.GIVEN_UP, Step.RELEASE, StepResult.POSTED): Stage.RELEASED,
}
_settle_at_once: Final = _instead(Stage.FINALIZED, Step.SETTLE)
_STAGES_WITH_HASTY_SETTLING: Final = {
    **SPLIT_STAGES,
    (Stage.FINALIZED, Step.SETTLE, StepResult.POSTED): Stage.SETTLED,
}
_revoke_what_is_there: Final = _instead(Stage.GIVEN_UP, Step.GIVE_UP)
_STAGES_WITHOUT_REFUSING: Final = {
    **SPLIT_STAGES,
    (Stage.GIVEN_UP, Step.GIVE_UP, StepResult.POSTED): Stage.REVOKED,
}


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
            "if (answered := answer_of(state, SagaEvent.FINALIZE)) is not None:", "if answered := None:"
        )
    ),
    "releasing is not idempotent": Fault(
        bug=lambda: planted(
            "if (answered := answer_of(state, SagaEvent.RELEASE)) is not None:", "if answered := None:"
        )
    ),
    "that a credit was given up is not recorded": Fault(
        bug=lambda: planted(
            "{RefusalCode.HOLD_BUSY, RefusalCode.SHARD_UNAVAILABLE,",
            "{RefusalCode.HOLD_BUSY, RefusalCode.TRANSFER_CANCELLED, RefusalCode.SHARD_UNAVAILABLE,",
        )
    ),
    "a hold that is being captured looks open": Fault(
        bug=lambda: planted("HOLD_TRANSITIONS[hold.status, HoldEvent.RESERVE_CAPTURE]", "hold.status")
    ),
    "that a hold is busy is recorded": Fault(
        bug=lambda: planted(
            "{RefusalCode.HOLD_BUSY, RefusalCode.SHARD_UNAVAILABLE,", "{RefusalCode.SHARD_UNAVAILABLE,"
        )
    ),
    "what was given back is forgotten": Fault(
        bug=lambda: planted("remaining = whole - original.reversed_amount", "remaining = whole")
    ),
    "what was given up is finalized": Fault(
        bug=lambda: planted(
            "return state.refusal\n    if state.terms.is_split and event is SagaEvent.GIVE_UP:",
            "return None\n    if state.terms.is_split and event is SagaEvent.GIVE_UP:",
        )
    ),
    "what is finalized is given up": Fault(
        bug=lambda: planted(
            'return Refused(RefusalCode.TRANSACTION_NOT_REVERSIBLE, None, "The transfer is finalized already.")',
            "return None",
        )
    ),
    "what is promised may be spent": Fault(
        bug=lambda: planted(
            "Movement(leg.account, leg.amount, leg.amount, leg.param)",
            "Movement(leg.account, leg.amount, 0, leg.param)",
        )
    ),
    "confirming and revoking have keys of their own, which are drawn": Fault(
        bug=lambda: driven(promise_end_request=_fresh_end_request())
    ),
    "promises are revoked before it is recorded that they will be": Fault(
        bug=lambda: driven(next_split_step=_revoke_at_once, SPLIT_STAGES=_STAGES_WITH_REVOKE_AT_ONCE)
    ),
    "some promises are taken for all": Fault(
        bug=lambda: driven(SplitJourney__result_of_all=lambda *_: StepResult.POSTED)
    ),
    "it is released before promises are revoked": Fault(
        bug=lambda: driven(next_split_step=_release_before_revoking, SPLIT_STAGES=_STAGES_WITH_HASTY_RELEASE)
    ),
    "it is settled before promises are confirmed": Fault(
        bug=lambda: driven(next_split_step=_settle_at_once, SPLIT_STAGES=_STAGES_WITH_HASTY_SETTLING)
    ),
    "a promise that comes late is made": Fault(
        bug=lambda: driven(next_split_step=_revoke_what_is_there, SPLIT_STAGES=_STAGES_WITHOUT_REFUSING)
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
    assert seeds_until_found(FAULTS[name], range(200)) is not None, f"nothing finds that {name}"
