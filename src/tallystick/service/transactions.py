"""The calls that move money: transfers, transactions of several entries, reversals."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from tallystick.domain import limits
from tallystick.domain.commands import (
    RECEIVED_KINDS,
    SENT_KINDS,
    Command,
    Kind,
    Leg,
    PostTransaction,
    Reach,
    Reverse,
    Transfer,
)
from tallystick.domain.decide import Atomic
from tallystick.domain.fingerprint import Operation
from tallystick.domain.identifiers import local_of, make_identifier, shard_of
from tallystick.domain.outcomes import RefusalCode, Refused, refuse
from tallystick.domain.record import Record
from tallystick.domain.sagas import SagaState, SagaStatus
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.shard import Shard
from tallystick.service import parameters, views
from tallystick.service.tenancy import Amount, Metadata, Tenancy, Text, Time

_HALF_KINDS: Final = frozenset({*SENT_KINDS.values(), *RECEIVED_KINDS.values()})


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


class TransactionCalls(Tenancy):
    """Move one tenant's money.

    What crosses shards is answered when it has ended on both. Where that takes longer than the configured time, the
    answer is a transaction in the state `pending`; the same request with the same key asks again.
    """

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
        effective_at: Time = None,
    ) -> views.Transaction | Refused:
        """Move an amount of one asset from source to destination."""
        request = TransferRequest(
            source, destination, amount, asset, idempotency_key, description, metadata, effective_at
        )
        command = self._transfer_command(request, "")
        shard = self._shard(command.source)
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "source")
        return await self._transaction_answer(shard, self._routed(command))

    async def transfers(
        self, requests: Sequence[TransferRequest], *, atomic: bool = False
    ) -> list[views.Transaction | Refused]:
        """Up to 5,000 transfers in one call: each on its own, or (`atomic`, inside one shard) all or none.

        One whose other shard cannot be reached is refused as `shard_unavailable`, which is not kept under its key.
        """
        parameters.count(requests, "transfers", 1, limits.TRANSFERS_PER_BATCH_REQUEST_MAX)
        commands = [
            self._transfer_command(request, f"transfers[{index}].") for index, request in enumerate(requests)
        ]
        places: dict[Shard | None, list[int]] = {}
        for place, command in enumerate(commands):
            places.setdefault(self._shard(command.source), []).append(place)
        if atomic and len(places) > 1:
            return [refuse(RefusalCode.CROSSES_TOO_MANY_SHARDS, "transfers") for _ in commands]
        answers: dict[int, views.Transaction | Refused] = {}
        for shard, mine in places.items():
            if shard is None:
                answers.update((place, refuse(RefusalCode.ACCOUNT_NOT_FOUND, "source")) for place in mine)
                continue
            units = [self._routed(commands[place]) for place in mine]
            found = await self._engine.submit(shard, [Atomic(tuple(units))] if atomic else units)
            records = await self._records(shard, found)
            answers.update(
                (place, _transaction(shard, record)) for place, record in zip(mine, records, strict=True)
            )
        return [answers[place] for place in range(len(commands))]

    async def post(
        self,
        entries: Sequence[tuple[str, Amount]],
        *,
        idempotency_key: str,
        description: Text = None,
        metadata: Metadata = None,
        effective_at: Time = None,
    ) -> views.Transaction | Refused:
        """Post one transaction of several entries (account, signed amount), summing to zero in each asset.

        It may cross two shards when all its debits are on one of them and all its credits on the other.
        """
        parameters.count(entries, "entries", 2, limits.ENTRIES_PER_TRANSACTION_MAX)
        moves = tuple(
            (
                parameters.account(account, f"entries[{index}].account"),
                parameters.signed_amount(amount, f"entries[{index}].amount"),
            )
            for index, (account, amount) in enumerate(entries)
        )
        note = parameters.note(description, metadata, effective_at)
        request = self._noted_request(
            idempotency_key, Operation.TRANSACTION, note, [list(move) for move in moves]
        )
        payer = next((index for index, (_, amount) in enumerate(moves) if amount < 0), 0)
        shard = self._shard(moves[payer][0])
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, f"entries[{payer}].account")
        accounts = [account for account, _ in moves]
        for account in accounts:
            self._require_reachable(account)
        command = PostTransaction(
            tenant=self._tenant,
            request=request,
            entries=moves,
            foreign_assets=await self._foreign_assets(shard, accounts),
            note=note,
        )
        return await self._transaction_answer(shard, command)

    async def reverse(
        self,
        transaction: str,
        amount: Amount | None = None,
        *,
        idempotency_key: str,
        description: Text = None,
        metadata: Metadata = None,
        effective_at: Time = None,
    ) -> views.Transaction | Refused:
        """Post the opposite of a transaction, whole or (two entries only) in part, never more in total.

        What crossed shards is given back from the shard where it was credited: the key belongs to that one.
        """
        identifier = parameters.transaction(transaction, "id")
        part = None if amount is None else parameters.amount(amount, "amount")
        note = parameters.note(description, metadata, effective_at)
        request = self._noted_request(idempotency_key, Operation.REVERSE, note, identifier, part)
        shard = self._shard(identifier)
        if shard is None:
            return refuse(RefusalCode.TRANSACTION_NOT_FOUND, "id")
        original, payers = await self._credit_of(shard, identifier)
        shard = self._shard(original) or shard
        command = Reverse(
            tenant=self._tenant,
            request=request,
            transaction=original,
            amount=part,
            payers=payers,
            note=note,
        )
        for leg in payers:
            self._require_reachable(leg.account)
        return await self._transaction_answer(shard, command)

    async def transaction(self, transaction: str) -> views.Transaction | Refused:
        """A transaction by its identifier; one that crosses shards may be `pending`."""
        identifier = parameters.transaction(transaction, "id")
        shard = self._shard(identifier)
        position = local_of(identifier)
        record = None if shard is None else (await shard.reader.records([position])).get(position)
        if shard is None or record is None or record.transaction.tenant != self._tenant:
            return refuse(RefusalCode.TRANSACTION_NOT_FOUND, "id")
        (found,) = await self._whole([record])
        return _transaction(shard, found)

    # What the calls are made of.

    def _transfer_command(self, request: TransferRequest, prefix: str) -> Transfer:
        source = parameters.account(request.source, f"{prefix}source")
        destination = parameters.account(request.destination, f"{prefix}destination")
        amount = parameters.amount(request.amount, f"{prefix}amount")
        asset = parameters.asset_code(request.asset, f"{prefix}asset")
        note = parameters.note(request.description, request.metadata, request.effective_at, prefix)
        name = parameters.idempotency_key(
            request.idempotency_key, f"{prefix}idempotency_key" if prefix else "Idempotency-Key"
        )
        return Transfer(
            tenant=self._tenant,
            request=self._noted_request(name, Operation.TRANSFER, note, source, destination, amount, asset),
            source=source,
            destination=destination,
            amount=amount,
            asset=asset,
            note=note,
        )

    def _routed(self, command: Transfer) -> Transfer:
        """Look whether the other shard of a transfer that crosses is there, and can be reached."""
        if shard_of(command.destination) == shard_of(command.source):
            return command
        shard = self._shard(command.destination)
        if shard is None:
            return msgspec.structs.replace(command, reach=Reach.NOT_CONFIGURED)
        if not shard.batcher.available:
            return msgspec.structs.replace(command, reach=Reach.UNREACHABLE)
        return command

    async def _credit_of(self, shard: Shard, identifier: int) -> tuple[int, tuple[Leg, ...]]:
        """The transaction to reverse, and whom the money goes back to on the other shard if it came from there.

        Raises:
            UnavailableError: the transaction is still on its way.
        """
        position = local_of(identifier)
        record = (await shard.reader.records([position])).get(position)
        if record is None or record.transaction.tenant != self._tenant:
            return identifier, ()
        if record.transaction.kind is Kind.TRANSFER_CREDITED:
            saga = record.transaction.refers_to or 0
            payer_shard = self._shard(saga)
            state = None
            if payer_shard is not None:
                state = (await payer_shard.reader.sagas([local_of(saga)])).get(local_of(saga))
            return identifier, _payers(state)
        if record.transaction.kind in _HALF_KINDS:
            return await self._received_of(identifier, record)
        if record.transaction.kind is not Kind.TRANSFER_RESERVED or record.saga is None:
            return identifier, ()
        states = await self._engine.crossings.driver(shard).drive(
            [record.saga], self._engine.saga_wait_seconds
        )
        state = states[record.saga.saga]
        if state.status is SagaStatus.RESERVED:
            raise UnavailableError("the transaction is still on its way to another shard")
        if state.counterpart is None:
            return identifier, ()
        return make_identifier(state.terms.other_shard, state.counterpart), _payers(state)

    async def _received_of(self, identifier: int, half: Record) -> tuple[int, tuple[Leg, ...]]:
        """The half of a transaction on the shard that received it, and who paid on the other one."""
        other_identifier = half.transaction.refers_to or 0
        if half.transaction.kind in SENT_KINDS.values():
            return other_identifier, _senders(half)
        shard = self._shard(other_identifier)
        if shard is None:
            return identifier, ()
        return identifier, _senders((await self._halves(shard, [other_identifier]))[other_identifier])

    async def _transaction_answer(self, shard: Shard, command: Command) -> views.Transaction | Refused:
        found = await self._submit(shard, command)
        if isinstance(found, Refused) and found.code is RefusalCode.SHARD_UNAVAILABLE:
            raise UnavailableError(found.detail)
        return _transaction(shard, found)


def _payers(state: SagaState | None) -> tuple[Leg, ...]:
    """Whom a reversal pays; nobody if the transaction was itself a reversal, which cannot be reversed."""
    if state is None or state.terms.operation is Kind.REVERSAL:
        return ()
    return state.terms.debits


def _senders(sent: Record) -> tuple[Leg, ...]:
    """Who paid, by the half of their shard."""
    return tuple(
        Leg(entry.account, -entry.amount, entry.asset, "id") for entry in sent.entries if entry.amount < 0
    )


def _transaction(shard: Shard, found: Record | Refused) -> views.Transaction | Refused:
    return found if isinstance(found, Refused) else views.transaction_view(shard.number, found)
