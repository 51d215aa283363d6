"""What the calls of one tenant are made of: keys, routing, submitting, and following what crosses shards."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from tallystick.domain import limits
from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import SENT_KINDS, Command, Kind, Note, RequestKey
from tallystick.domain.fingerprint import Field, Operation, fingerprint, request_key
from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.outcomes import Posted, RefusalCode, Refused, refuse
from tallystick.domain.record import Record, record_at
from tallystick.domain.sagas import SagaState, SagaStatus
from tallystick.ledger.batcher import Answer
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.shard import Shard
from tallystick.ledger.two_phase import PairAnswer
from tallystick.service import parameters
from tallystick.service.engine import Engine

Amount = str | int
Text = str | None
Metadata = Mapping[str, str] | None
Time = datetime | None
UNSET: Final = msgspec.UNSET
Unset = msgspec.UnsetType


class Tenancy:
    """One tenant's way to the shards."""

    def __init__(self, engine: Engine, tenant: int) -> None:
        self._engine = engine
        self._tenant = tenant

    # Keys.

    def _request(self, idempotency_key: str | None, operation: Operation, *fields: Field) -> RequestKey:
        key = parameters.idempotency_key(idempotency_key)
        return RequestKey(request_key(self._tenant, key), fingerprint(operation, *fields))

    def _optional_request(
        self, idempotency_key: str | None, operation: Operation, *fields: Field
    ) -> RequestKey | None:
        return None if idempotency_key is None else self._request(idempotency_key, operation, *fields)

    def _noted_request(
        self, idempotency_key: str | None, operation: Operation, note: Note, *fields: Field
    ) -> RequestKey:
        """The key of a request whose last fields are what the caller wrote beside it."""
        return self._request(
            idempotency_key, operation, *fields, note.description, note.metadata, note.effective_at_us
        )

    # Shards.

    def _shard(self, identifier: int) -> Shard | None:
        return self._engine.router.shard(identifier)

    async def _state(self, account: str) -> AccountState | Refused:
        identifier = parameters.account(account, "id")
        shard = self._shard(identifier)
        state = None if shard is None else (await shard.reader.accounts([identifier])).get(identifier)
        if state is None or state.terms.tenant != self._tenant:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
        return state

    def _require_reachable(self, account: int) -> None:
        """Refuse to reserve what could not be credited now.

        Raises:
            UnavailableError: the account's shard cannot be written to.
        """
        shard = self._shard(account)
        if shard is not None and not shard.batcher.available:
            raise UnavailableError(f"shard {shard.number} cannot be written to now")

    async def _foreign_assets(self, home: Shard, accounts: Sequence[int]) -> dict[int, str | None]:
        """What this tenant's accounts on other shards hold, which never changes; None: there is no such account."""
        assets: dict[int, str | None] = {}
        for number in {shard_of(account) for account in accounts} - {home.number}:
            there = [account for account in accounts if shard_of(account) == number]
            shard = self._shard(there[0])
            states = {} if shard is None else await shard.reader.accounts(there)
            for account in there:
                state = states.get(account)
                known = state is not None and state.terms.tenant == self._tenant
                assets[account] = state.terms.asset if state is not None and known else None
        return assets

    # Answers.

    async def _submit(self, shard: Shard, command: Command) -> Record | Refused:
        answers = await self._engine.submit(shard, [command])
        (found,) = await self._records(shard, answers)
        return found

    async def _records(self, shard: Shard, answers: Sequence[Answer | PairAnswer]) -> list[Record | Refused]:
        """What each answer posted; what an earlier batch posted is read back, what crosses shards is driven on."""
        earlier = [
            answer.outcome.position
            for answer in answers
            if isinstance(answer.outcome, Posted) and not answer.appended
        ]
        read = await shard.reader.records(earlier) if earlier else {}
        found = await self._whole([_record(answer, read) for answer in answers])
        sagas = [record.saga for record in found if isinstance(record, Record) and record.saga is not None]
        return await self._followed(shard, found, sagas) if sagas else found

    async def _whole(self, found: Sequence[Record | Refused]) -> list[Record | Refused]:
        """Join records with their other halves, which are read where they are not known yet.

        Raises:
            UnavailableError: the other half is prepared, and cannot be read yet.
        """
        missing = [
            one.transaction.refers_to or 0
            for one in found
            if isinstance(one, Record)
            and one.other_half is None
            and one.transaction.kind in SENT_KINDS.values()
        ]
        if not missing:
            return list(found)
        halves: dict[int, Record] = {}
        for shard in {self._shard(identifier) for identifier in missing}:
            if shard is not None:
                halves.update(await self._halves(shard, missing))
        return [
            one._replace(other_half=halves.get(one.transaction.refers_to or 0, one.other_half))
            if isinstance(one, Record)
            else one
            for one in found
        ]

    async def _halves(self, shard: Shard, identifiers: Sequence[int]) -> dict[int, Record]:
        """The records on one shard, of these identifiers. What is decided will be there in a moment."""
        wanted = {local_of(one): one for one in identifiers if shard_of(one) == shard.number}
        deadline = time.monotonic() + self._engine.saga_wait_seconds
        while (read := await shard.reader.records(list(wanted))).keys() != wanted.keys():
            if time.monotonic() > deadline:
                raise UnavailableError(f"shard {shard.number} has not committed its half yet")
            await asyncio.sleep(limits.HALF_RETRY_SECONDS)
        return {wanted[position]: record for position, record in read.items()}

    async def _followed(
        self, shard: Shard, found: list[Record | Refused], sagas: Sequence[SagaState]
    ) -> list[Record | Refused]:
        """Drive sagas to their end, or for as long as a caller waits, and answer with what they came to."""
        driver = self._engine.crossings.driver(shard)
        states = await driver.drive(sagas, self._engine.saga_wait_seconds)
        captures = [
            state.position
            for state in states.values()
            if state.status is SagaStatus.FINALIZED and state.terms.operation is Kind.HOLD_CAPTURED
        ]
        ends = await shard.reader.records(captures) if captures else {}
        return [
            _ended(record, states[record.saga.saga], ends)
            if isinstance(record, Record) and record.saga is not None
            else record
            for record in found
        ]


def _ended(record: Record, state: SagaState, ends: Mapping[int, Record]) -> Record | Refused:
    """The record of a reservation, with how its saga ended; a hold is as its capture left it."""
    if state.refusal is not None:
        return state.refusal
    end = ends.get(state.position)
    return record._replace(saga=state, hold=record.hold if end is None else end.hold)


def _record(answer: Answer | PairAnswer, read: Mapping[int, Record]) -> Record | Refused:
    outcome = answer.outcome
    if isinstance(outcome, Refused):
        return outcome
    if not answer.appended:
        return read[outcome.position]
    record = record_at(answer.decision, outcome.position)
    if isinstance(answer, PairAnswer):
        half = local_of(record.transaction.refers_to or 0)
        record = record._replace(other_half=record_at(answer.other, half))
    return record
