"""Drives sagas from the reservation on the payer's shard to their end, step by step.

Any number of drivers may drive the same saga at once, in this process or in others. Every step is an idempotent
command, and the table `SAGA_STAGES` (or `SPLIT_STAGES`, if payees are on several shards) has the next stage for each
answer. Sagas between the same shards are driven together, so that many of them share two commits.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Final, Protocol

import msgspec
import structlog

from tallystick.background.alarms import Alarm, AlarmRate, raise_alarm
from tallystick.domain.commands import Command
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.outcomes import Posted, Refused
from tallystick.domain.saga_commands import Credit, Finalize, RefuseCredit, Release
from tallystick.domain.sagas import (
    SAGA_STAGES,
    SagaState,
    SagaStatus,
    Stage,
    Step,
    StepResult,
    credit_request,
    next_step,
)
from tallystick.ledger import metrics
from tallystick.ledger.crossing.saga.split import PAYEES_STEPS, SplitJourney
from tallystick.ledger.crossing.saga.stuck import StuckSagas
from tallystick.ledger.errors import FaultyCommandError, NotTakenError, UnavailableError
from tallystick.ledger.request_queue import DecidedOutcome
from tallystick.ledger.shard import Shard

_log = structlog.get_logger(__name__)

# Steps of the payees' shards. All others are taken on the payer's shard.
_THERE: Final = frozenset({Step.CREDIT, Step.REFUSE_CREDIT}) | PAYEES_STEPS
# The names of ends in metrics. A split saga that is settled counts as finalized.
_END_NAMES: Final = {
    SagaStatus.FINALIZED: "finalized",
    SagaStatus.SETTLED: "finalized",
    SagaStatus.RELEASED: "released",
}
_ENDED: Final = {Stage.FINALIZED: SagaStatus.FINALIZED, Stage.RELEASED: SagaStatus.RELEASED}


class SagaDriver:
    """Drives the sagas that began on one shard."""

    def __init__(self, home: Shard, find: Callable[[int], Shard | None]) -> None:
        """`home` is the payer's shard; `find` returns another shard by its number."""
        self._home = home
        self._find = find
        self._driven: dict[int, asyncio.Task[dict[int, SagaState]]] = {}
        self._label = str(home.number)
        self._stuck = StuckSagas()
        self._stuck_count = metrics.SAGAS_STUCK.labels(self._label)
        self._alarms = AlarmRate()

    @property
    def driven(self) -> frozenset[int]:
        """The sagas that this process drives now, by the position that reserved them."""
        return frozenset(self._driven)

    def begin(self, sagas: Iterable[SagaState], *, give_up: bool = False) -> None:
        """Drive sagas on, without waiting for them. Sagas that are already driven are left as they are.

        A stuck saga rests for a while between attempts, unless `give_up` asks for its money back.
        """
        waiting = sorted(
            (
                saga
                for saga in sagas
                if saga.saga not in self._driven and (give_up or not self._stuck.rests(saga.saga))
            ),
            key=_payee_shards,
        )
        for _, group in groupby(waiting, key=_payee_shards):
            together = list(group)
            task = asyncio.create_task(self._drive(together, give_up=give_up), name="sagas")
            for saga in together:
                self._driven[saga.saga] = task
            task.add_done_callback(partial(self._ended, together))

    async def drive(
        self, sagas: Sequence[SagaState], wait_seconds: float, *, give_up: bool = False
    ) -> dict[int, SagaState]:
        """Drive sagas. Returns the state of each when it has ended, or when the time is over.

        Sagas that have not ended go on, here or by the recovery.
        """
        self.begin((saga for saga in sagas if not saga.has_ended), give_up=give_up)
        tasks = {task for saga in sagas if (task := self._driven.get(saga.saga)) is not None}
        states = {saga.saga: saga for saga in sagas}
        if tasks:
            # A caller that goes away stops waiting; the sagas go on.
            done, _ = await asyncio.wait(tasks, timeout=wait_seconds)
            for task in done:
                # If a task was cancelled or failed, its sagas are still open.
                if not task.cancelled() and task.exception() is None:
                    states.update((saga, state) for saga, state in task.result().items() if saga in states)
        return states

    async def stop(self, timeout_seconds: float) -> None:
        """Wait for sagas in progress. Those that do not end in time are left to the recovery of another process."""
        if tasks := set(self._driven.values()):
            _, late = await asyncio.wait(tasks, timeout=timeout_seconds)
            for task in late:
                task.cancel()

    def _ended(self, sagas: Sequence[SagaState], task: asyncio.Task[dict[int, SagaState]]) -> None:
        for saga in sagas:
            self._driven.pop(saga.saga, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stuck_count.inc(len(sagas))
            for saga in sagas:
                self._stuck.note(saga.saga)
            raise_alarm(_log, Alarm.SAGAS_LEFT, self._alarms, shard=self._home.number, exc_info=error)

    async def _drive(self, sagas: list[SagaState], *, give_up: bool) -> dict[int, SagaState]:
        """Take all steps of sagas between the same shards, as far as possible."""
        journeys: list[Journey] = [
            (SplitJourney if saga.terms.is_split else _Journey)(self._home.number, saga, give_up=give_up)
            for saga in sagas
        ]
        try:
            while moving := [journey for journey in journeys if journey.step is not None]:
                await self._take([one for one in moving if one.step in _THERE], there=True)
                await self._take([one for one in moving if one.step not in _THERE], there=False)
        except NotTakenError as error:
            _log.info("sagas wait", shard=self._home.number, sagas=len(sagas), reason=str(error))
        return {journey.state.saga: journey.state for journey in journeys}

    async def _take(self, journeys: list["Journey"], *, there: bool) -> None:
        """Take one step of each saga, on the shards of the payees or on this one."""
        if not journeys:
            return
        if not there:
            await self._take_on(self._home.number, journeys)
            return
        shards = journeys[0].state.terms.payee_shards
        # First determine all steps of this round, because the last answer of a step changes the next one.
        waiting = {number: [one for one in journeys if number in one.awaited] for number in shards}
        silent: NotTakenError | None = None
        for number, mine in waiting.items():
            # A shard that can be reached does not wait for one that cannot.
            try:
                await self._take_on(number, [journey for journey in mine if not journey.stuck])
            except NotTakenError as error:
                silent = silent or error
        if silent is not None:
            raise silent

    async def _take_on(self, number: int, journeys: list["Journey"]) -> None:
        """Take one step of each saga on a shard."""
        if not journeys:
            return
        shard = self._home if number == self._home.number else self._find(number)
        if shard is None:
            raise UnavailableError("the other shard is not configured here")
        try:
            answers = await shard.batcher.submit(
                [journey.command(number) for journey in journeys], of_saga=True
            )
        except FaultyCommandError as error:
            if len(journeys) == 1:
                self._alarm(journeys[0], error)
                return
            # One of them is faulty. Take the step of each alone.
            for journey in journeys:
                await self._take_on(number, [journey])
            return
        for journey, answer in zip(journeys, answers, strict=True):
            journey.follow(number, answer)
            if journey.step is None and journey.state.has_ended:
                self._stuck.forget(journey.state.saga)
                metrics.SAGAS.labels(self._label, _END_NAMES[journey.state.status]).inc()

    def _alarm(self, journey: "Journey", error: Exception) -> None:
        journey.stuck = True
        self._stuck.note(journey.state.saga)
        self._stuck_count.inc()
        raise_alarm(
            _log,
            Alarm.SAGA_STUCK,
            self._alarms,
            saga=journey.state.saga,
            shard=self._home.number,
            exc_info=error,
        )


class Journey(Protocol):
    """One saga on its way through its table."""

    state: SagaState
    stuck: bool

    @property
    def step(self) -> Step | None:
        """The next step; None if there is none."""

    @property
    def awaited(self) -> Collection[int]:
        """The payees' shards that have not answered this step yet."""

    def command(self, shard: int) -> Command:
        """The next step on a shard, as a command."""

    def follow(self, shard: int, answer: DecidedOutcome) -> None:
        """Go to the next stage of the table, by the answer of a shard."""


class _Journey:
    """One saga with one payees' shard on its way through the table."""

    def __init__(self, home: int, state: SagaState, *, give_up: bool) -> None:
        self.state = state
        self.stuck = False
        self._give_up = give_up
        self._identifier = make_identifier(home, state.saga)
        self._stage = Stage.RESERVED
        self._credited = 0
        self._refusal: Refused | None = None

    @property
    def step(self) -> Step | None:
        """The next step; None if there is none."""
        return None if self.stuck else next_step(self._stage, give_up=self._give_up)

    @property
    def awaited(self) -> Collection[int]:
        """The payees' shards that have not answered this step yet."""
        return self.state.terms.payee_shards

    def command(self, _: int) -> Command:
        """The next step, as a command."""
        state, identifier, step = self.state, self._identifier, self.step
        if step is Step.CREDIT:
            return Credit(
                tenant=state.tenant,
                request=credit_request(identifier),
                opens=state.terms.opens,
                saga=identifier,
                terms=state.terms,
                note=state.note,
            )
        if step is Step.REFUSE_CREDIT:
            return RefuseCredit(tenant=state.tenant, request=credit_request(identifier), saga=identifier)
        if step is Step.FINALIZE:
            return Finalize(
                tenant=state.tenant, saga=identifier, terms=state.terms, counterpart=self._credited
            )
        if self._refusal is None:
            raise FaultyCommandError("nothing is released without a recorded refusal")
        return Release(tenant=state.tenant, saga=identifier, terms=state.terms, refusal=self._refusal)

    def follow(self, _: int, answer: DecidedOutcome) -> None:
        """Go to the next stage of the table, by the answer."""
        step, outcome = self.step, answer.outcome
        result = StepResult.POSTED if isinstance(outcome, Posted) else StepResult.REFUSED
        after = None if step is None else SAGA_STAGES.get((self._stage, step, result))
        if after is None:
            raise FaultyCommandError(f"a saga that is {self._stage} cannot {step} and be {result}")
        self._stage = after
        if isinstance(outcome, Refused):
            self._refusal = msgspec.structs.replace(outcome, replayed=False)
        elif after is Stage.CREDITED:
            self._credited = outcome.position
        else:
            self.state = msgspec.structs.replace(
                self.state,
                position=outcome.position,
                status=_ENDED[after],
                counterpart=self._credited or None,
                refusal=self._refusal,
            )


_payee_shards: Final = attrgetter("terms.payee_shards")
