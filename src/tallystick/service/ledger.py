"""The ledger in its callers' words: open accounts, move money, hold, reverse, and read it all back.

An outcome is a value: what was posted, or `Refused` with a stable code. Exceptions are for a request that could
not be read (ParameterError), and for a ledger that could not take it (OverloadedError, UnavailableError).
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import msgspec

from tallystick.domain import limits
from tallystick.domain.accounts import DEFAULT_MIN_BALANCE, AccountKind, AccountState, AccountStatus
from tallystick.domain.commands import (
    CaptureHold,
    ChangeAccount,
    Command,
    OpenAccount,
    PlaceHold,
    PostTransaction,
    RequestKey,
    Reverse,
    Transfer,
    VoidHold,
)
from tallystick.domain.decide import Atomic, IdentifierTakenError
from tallystick.domain.fingerprint import Field, Operation, fingerprint, request_key
from tallystick.domain.identifiers import local_of, make_identifier
from tallystick.domain.outcomes import Posted, RefusalCode, Refused, refuse
from tallystick.domain.record import Record, record_at
from tallystick.ledger.batcher import Answer
from tallystick.ledger.errors import FaultyCommandError
from tallystick.ledger.shard import Shard
from tallystick.service import parameters, views
from tallystick.service.cursor import read_cursor, write_cursor
from tallystick.service.engine import Engine
from tallystick.service.errors import ParameterError
from tallystick.store.migrate import shard_number

Amount = str | int
Text = str | None
Metadata = Mapping[str, str] | None
UNSET: Final = msgspec.UNSET
Unset = msgspec.UnsetType

_KINDS: Final = {kind.name.lower(): kind for kind in AccountKind}
_STATUSES: Final = {status.name.lower(): status for status in AccountStatus}
_DRAWS_MAX: Final = 3


class TransferRequest(msgspec.Struct, frozen=True):
    """One transfer of a batch, with a key of its own."""

    source: str
    destination: str
    amount: Amount
    asset: str
    idempotency_key: str
    description: Text = None
    metadata: Metadata = None
    effective_at: datetime | None = None


class Ledger:
    """One tenant's ledger.

    Every method that moves money takes an `idempotency_key`: the same key and the same request have the same
    answer, for ever, and move money once. A key belongs to the tenant and to the shard of the payer.
    """

    def __init__(self, engine: Engine, tenant: int) -> None:
        self._engine = engine
        self._tenant = tenant

    @classmethod
    @asynccontextmanager
    async def connect(cls, *dsns: str, tenant: int = 1) -> AsyncIterator["Ledger"]:
        """Serve a tenant's ledger from the databases of its shards, inside this process.

        Args:
            dsns: a libpq connection string for each shard, migrated with `tallystick migrate`.
            tenant: the tenant's number; a new installation has one, 1.
        """
        engine = Engine({await shard_number(dsn): dsn for dsn in dsns})
        await engine.start()
        try:
            await engine.connected()
            yield cls(engine, tenant)
        finally:
            await engine.stop()

    # Accounts.

    async def open_account(
        self,
        owner: str,
        asset: str,
        *,
        kind: str = "wallet",
        min_balance: Amount | None | Unset = UNSET,
        max_balance: Amount | None = None,
        metadata: Metadata = None,
        idempotency_key: str | None = None,
    ) -> views.Account | Refused:
        """Open an account. A wallet may not be overdrawn (`min_balance` 0) unless it is said otherwise."""
        parameters.text(owner, "owner", limits.OWNER_CHARACTERS_MAX)
        account_kind = parameters.choice(kind, _KINDS, "kind")
        lower = (
            DEFAULT_MIN_BALANCE[account_kind]
            if isinstance(min_balance, Unset)
            else _optional(min_balance, "min_balance")
        )
        upper = _optional(max_balance, "max_balance")
        written_metadata = parameters.metadata(metadata)
        if await self._engine.assets.find(self._tenant, asset) is None:
            raise ParameterError("asset", "expected the code of an asset: see GET /v1/assets")
        request = self._optional_request(
            idempotency_key, Operation.OPEN_ACCOUNT, owner, asset, kind, lower, upper, written_metadata
        )
        shard = self._engine.router.home(self._tenant, owner)
        for _ in range(_DRAWS_MAX):
            command = OpenAccount(
                tenant=self._tenant,
                request=request,
                account=make_identifier(shard.number, 1 + secrets.randbelow(limits.LOCAL_NUMBER_MAX)),
                owner=owner,
                asset=asset,
                kind=account_kind,
                min_balance=lower,
                max_balance=upper,
                metadata=written_metadata,
            )
            try:
                return await self._account_answer(shard, command)
            except IdentifierTakenError:
                continue
        raise FaultyCommandError("three random identifiers in a row were taken")

    async def change_account(
        self,
        account: str,
        *,
        status: str | Unset = UNSET,
        min_balance: Amount | None | Unset = UNSET,
        max_balance: Amount | None | Unset = UNSET,
        metadata: Metadata | Unset = UNSET,
        idempotency_key: str | None = None,
    ) -> views.Account | Refused:
        """Freeze, unfreeze (`status="open"`), close, reopen; change bounds or metadata. None removes a bound."""
        identifier = parameters.account(account, "id")
        new_status = status if isinstance(status, Unset) else parameters.choice(status, _STATUSES, "status")
        lower = min_balance if isinstance(min_balance, Unset) else _optional(min_balance, "min_balance")
        upper = max_balance if isinstance(max_balance, Unset) else _optional(max_balance, "max_balance")
        written_metadata = metadata if isinstance(metadata, Unset) else parameters.metadata(metadata)
        changes = (new_status, lower, upper, written_metadata)
        if all(isinstance(change, Unset) for change in changes):
            raise ParameterError(
                "status", "expected at least one of status, min_balance, max_balance, metadata"
            )
        request = self._optional_request(
            idempotency_key, Operation.CHANGE_ACCOUNT, identifier, *map(_change_field, changes)
        )
        shard = self._engine.router.shard(identifier)
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
        command = ChangeAccount(
            tenant=self._tenant,
            request=request,
            account=identifier,
            status=new_status,
            min_balance=lower,
            max_balance=upper,
            metadata=written_metadata,
        )
        return await self._account_answer(shard, command)

    async def account(self, account: str) -> views.Account | Refused:
        """An account as it is now, from the database."""
        found = await self._state(account)
        return found if isinstance(found, Refused) else views.account_view(found)

    async def accounts(
        self, owner: str, *, cursor: str | None = None, limit: int = limits.PAGE_ROWS_DEFAULT
    ) -> views.Page[views.Account]:
        """An owner's accounts: the wallet, one page at a time."""
        parameters.text(owner, "owner", limits.OWNER_CHARACTERS_MAX)
        parameters.between(limit, "limit", 1, limits.PAGE_ROWS_MAX)
        reader = self._engine.router.home(self._tenant, owner).reader
        states = await reader.accounts_of_owner(self._tenant, owner, read_cursor(cursor) or 0, limit + 1)
        last = states[limit - 1].terms.account if len(states) > limit else None
        return views.Page(
            [views.account_view(state) for state in states[:limit]],
            None if last is None else write_cursor(last),
        )

    async def balance(
        self, account: str, *, at: datetime | None = None, effective_at: datetime | None = None
    ) -> views.Balance | Refused:
        """An account's balance now, as recorded at a past time (`at`), or of what was effective by then.

        The first two are an index descent each; `effective_at` sums the account's history.
        """
        if at is not None and effective_at is not None:
            raise ParameterError("effective_at", "expected only one of at and effective_at")
        at_us = None if at is None else parameters.past_time(at, "at")
        effective_us = None if effective_at is None else parameters.past_time(effective_at, "effective_at")
        state = await self._state(account)
        if isinstance(state, Refused):
            return state
        shard = self._engine.router.shard(state.terms.account)
        if shard is None or (at_us is None and effective_us is None):
            return views.balance_view(state)
        if at_us is not None:
            past = await shard.reader.balance_at(state.terms.account, at_us)
        else:
            past = await shard.reader.balance_effective(state.terms.account, effective_us or 0)
        return msgspec.structs.replace(
            views.balance_view(state),
            balance=past.balance,
            held=past.held,
            available=None if past.held is None else past.balance - past.held,
            position=past.position,
        )

    async def entries(
        self, account: str, *, cursor: str | None = None, limit: int = limits.PAGE_ROWS_DEFAULT
    ) -> views.Page[views.HistoryEntry] | Refused:
        """An account's history with its running balance, newest first, one page at a time."""
        parameters.between(limit, "limit", 1, limits.PAGE_ROWS_MAX)
        before = read_cursor(cursor)
        state = await self._state(account)
        if isinstance(state, Refused):
            return state
        shard = self._engine.router.shard(state.terms.account)
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
        rows = await shard.reader.history(state.terms.account, before, limit + 1)
        last = rows[limit - 1].entry.position if len(rows) > limit else None
        return views.Page(
            [views.history_view(shard.number, row.entry, row.transaction) for row in rows[:limit]],
            None if last is None else write_cursor(last),
        )

    # Money.

    async def transfer(
        self,
        source: str,
        destination: str,
        amount: Amount,
        asset: str,
        *,
        idempotency_key: str,
        description: Text = None,
        metadata: Metadata = None,
        effective_at: datetime | None = None,
    ) -> views.Transaction | Refused:
        """Move an amount of one asset from source to destination."""
        request = TransferRequest(
            source, destination, amount, asset, idempotency_key, description, metadata, effective_at
        )
        command = self._transfer_command(request, "")
        shard = self._engine.router.shard(command.source)
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "source")
        return await self._transaction_answer(shard, command)

    async def transfers(
        self, requests: Sequence[TransferRequest], *, atomic: bool = False
    ) -> list[views.Transaction | Refused]:
        """Up to 5,000 transfers in one call: each on its own, or (`atomic`) all or none."""
        parameters.count(requests, "transfers", 1, limits.TRANSFERS_PER_BATCH_REQUEST_MAX)
        commands = [
            self._transfer_command(request, f"transfers[{index}].") for index, request in enumerate(requests)
        ]
        shards = {self._engine.router.shard(command.source) for command in commands}
        if atomic and len(shards) > 1:
            return [refuse(RefusalCode.CROSSES_TOO_MANY_SHARDS, "transfers") for _ in commands]
        answers: dict[int, views.Transaction | Refused] = {}
        for shard in shards:
            places = [
                place
                for place, command in enumerate(commands)
                if self._engine.router.shard(command.source) is shard
            ]
            mine = [commands[place] for place in places]
            if shard is None:
                answers.update((place, refuse(RefusalCode.ACCOUNT_NOT_FOUND, "source")) for place in places)
                continue
            found = await shard.batcher.submit([Atomic(tuple(mine))] if atomic else mine)
            answers.update(zip(places, await self._transactions(shard, found), strict=True))
        return [answers[place] for place in range(len(commands))]

    async def post(
        self,
        entries: Sequence[tuple[str, Amount]],
        *,
        idempotency_key: str,
        description: Text = None,
        metadata: Metadata = None,
        effective_at: datetime | None = None,
    ) -> views.Transaction | Refused:
        """Post one transaction of several entries (account, signed amount), summing to zero in each asset."""
        parameters.count(entries, "entries", 2, limits.ENTRIES_PER_TRANSACTION_MAX)
        moves = tuple(
            (
                parameters.account(account, f"entries[{index}].account"),
                parameters.signed_amount(amount, f"entries[{index}].amount"),
            )
            for index, (account, amount) in enumerate(entries)
        )
        note = parameters.note(description, metadata, effective_at)
        request = self._request(
            idempotency_key,
            Operation.TRANSACTION,
            [list(move) for move in moves],
            note.description,
            note.metadata,
            note.effective_at_us,
        )
        payer = next((index for index, (_, amount) in enumerate(moves) if amount < 0), 0)
        shard = self._engine.router.shard(moves[payer][0])
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, f"entries[{payer}].account")
        command = PostTransaction(tenant=self._tenant, request=request, entries=moves, note=note)
        return await self._transaction_answer(shard, command)

    async def reverse(
        self,
        transaction: str,
        amount: Amount | None = None,
        *,
        idempotency_key: str,
        description: Text = None,
        metadata: Metadata = None,
        effective_at: datetime | None = None,
    ) -> views.Transaction | Refused:
        """Post the opposite of a transaction, whole or (two entries only) in part, never more in total."""
        identifier = parameters.transaction(transaction, "id")
        part = None if amount is None else parameters.amount(amount, "amount")
        note = parameters.note(description, metadata, effective_at)
        request = self._request(
            idempotency_key,
            Operation.REVERSE,
            identifier,
            part,
            note.description,
            note.metadata,
            note.effective_at_us,
        )
        shard = self._engine.router.shard(identifier)
        if shard is None:
            return refuse(RefusalCode.TRANSACTION_NOT_FOUND, "id")
        command = Reverse(
            tenant=self._tenant, request=request, transaction=identifier, amount=part, note=note
        )
        return await self._transaction_answer(shard, command)

    async def transaction(self, transaction: str) -> views.Transaction | Refused:
        """A transaction by its identifier."""
        identifier = parameters.transaction(transaction, "id")
        shard = self._engine.router.shard(identifier)
        position = local_of(identifier)
        record = None if shard is None else (await shard.reader.records([position])).get(position)
        if shard is None or record is None or record.transaction.tenant != self._tenant:
            return refuse(RefusalCode.TRANSACTION_NOT_FOUND, "id")
        return views.transaction_view(shard.number, record)

    # Holds.

    async def hold(
        self,
        source: str,
        destination: str,
        amount: Amount,
        asset: str,
        *,
        idempotency_key: str,
        expires_in_seconds: int = limits.HOLD_SECONDS_DEFAULT,
        description: Text = None,
        metadata: Metadata = None,
        effective_at: datetime | None = None,
    ) -> views.Hold | Refused:
        """Set part of the source's balance aside for the destination."""
        payer = parameters.account(source, "source")
        payee = parameters.account(destination, "destination")
        number = parameters.amount(amount, "amount")
        parameters.asset_code(asset, "asset")
        parameters.between(expires_in_seconds, "expires_in", 1, limits.HOLD_SECONDS_MAX)
        note = parameters.note(description, metadata, effective_at)
        request = self._request(
            idempotency_key,
            Operation.HOLD,
            payer,
            payee,
            number,
            asset,
            expires_in_seconds,
            note.description,
            note.metadata,
            note.effective_at_us,
        )
        shard = self._engine.router.shard(payer)
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "source")
        command = PlaceHold(
            tenant=self._tenant,
            request=request,
            source=payer,
            destination=payee,
            amount=number,
            asset=asset,
            expires_in_us=expires_in_seconds * 1_000_000,
            note=note,
        )
        return await self._hold_answer(shard, command)

    async def capture(
        self,
        hold: str,
        amount: Amount | None = None,
        *,
        final: bool = False,
        idempotency_key: str,
        description: Text = None,
        metadata: Metadata = None,
        effective_at: datetime | None = None,
    ) -> views.Hold | Refused:
        """Pay the hold's destination: `amount`, or all that is left. `final` releases what then remains."""
        identifier = parameters.hold(hold, "id")
        part = None if amount is None else parameters.amount(amount, "amount")
        note = parameters.note(description, metadata, effective_at)
        request = self._request(
            idempotency_key,
            Operation.CAPTURE,
            identifier,
            part,
            final,
            note.description,
            note.metadata,
            note.effective_at_us,
        )
        shard = self._engine.router.shard(identifier)
        if shard is None:
            return refuse(RefusalCode.HOLD_NOT_FOUND, "id")
        command = CaptureHold(
            tenant=self._tenant, request=request, hold=identifier, amount=part, final=final, note=note
        )
        return await self._hold_answer(shard, command)

    async def void(
        self,
        hold: str,
        *,
        idempotency_key: str,
        description: Text = None,
        metadata: Metadata = None,
        effective_at: datetime | None = None,
    ) -> views.Hold | Refused:
        """Release what is left of a hold."""
        identifier = parameters.hold(hold, "id")
        note = parameters.note(description, metadata, effective_at)
        request = self._request(
            idempotency_key,
            Operation.VOID,
            identifier,
            note.description,
            note.metadata,
            note.effective_at_us,
        )
        shard = self._engine.router.shard(identifier)
        if shard is None:
            return refuse(RefusalCode.HOLD_NOT_FOUND, "id")
        command = VoidHold(tenant=self._tenant, request=request, hold=identifier, note=note)
        return await self._hold_answer(shard, command)

    async def held(self, hold: str) -> views.Hold | Refused:
        """A hold as it is now."""
        identifier = parameters.hold(hold, "id")
        shard = self._engine.router.shard(identifier)
        if shard is not None:
            state = (await shard.reader.holds([local_of(identifier)])).get(local_of(identifier))
            payer = (
                None if state is None else (await shard.reader.accounts([state.account])).get(state.account)
            )
            if state is not None and payer is not None and payer.terms.tenant == self._tenant:
                return views.hold_view(shard.number, state)
        return refuse(RefusalCode.HOLD_NOT_FOUND, "id")

    # Assets.

    async def assets(self) -> list[views.Asset]:
        """The tenant's own assets, then those of ISO 4217."""
        return await self._engine.assets.all(self._tenant)

    async def create_asset(self, code: str, scale: int, name: str) -> views.Asset:
        """Define a custom asset; doing it again with the same values changes nothing."""
        return await self._engine.assets.create(self._tenant, code, scale, name)

    # What the methods are made of.

    def _transfer_command(self, request: TransferRequest, prefix: str) -> Transfer:
        source = parameters.account(request.source, f"{prefix}source")
        destination = parameters.account(request.destination, f"{prefix}destination")
        amount = parameters.amount(request.amount, f"{prefix}amount")
        asset = parameters.asset_code(request.asset, f"{prefix}asset")
        note = parameters.note(request.description, request.metadata, request.effective_at, prefix)
        name = parameters.idempotency_key(
            request.idempotency_key, f"{prefix}idempotency_key" if prefix else "Idempotency-Key"
        )
        key = self._request(
            name,
            Operation.TRANSFER,
            source,
            destination,
            amount,
            asset,
            note.description,
            note.metadata,
            note.effective_at_us,
        )
        return Transfer(
            tenant=self._tenant,
            request=key,
            source=source,
            destination=destination,
            amount=amount,
            asset=asset,
            note=note,
        )

    def _request(self, idempotency_key: str | None, operation: Operation, *fields: Field) -> RequestKey:
        key = parameters.idempotency_key(idempotency_key)
        return RequestKey(request_key(self._tenant, key), fingerprint(operation, *fields))

    def _optional_request(
        self, idempotency_key: str | None, operation: Operation, *fields: Field
    ) -> RequestKey | None:
        return None if idempotency_key is None else self._request(idempotency_key, operation, *fields)

    async def _state(self, account: str) -> AccountState | Refused:
        identifier = parameters.account(account, "id")
        shard = self._engine.router.shard(identifier)
        state = None if shard is None else (await shard.reader.accounts([identifier])).get(identifier)
        if state is None or state.terms.tenant != self._tenant:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
        return state

    async def _submit(self, shard: Shard, command: Command) -> Record | Refused:
        answers = await shard.batcher.submit([command])
        (found,) = await _records(shard, answers)
        return found

    async def _transactions(self, shard: Shard, answers: list[Answer]) -> list[views.Transaction | Refused]:
        return [
            found if isinstance(found, Refused) else views.transaction_view(shard.number, found)
            for found in await _records(shard, answers)
        ]

    async def _transaction_answer(self, shard: Shard, command: Command) -> views.Transaction | Refused:
        found = await self._submit(shard, command)
        return found if isinstance(found, Refused) else views.transaction_view(shard.number, found)

    async def _account_answer(self, shard: Shard, command: Command) -> views.Account | Refused:
        found = await self._submit(shard, command)
        if isinstance(found, Refused):
            return found
        if found.account is None:
            raise FaultyCommandError("the transaction changed no account")
        return views.account_view(found.account)

    async def _hold_answer(self, shard: Shard, command: Command) -> views.Hold | Refused:
        found = await self._submit(shard, command)
        if isinstance(found, Refused):
            return found
        if found.hold is None:
            raise FaultyCommandError("the transaction changed no hold")
        return views.hold_view(shard.number, found.hold)


async def _records(shard: Shard, answers: Sequence[Answer]) -> list[Record | Refused]:
    """What each answer posted; what an earlier batch posted is read back."""
    earlier = [
        answer.outcome.position
        for answer in answers
        if isinstance(answer.outcome, Posted) and not answer.appended
    ]
    read = await shard.reader.records(earlier) if earlier else {}
    return [_record(answer, read) for answer in answers]


def _record(answer: Answer, read: Mapping[int, Record]) -> Record | Refused:
    outcome = answer.outcome
    if isinstance(outcome, Refused):
        return outcome
    return record_at(answer.decision, outcome.position) if answer.appended else read[outcome.position]


def _optional(value: Amount | None, param: str) -> int | None:
    return None if value is None else parameters.integer(value, param)


def _change_field(change: AccountStatus | int | str | None | Unset) -> Field:
    # None removes a bound, which is another request than leaving it as it is.
    if isinstance(change, Unset):
        return None
    return "none" if change is None else change
