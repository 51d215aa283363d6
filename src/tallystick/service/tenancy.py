"""The parts of a tenant's calls: keys, routing, submitting, and waiting for transfers between shards."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from tallystick.domain.accounts import AccountKind, AccountState
from tallystick.domain.commands import NO_NOTE, Command, Kind, Note, RequestKey
from tallystick.domain.fingerprint import Field, RequestKind, fingerprint, request_key
from tallystick.domain.identifiers import shard_of
from tallystick.domain.invariants import required
from tallystick.domain.outcomes import Posted, RefusalCode, Refused
from tallystick.domain.record import Record, record_at
from tallystick.domain.sagas import SagaState, SagaStatus
from tallystick.domain.system_owners import SystemAccount
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.request_queue import DecidedOutcome
from tallystick.service import halves, parameters
from tallystick.service.current_request import note_replayed
from tallystick.service.engine import Engine
from tallystick.service.errors import AccountNotFoundError, ParameterError
from tallystick.service.parties import Party, PartyPart
from tallystick.service.served_shard import ServedShard

Item = TypeVar("Item")
Made = TypeVar("Made")

Amount = str | int
Text = str | None
Metadata = Mapping[str, str] | None
Time = datetime | None
UNSET: Final = msgspec.UNSET
_DAY_US: Final = 24 * 3600 * 1_000_000
Unset = msgspec.UnsetType


class Tenancy:
    """The access of one tenant to the shards."""

    def __init__(self, engine: Engine, tenant: int) -> None:
        self._engine = engine
        self._tenant = tenant

    @property
    def tenant(self) -> int:
        """The tenant's number."""
        return self._tenant

    async def _in_pieces(self, items: Sequence[Item], make: Callable[[Item], Made]) -> list[Made]:
        """Apply a function to each item, in order. Many items are handled in pieces, in turns with other tenants."""
        return await self._engine.pieces.each(self._tenant, items, make)

    # Keys.

    def _request(
        self,
        idempotency_key: str | None,
        operation: RequestKind,
        *fields: Field,
        param: str = "Idempotency-Key",
    ) -> RequestKey:
        key = parameters.idempotency_key(idempotency_key, param)
        return RequestKey(
            request_key(self._tenant, key),
            fingerprint(operation, *fields),
            self._engine.refusal_budgets.allows(self._tenant),
        )

    def _optional_request(
        self, idempotency_key: str | None, operation: RequestKind, *fields: Field
    ) -> RequestKey | None:
        return None if idempotency_key is None else self._request(idempotency_key, operation, *fields)

    def _noted_request(
        self,
        idempotency_key: str | None,
        operation: RequestKind,
        note: Note,
        *fields: Field,
        param: str = "Idempotency-Key",
    ) -> RequestKey:
        """The key of a request whose last fields are description, metadata and effective time."""
        noted = (*fields, note.description, note.metadata, note.effective_at_us)
        return self._request(idempotency_key, operation, *noted, param=param)

    async def _require_recent(self, shard: ServedShard, commands: Mapping[str, Command]) -> None:
        """Refuse effective times that are too long ago, unless the key has an answer already.

        Args:
            shard: the shard of the commands.
            commands: by the prefix of the names of their fields.

        Raises:
            ParameterError: a time is too long ago, and nothing is recorded under its key.
        """
        days_back = self._engine.effective_at_max_days_back
        earliest_us = time.time_ns() // 1000 - days_back * _DAY_US
        old = {
            prefix: None if command.request is None else command.request.key
            for prefix, command in commands.items()
            if (effective_at_us := _note_of(command).effective_at_us) is not None
            and effective_at_us < earliest_us
        }
        if not old:
            return
        recorded = await shard.reader.requests(key for key in old.values() if key is not None)
        for prefix, key in old.items():
            if key not in recorded:
                raise ParameterError(
                    f"{prefix}effective_at",
                    f"expected at most {days_back} days ago (effective_at_max_days_back)",
                )

    # Shards.

    def _shard(self, identifier: int) -> ServedShard:
        """The shard of an account, a transaction or a hold. Raises ShardNotConfiguredError."""
        return self._engine.router.shard(identifier)

    def _is_configured(self, identifier: int) -> bool:
        return self._engine.router.has_shard_of(identifier)

    async def _state(self, account: str, param: str = "id") -> AccountState:
        """An account as it is now. Raises AccountNotFoundError."""
        identifier = parameters.account(account, param)
        state = (await self._shard(identifier).reader.accounts([identifier])).get(identifier)
        if state is None or state.terms.tenant != self._tenant:
            raise AccountNotFoundError(account)
        return state

    def _require_reachable(self, account: int) -> None:
        """Refuse a transfer if the payee's shard cannot be written to now.

        Raises:
            UnavailableError: the account's shard cannot be written to, or is not configured.
        """
        shard = self._shard(account)
        if not shard.batcher.available:
            raise UnavailableError(f"shard {shard.number} cannot be written to now")

    def _two_accounts(
        self, source: Party, destination: Party, amount: int, asset: str
    ) -> tuple[int, int, tuple[SystemAccount, ...]]:
        """The accounts of a payer and a payee, and which of them belong to system owners."""
        if isinstance(source, int) and isinstance(destination, int):
            return source, destination, ()
        parts = (PartyPart(source, -amount, asset), PartyPart(destination, amount, asset))
        (payer, payee), opens = self._engine.parties.choose(self._tenant, parts)
        return payer, payee, opens

    async def _require_asset(self, opens: Sequence[SystemAccount], param: str) -> None:
        """Check that assets exist, before an account is opened in one of them.

        Raises:
            ParameterError: the tenant has no such asset.
        """
        for code in {one.asset for one in opens}:
            if await self._engine.assets.find(self._tenant, code) is None:
                raise ParameterError(param, f"expected the code of an asset, not {code}: see GET /v1/assets")

    async def _foreign_assets(
        self, home: ServedShard, accounts: Sequence[int], opens: Sequence[SystemAccount] = ()
    ) -> dict[int, str | None]:
        """The assets of this tenant's accounts on other shards, which never change.

        None if an account does not exist.
        """
        assets: dict[int, str | None] = {
            one.account: one.asset for one in opens if shard_of(one.account) != home.number
        }
        asked = [account for account in accounts if account not in assets]
        for number in {shard_of(account) for account in asked} - {home.number}:
            there = [account for account in asked if shard_of(account) == number]
            states = await self._shard(there[0]).reader.accounts(there)
            for account in there:
                state = states.get(account)
                assets[account] = None
                if (
                    state is not None
                    and state.terms.tenant == self._tenant
                    # Callers do not see clearing accounts.
                    and state.terms.kind is not AccountKind.CLEARING
                ):
                    assets[account] = state.terms.asset
        return assets

    # Answers.

    async def _submit(self, shard: ServedShard, command: Command) -> Record | Refused:
        if _note_of(command).effective_at_us is not None:
            await self._require_recent(shard, {"": command})
        (answer,) = await self._engine.submit(shard, [command])
        if answer.outcome.replayed:
            note_replayed()
        if isinstance(answer.outcome, Refused):
            if answer.outcome.code is RefusalCode.RATE_LIMITED:
                raise self._engine.refusal_budgets.error(self._tenant, answer.outcome)
            return answer.outcome
        if answer.appended and answer.other is None:
            record = record_at(answer.decision, answer.outcome.position)
            if record.saga is None:
                return record
        (found,) = await self._records(shard, [answer])
        return found

    async def _records(self, shard: ServedShard, answers: Sequence[DecidedOutcome]) -> list[Record | Refused]:
        """The record of each answer. Records of earlier batches are read, and transfers between shards are driven."""
        earlier = [
            answer.outcome.position
            for answer in answers
            if isinstance(answer.outcome, Posted) and not answer.appended
        ]
        read = await shard.reader.records(earlier) if earlier else {}
        found: list[Record | Refused] = await self._in_pieces(answers, lambda answer: _record(answer, read))
        whole = iter(await halves.whole(self._engine, [one for one in found if isinstance(one, Record)]))
        found = [next(whole) if isinstance(one, Record) else one for one in found]
        sagas = [record.saga for record in found if isinstance(record, Record) and record.saga is not None]
        return await self._followed(shard, found, sagas) if sagas else found

    async def _followed(
        self, shard: ServedShard, found: list[Record | Refused], sagas: Sequence[SagaState]
    ) -> list[Record | Refused]:
        """Drive sagas to their end, or for as long as a caller waits, and return their records."""
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


def _note_of(command: Command) -> Note:
    note: Note = getattr(command, "note", NO_NOTE)
    return note


def _ended(record: Record, state: SagaState, ends: Mapping[int, Record]) -> Record | Refused:
    """The record of a reservation with the end of its saga. A hold is as its capture left it."""
    if state.status is SagaStatus.RELEASED:
        return required(state.refusal, f"why saga {state.saga} was released")
    end = ends.get(state.position)
    return record._replace(saga=state, hold=record.hold if end is None else end.hold)


def _record(answer: DecidedOutcome, read: Mapping[int, Record]) -> Record | Refused:
    outcome = answer.outcome
    if isinstance(outcome, Refused):
        return outcome
    if not answer.appended:
        return read[outcome.position]
    return halves.joined(record_at(answer.decision, outcome.position), answer)
