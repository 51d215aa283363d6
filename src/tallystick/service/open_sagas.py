"""Open transfers between shards, for operators: the stage of each, and what it waits for."""

from datetime import datetime
from typing import Final

import msgspec

from tallystick.domain import limits
from tallystick.domain.identifiers import Prefix, format_identifier, local_of, make_identifier
from tallystick.domain.outcomes import Posted
from tallystick.domain.sagas import (
    SPLIT_BEGINNINGS,
    SagaState,
    SagaStatus,
    Stage,
    credit_request,
    next_split_step,
    next_step,
)
from tallystick.domain.times import time_of
from tallystick.ledger.shard import Shard
from tallystick.service import parameters
from tallystick.service.engine import Engine
from tallystick.service.errors import ParameterError
from tallystick.store.errors import StoreError

_ENDED: Final = {
    SagaStatus.FINALIZED: Stage.FINALIZED,
    SagaStatus.RELEASED: Stage.RELEASED,
    SagaStatus.SETTLED: Stage.SETTLED,
}


class Saga(msgspec.Struct, frozen=True):
    """One transfer between shards. `step` is the next step, `why` is what it waits for.

    `other_shard` is None if the payees are on several shards; `other_shards` has all of them.
    """

    id: str
    operation: str
    shard: int
    other_shard: int | None
    other_shards: list[int]
    stage: str
    step: str | None
    age_seconds: float
    reserved_at: datetime
    debits: dict[str, int]
    credits: dict[str, int]
    why: str


class OpenSagas:
    """The sagas of all tenants, for operators."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def open(self) -> tuple[list[Saga], dict[int, str]]:
        """Open sagas, the oldest of each shard first, and the shards that could not be reached, with the reason."""
        found: list[Saga] = []
        silent: dict[int, str] = {}
        for shard in self._engine.router.shards:
            try:
                found += await self._open_on(shard)
            except StoreError as error:
                silent[shard.number] = str(error)
        return found, silent

    async def drive(self, transaction: str, *, give_up: bool = False) -> Saga:
        """Drive one saga now. `give_up` asks for the money back, unless the other shard has credited it."""
        identifier = parameters.transaction(transaction, "id")
        shard = self._engine.router.shard(identifier)
        state = (await shard.reader.sagas([local_of(identifier)])).get(local_of(identifier))
        if state is None:
            raise ParameterError("id", "expected a transaction that crosses shards: see `tallystick sagas`")
        # As in the recovery: what another shard pays out must be reserved on a standby, too.
        await shard.database.await_standbys()
        driver = self._engine.crossings.driver(shard)
        states = await driver.drive([state], self._engine.saga_wait_seconds, give_up=give_up)
        return await self._view(shard, states[state.saga], 0.0)

    async def _open_on(self, shard: Shard) -> list[Saga]:
        found: list[Saga] = []
        after = 0
        while page := await shard.reader.open_sagas(after, limits.RECOVERY_SAGAS_AT_A_TIME):
            after = page[-1].saga
            states = await shard.reader.sagas([one.saga for one in page])
            found += [
                await self._view(shard, states[one.saga], one.age_us / 1_000_000)
                for one in page
                if one.saga in states
            ]
        return found

    async def _view(self, shard: Shard, state: SagaState, age_seconds: float) -> Saga:
        terms = state.terms
        identifier = make_identifier(shard.number, state.saga)
        if state.has_ended:
            stage, why = _ENDED[state.status], ""
        elif terms.is_split:
            stage, why = await self._split_stage(identifier, state)
        else:
            stage, why = await self._stage(identifier, terms.other_shard)
        step = next_split_step(stage) if terms.is_split else next_step(stage)
        return Saga(
            id=format_identifier(Prefix.TRANSACTION, identifier),
            operation=terms.operation.text,
            shard=shard.number,
            other_shard=None if terms.is_split else terms.other_shard,
            other_shards=list(terms.payee_shards),
            stage=stage,
            step=None if step is None else step.value,
            age_seconds=round(age_seconds, 3),
            reserved_at=time_of(state.reserved_at_us),
            debits={format_identifier(Prefix.ACCOUNT, leg.account): leg.amount for leg in terms.debits},
            credits={format_identifier(Prefix.ACCOUNT, leg.account): leg.amount for leg in terms.credits},
            why=why,
        )

    async def _split_stage(self, saga: int, state: SagaState) -> tuple[Stage, str]:
        """The stage of an open split saga: by its own shard, and by the answers of the payees' shards."""
        stage = SPLIT_BEGINNINGS[state.status]
        found = {number: await self._stage(saga, number) for number in state.terms.payee_shards}
        if stage is not Stage.RESERVED:
            waits = "confirmed" if stage is Stage.FINALIZED else "revoked"
            reasons = [why for asked, why in found.values() if asked is Stage.RESERVED]
            return stage, "; ".join(reasons) or f"not all promises are {waits} yet"
        if any(asked is Stage.REFUSED for asked, _ in found.values()):
            return Stage.REFUSED, "; ".join(why for asked, why in found.values() if asked is Stage.REFUSED)
        if all(asked is Stage.CREDITED for asked, _ in found.values()):
            return Stage.PROMISED, "promised; the payer's shard has not finalized it yet"
        return stage, "; ".join(why for asked, why in found.values() if asked is Stage.RESERVED)

    async def _stage(self, saga: int, other_shard: int) -> tuple[Stage, str]:
        """The stage of an open saga, by the answer of the other shard."""
        shard = self._engine.crossings.find(other_shard)
        if shard is None:
            return Stage.RESERVED, f"shard {other_shard} is not configured here: add it to the configuration"
        key = credit_request(saga).key
        try:
            recorded = (await shard.reader.requests([key])).get(key)
        except StoreError as error:
            return Stage.RESERVED, f"shard {other_shard} cannot be reached ({error})"
        if recorded is None:
            return Stage.RESERVED, f"shard {other_shard} has not been asked, or has not answered yet"
        if isinstance(recorded.outcome, Posted):
            return Stage.CREDITED, "credited; the payer's shard has not finalized it yet"
        return Stage.REFUSED, f"refused ({recorded.outcome.code.text}); the money has not been released yet"
