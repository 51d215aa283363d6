"""Driving one saga by the product's table, as any driver does: the live one, a recovery, or an operator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from tallystick.domain.commands import Command, RequestKey
from tallystick.domain.decide import NOTHING_DECIDED
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, Refused, refuse
from tallystick.domain.saga_commands import Credit, Finalize, RefuseCredit, Release
from tallystick.domain.sagas import SAGA_STAGES, SagaState, Stage, Step, StepResult, credit_request, next_step
from tallystick.ledger.crossing.saga.split import SplitJourney
from tallystick.ledger.errors import FaultyCommandError
from tallystick.ledger.request_queue import DecidedOutcome
from tests.simulation.violation import Violation

_THERE: Final = frozenset({Step.CREDIT, Step.REFUSE_CREDIT})


@dataclass(frozen=True)
class Conduct:
    """By what a driver goes. The product's, unless a test wants to see what a mistake in it would do."""

    next_step: Callable[[Stage, bool], Step | None]
    stages: Mapping[tuple[Stage, Step, StepResult], Stage]
    credit_request: Callable[[int], RequestKey]
    silence_is_refusal: bool = False


def _next_step(stage: Stage, give_up: bool) -> Step | None:
    return next_step(stage, give_up=give_up)


PRODUCT: Final = Conduct(_next_step, SAGA_STAGES, credit_request)


class Attempt:
    """One driver's knowledge of one saga. It begins with what the payer's log says: it is reserved."""

    def __init__(self, conduct: Conduct, home: int, saga: SagaState, *, give_up: bool = False) -> None:
        self.conduct = conduct
        self.home = home
        self.saga = saga
        self.identifier = make_identifier(home, saga.saga)
        self.give_up = give_up
        self.stage = Stage.RESERVED
        self.waits = False
        self.forgotten = False
        self._credited = 0
        self._refusal: Refused | None = None

    @property
    def step(self) -> Step | None:
        """What is to be done next."""
        return self.conduct.next_step(self.stage, self.give_up)

    def ask(self) -> None:
        """Wait for the answer to the step."""
        self.waits = True

    @property
    def shard(self) -> int:
        """Which shard takes the next step."""
        return self.saga.terms.other_shard if self.step in _THERE else self.home

    def command(self) -> Command:
        """The next step as a command."""
        saga, tenant = self.identifier, self.saga.tenant
        match self.step:
            case Step.CREDIT:
                return Credit(
                    tenant=tenant,
                    request=self.conduct.credit_request(saga),
                    saga=saga,
                    terms=self.saga.terms,
                    note=self.saga.note,
                )
            case Step.REFUSE_CREDIT:
                return RefuseCredit(tenant=tenant, request=self.conduct.credit_request(saga), saga=saga)
            case Step.FINALIZE:
                return Finalize(tenant=tenant, saga=saga, terms=self.saga.terms, counterpart=self._credited)
        refusal = self._refusal or refuse(RefusalCode.TRANSFER_CANCELLED)
        return Release(tenant=tenant, saga=saga, terms=self.saga.terms, refusal=refusal)

    def follow(self, step: Step, outcome: Outcome, _: int, __: Mapping[int, SagaState]) -> None:
        """Go where the table leads. An answer to a step that is past already says nothing new."""
        if step is not self.step:
            return
        result = StepResult.POSTED if isinstance(outcome, Posted) else StepResult.REFUSED
        after = self.conduct.stages.get((self.stage, step, result))
        if after is None:
            raise Violation(f"the table does not say what follows when to {step} was {result}: {outcome}")
        self.stage = after
        self.waits = False
        if isinstance(outcome, Refused):
            self._refusal = msgspec.structs.replace(outcome, replayed=False)
        elif after is Stage.CREDITED:
            self._credited = outcome.position

    def time_out(self) -> None:
        """No shard answers: ask again."""
        self.waits = False
        if self.conduct.silence_is_refusal and self.step is Step.CREDIT:
            self.follow(Step.CREDIT, refuse(RefusalCode.TRANSFER_CANCELLED), self.shard, {})


class SplitAttempt:
    """One driver's knowledge of a saga with payees on several shards: the product's own journey."""

    def __init__(self, home: int, saga: SagaState, *, give_up: bool = False) -> None:
        self.home = home
        self.saga = saga
        self.give_up = give_up
        self.forgotten = False
        self._journey = SplitJourney(home, saga, give_up=give_up)
        self._asked: set[int] = set()

    @property
    def stage(self) -> Stage:
        """How far the driver has come."""
        return self._journey.stage

    @property
    def step(self) -> Step | None:
        """What is to be done next."""
        return self._journey.step

    @property
    def _to_ask(self) -> set[int]:
        return set(self._journey.awaited or {self.home}) - self._asked

    @property
    def waits(self) -> bool:
        """Whether every shard has been asked that takes this step."""
        return not self._to_ask

    @property
    def shard(self) -> int:
        """Which shard is asked next."""
        return max(self._to_ask)

    def ask(self) -> None:
        """Wait for the answer of this shard."""
        self._asked.add(self.shard)

    def command(self) -> Command:
        """The next step as a command."""
        return self._journey.command(self.shard)

    def follow(self, step: Step, outcome: Outcome, shard: int, sagas: Mapping[int, SagaState]) -> None:
        """Go where the table leads. An answer to a step that is past already says nothing new."""
        if step is not self.step or (shard != self.home and shard not in self._journey.awaited):
            return
        self._asked.discard(shard)
        try:
            self._journey.follow(shard, DecidedOutcome(outcome, NOTHING_DECIDED._replace(sagas=dict(sagas))))
        except FaultyCommandError as error:
            raise Violation(f"{error}: {outcome}") from error
        if self.step is not step:
            self._asked.clear()

    def time_out(self) -> None:
        """No shard answers: ask again."""
        self._asked.clear()
