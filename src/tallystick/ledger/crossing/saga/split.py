"""One saga with payees on several shards, on its way through the table `SPLIT_STAGES`."""

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from tallystick.domain.commands import Command
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.outcomes import Posted, RefusalCode, Refused, refuse
from tallystick.domain.saga_commands import (
    Confirm,
    Finalize,
    GiveUp,
    Promise,
    RefuseCredit,
    Release,
    Revoke,
    Settle,
)
from tallystick.domain.sagas import (
    SPLIT_BEGINNINGS,
    SPLIT_STAGES,
    SagaState,
    Stage,
    Step,
    StepResult,
    credit_request,
    next_split_step,
    promise_end_request,
)
from tallystick.ledger.errors import FaultyCommandError
from tallystick.ledger.request_queue import DecidedOutcome

PAYEES_STEPS: Final = frozenset({Step.PROMISE, Step.CONFIRM, Step.REFUSE_PROMISE, Step.REVOKE})


class SplitJourney:
    """The progress of one split saga. A step of the payees' shards is over when each of them has answered it."""

    def __init__(self, home: int, state: SagaState, *, give_up: bool) -> None:
        self.state = state
        self.stuck = False
        self._home = home
        self._give_up = give_up
        self._identifier = make_identifier(home, state.saga)
        self._stage = SPLIT_BEGINNINGS[state.status]
        self._refusal = refuse(RefusalCode.TRANSFER_CANCELLED)
        # The results of this step on the shards that have answered it, and the shards that have promised.
        self._results: dict[int, StepResult] = {}
        self._promised: frozenset[int] = frozenset()

    @property
    def stage(self) -> Stage:
        """The stage of the saga."""
        return self._stage

    @property
    def step(self) -> Step | None:
        """The next step; None if there is none."""
        return None if self.stuck else next_split_step(self._stage, give_up=self._give_up)

    @property
    def awaited(self) -> Collection[int]:
        """The payees' shards that have not answered this step yet."""
        step = self.step
        if step not in PAYEES_STEPS:
            return ()
        shards = self._promised if step is Step.REVOKE else frozenset(self.state.terms.payee_shards)
        return shards - self._results.keys()

    def command(self, _: int) -> Command:
        """The next step, as a command: the same for each shard that takes it."""
        return split_command(self.step, self._identifier, self.state, self._refusal)

    def follow(self, shard: int, answer: DecidedOutcome) -> None:
        """Go to the next stage of the table, once all shards of this step have answered."""
        step, outcome = self.step, answer.outcome
        result = StepResult.POSTED if isinstance(outcome, Posted) else StepResult.REFUSED
        if shard == self._home:
            # The state in the log now: another driver may have been faster.
            self.state = answer.decision.sagas.get(self.state.saga, self.state)
        else:
            if (
                isinstance(outcome, Refused)
                and step is Step.PROMISE
                and StepResult.REFUSED not in self._results.values()
            ):
                self._refusal = msgspec.structs.replace(outcome, replayed=False)
            self._results[shard] = result
            if self.awaited:
                return
            result = self._result_of_all(step)
        after = None if step is None else SPLIT_STAGES.get((self._stage, step, result))
        if after is None:
            self.stuck = True
            raise FaultyCommandError(f"a saga that is {self._stage} cannot {step} and be {result}")
        self._stage = after
        self._results = {}

    def _result_of_all(self, step: Step | None) -> StepResult:
        """The result of a step on several shards."""
        posted = frozenset(shard for shard, result in self._results.items() if result is StepResult.POSTED)
        if step is Step.REFUSE_PROMISE:
            self._promised = posted
            return StepResult.POSTED if posted else StepResult.REFUSED
        return StepResult.POSTED if len(posted) == len(self._results) else StepResult.REFUSED


def split_command(step: Step | None, saga: int, state: SagaState, refusal: Refused) -> Command:
    """A step of a split saga, as a command. `saga` is its identifier, `refusal` the reason why it is given up."""
    tenant, terms, note = state.tenant, state.terms, state.note
    request = credit_request(saga)
    commands: dict[Step | None, Callable[[], Command]] = {
        Step.PROMISE: lambda: Promise(
            tenant=tenant, request=request, opens=terms.opens, saga=saga, terms=terms, note=note
        ),
        Step.FINALIZE: lambda: Finalize(tenant=tenant, saga=saga, terms=terms, counterpart=None),
        Step.CONFIRM: lambda: Confirm(
            tenant=tenant,
            request=promise_end_request(saga, Step.CONFIRM),
            saga=saga,
            terms=terms,
            note=note,
        ),
        Step.SETTLE: lambda: Settle(tenant=tenant, saga=saga, terms=terms),
        Step.GIVE_UP: lambda: GiveUp(tenant=tenant, saga=saga, terms=terms, refusal=refusal),
        Step.REFUSE_PROMISE: lambda: RefuseCredit(tenant=tenant, request=request, saga=saga),
        Step.REVOKE: lambda: Revoke(
            tenant=tenant, request=promise_end_request(saga, Step.REVOKE), saga=saga, terms=terms, note=note
        ),
        Step.RELEASE: lambda: Release(tenant=tenant, saga=saga, terms=terms, refusal=refusal),
    }
    return commands[step]()
