"""The calls that move money: transfers, transactions of several entries, reversals."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import msgspec

from tallystick import views
from tallystick.domain import limits
from tallystick.domain.commands import (
    Command,
    Kind,
    Leg,
    PostTransaction,
    Reach,
    Reverse,
    Transfer,
)
from tallystick.domain.decide import Atomic
from tallystick.domain.fingerprint import RequestKind
from tallystick.domain.identifiers import local_of, make_identifier, shard_of
from tallystick.domain.outcomes import RefusalCode, Refused, not_configured, refuse
from tallystick.domain.record import Record, payment_of
from tallystick.domain.sagas import SagaState, SagaStatus
from tallystick.domain.system_owners import SIGN
from tallystick.ledger.errors import UnavailableError
from tallystick.service import halves, parameters
from tallystick.service.current_request import note_replayed
from tallystick.service.errors import ParameterError, TransactionNotFoundError
from tallystick.service.parties import PartyPart
from tallystick.service.served_shard import ServedShard
from tallystick.service.tenancy import Amount, Metadata, Tenancy, Text, Time


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

    A transfer between shards is answered when it has ended on both. If that takes longer than the configured time,
    the answer is a transaction in the state `pending`. The same request with the same key asks again.
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
        if (parts := _system_parts(request)) is not None:
            await self._engine.parties.ask(self._tenant, [parts])
        command = self._transfer_command(request, "")
        if command.opens:
            await self._require_assets([command])
        shard = self._shard(command.source)
        return await self._transaction_answer(shard, self._routed(command))

    async def transfers(
        self, requests: Sequence[TransferRequest], *, atomic: bool = False
    ) -> list[views.Transaction | Refused]:
        """Up to 5,000 transfers in one call: each on its own, or (`atomic`, inside one shard) all or none.

        A transfer whose other shard cannot be reached or is not configured is refused as `shard_unavailable`. This is
        not recorded under its key.
        """
        parameters.count(requests, "transfers", 1, limits.TRANSFERS_PER_BATCH_REQUEST_MAX)
        with self._engine.admission.taken_on(self._tenant, len(requests)):
            return await self._transfers(requests, atomic=atomic)

    async def _transfers(
        self, requests: Sequence[TransferRequest], *, atomic: bool
    ) -> list[views.Transaction | Refused]:
        commands = await self._transfer_commands(requests)
        await self._require_assets(commands)
        places: dict[int, list[int]] = {}
        for place, command in enumerate(commands):
            places.setdefault(shard_of(command.source), []).append(place)
        if atomic and len(places) > 1:
            return [refuse(RefusalCode.CROSSES_TOO_MANY_SHARDS, "transfers") for _ in commands]
        for mine in places.values():
            if self._is_configured(commands[mine[0]].source):
                there = {
                    f"transfers[{place}].": commands[place]
                    for place in mine
                    if commands[place].note.effective_at_us is not None
                }
                await self._require_recent(self._shard(commands[mine[0]].source), there)
        answers: dict[int, views.Transaction | Refused] = {}
        all_replayed = True
        for number, mine in places.items():
            if not self._is_configured(commands[mine[0]].source):
                answers.update((place, not_configured(number, "source")) for place in mine)
                all_replayed = False
                continue
            shard = self._shard(commands[mine[0]].source)
            units = await self._in_pieces(mine, lambda place: self._routed(commands[place]))
            found = await self._engine.submit(shard, [Atomic(tuple(units))] if atomic else units)
            all_replayed = all_replayed and all(answer.outcome.replayed for answer in found)
            records = await self._records(shard, found)
            seen = await self._in_pieces(records, partial(_transaction, shard))
            answers.update(zip(mine, seen, strict=True))
        if all_replayed:
            note_replayed()
        return [answers[place] for place in range(len(commands))]

    async def post(
        self,
        entries: Sequence[tuple[str, Amount] | tuple[str, Amount, str | None]],
        *,
        idempotency_key: str,
        description: Text = None,
        metadata: Metadata = None,
        effective_at: Time = None,
    ) -> views.Transaction | Refused:
        """Post one transaction of several entries (account, signed amount), summing to zero in each asset.

        An entry of a system owner names the asset too: `("@fees", 25, "USD")`. A transaction may cross shards if all
        its debits are on one shard and all its credits on others. System owners have accounts on each shard.
        """
        parameters.count(entries, "entries", 2, limits.ENTRIES_PER_TRANSACTION_MAX)
        parts = [_part(f"entries[{index}]", *entry) for index, entry in enumerate(entries)]
        note = parameters.note(description, metadata, effective_at)
        # The parties as the caller named them, not the accounts chosen for them.
        said = [[part.party, part.amount, *([part.asset] if part.asset else [])] for part in parts]
        request = self._noted_request(idempotency_key, RequestKind.TRANSACTION, note, said)
        if (twice := _named_twice(parts)) is not None:
            return refuse(RefusalCode.SAME_ACCOUNT, f"entries[{twice}].account")
        await self._engine.parties.ask(self._tenant, [parts])
        chosen = self._engine.parties.choose(self._tenant, parts)
        await self._require_asset(chosen.opens, "entries")
        moves = tuple((account, part.amount) for account, part in zip(chosen.accounts, parts, strict=True))
        payer = next((index for index, (_, amount) in enumerate(moves) if amount < 0), 0)
        shard = self._shard(moves[payer][0])
        for account in chosen.accounts:
            self._require_reachable(account)
        command = PostTransaction(
            tenant=self._tenant,
            request=request,
            opens=chosen.opens,
            entries=moves,
            foreign_assets=await self._foreign_assets(shard, chosen.accounts, chosen.opens),
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

        A transfer between shards is given back from the shard where it was credited.
        """
        identifier = parameters.transaction(transaction, "id")
        part = None if amount is None else parameters.amount(amount, "amount")
        note = parameters.note(description, metadata, effective_at)
        request = self._noted_request(idempotency_key, RequestKind.REVERSE, note, identifier, part)
        shard = self._shard(identifier)
        original, payers = await self._credit_of(shard, identifier)
        shard = self._shard(original)
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

    async def transaction(self, transaction: str, *, stages: bool = False) -> views.Transaction:
        """A transaction by its identifier. A transfer between shards may be `pending`.

        For a stage of a transfer between shards the answer is the whole payment, unless `stages` asks for the stage.
        """
        identifier = parameters.transaction(transaction, "id")
        record = await self._record(identifier)
        if record is not None and not stages:
            payment = payment_of(shard_of(identifier), record.transaction)
            if payment != identifier:
                identifier, record = payment, await self._record(payment)
        if record is None:
            raise TransactionNotFoundError(transaction)
        shard = self._shard(identifier)
        (found,) = await halves.whole(self._engine, [record])
        return views.transaction_view(shard.number, found)

    # Parts of the calls.

    async def _transfer_commands(self, requests: Sequence[TransferRequest]) -> list[Transfer]:
        """The commands of a batch; raises OverloadedError as soon as there is no room for them."""

        def command(place: int) -> Transfer:
            if not place % limits.PIECE_COMMANDS_MAX:
                self._engine.require_room(self._tenant, len(requests))
            return self._transfer_command(requests[place], f"transfers[{place}].")

        await self._ask_for_system_owners(requests)
        return await self._in_pieces(range(len(requests)), command)

    async def _ask_for_system_owners(self, requests: Sequence[TransferRequest]) -> None:
        """Look up the accounts of the system owners in these requests."""
        parts = await self._in_pieces(requests, _system_parts)
        if named := [both for both in parts if both is not None]:
            await self._engine.parties.ask(self._tenant, named)

    def _transfer_command(self, request: TransferRequest, prefix: str) -> Transfer:
        source = parameters.party(request.source, f"{prefix}source")
        destination = parameters.party(request.destination, f"{prefix}destination")
        amount = parameters.amount(request.amount, f"{prefix}amount")
        asset = parameters.asset_code(request.asset, f"{prefix}asset")
        note = parameters.note(request.description, request.metadata, request.effective_at, prefix)
        # The parties as the caller named them, not the accounts chosen for them.
        key = self._noted_request(
            request.idempotency_key,
            RequestKind.TRANSFER,
            note,
            source,
            destination,
            amount,
            asset,
            param=f"{prefix}idempotency_key" if prefix else "Idempotency-Key",
        )
        payer, payee, opens = self._two_accounts(source, destination, amount, asset)
        return Transfer(
            tenant=self._tenant,
            request=key,
            opens=opens,
            source=payer,
            destination=payee,
            amount=amount,
            asset=asset,
            note=note,
        )

    async def _require_assets(self, commands: Sequence[Transfer]) -> None:
        """Check the assets of transfers that name no account which holds it: they would open one."""
        for command in commands:
            if len(command.opens) > 1:
                await self._require_asset(command.opens, "asset")

    def _routed(self, command: Transfer) -> Transfer:
        """Check whether the other shard of a transfer is configured, and can be reached."""
        if shard_of(command.destination) == shard_of(command.source):
            return command
        if not self._is_configured(command.destination):
            return msgspec.structs.replace(command, reach=Reach.NOT_CONFIGURED)
        if not self._shard(command.destination).batcher.available:
            return msgspec.structs.replace(command, reach=Reach.UNREACHABLE)
        return command

    async def _record(self, identifier: int) -> Record | None:
        """The record of one of this tenant's transactions."""
        position = local_of(identifier)
        record = (await self._shard(identifier).reader.records([position])).get(position)
        return None if record is None or record.transaction.tenant != self._tenant else record

    async def _credit_of(self, shard: ServedShard, identifier: int) -> tuple[int, tuple[Leg, ...]]:
        """The transaction to reverse, and the accounts that get the money back if it came from another shard.

        Raises:
            UnavailableError: the transaction is still on its way.
        """
        record = await self._record(identifier)
        if record is None:
            return identifier, ()
        if record.transaction.kind is Kind.TRANSFER_CREDITED:
            saga = record.transaction.reference
            state = (await self._shard(saga).reader.sagas([local_of(saga)])).get(local_of(saga))
            return identifier, _payers(state)
        if halves.is_half(record):
            return await halves.received_of(self._engine, identifier, record)
        if record.saga is None:
            return identifier, ()
        if not record.saga.has_ended:
            # As in the recovery: what another shard pays out must be reserved on a standby, too.
            await shard.database.await_standbys()
        states = await self._engine.crossings.driver(shard).drive(
            [record.saga], self._engine.saga_wait_seconds
        )
        state = states[record.saga.saga]
        if state.status is SagaStatus.RESERVED:
            raise UnavailableError("the transaction is still on its way to another shard")
        if state.counterpart is None:
            return identifier, ()
        return make_identifier(state.terms.other_shard, state.counterpart), _payers(state)

    async def _transaction_answer(self, shard: ServedShard, command: Command) -> views.Transaction | Refused:
        found = await self._submit(shard, command)
        if isinstance(found, Refused) and found.code is RefusalCode.SHARD_UNAVAILABLE:
            if isinstance(command, Transfer):
                self._require_reachable(command.destination)
            raise UnavailableError(found.detail)
        return _transaction(shard, found)


def _part(param: str, account: str, amount: Amount, asset: str | None = None) -> PartyPart:
    """One entry as the caller wrote it."""
    party = parameters.party(account, f"{param}.account")
    if isinstance(party, str):
        parameters.asset_code(asset or "", f"{param}.asset")
    elif asset is not None:
        raise ParameterError(
            f"{param}.asset", "expected no asset: an account holds one asset, and only a system owner several"
        )
    return PartyPart(party, parameters.signed_amount(amount, f"{param}.amount"), asset)


def _system_parts(request: TransferRequest) -> tuple[PartyPart, PartyPart] | None:
    """The parts of a transfer that names a system owner; None for others, and for an invalid request."""
    if not (str(request.source).startswith(SIGN) or str(request.destination).startswith(SIGN)):
        return None
    try:
        source = parameters.party(request.source, "source")
        destination = parameters.party(request.destination, "destination")
        asset = parameters.asset_code(request.asset, "asset")
    except ParameterError:
        # The error is raised when the command is made.
        return None
    return PartyPart(source, -1, asset), PartyPart(destination, 1, asset)


def _named_twice(parts: Sequence[PartyPart]) -> int | None:
    """The index of a second part of a system owner in one asset, whether its accounts are on one shard or on two."""
    seen: set[PartyPart] = set()
    for place, part in enumerate(parts):
        whose = part._replace(amount=0)
        if isinstance(part.party, str) and whose in seen:
            return place
        seen.add(whose)
    return None


def _payers(state: SagaState | None) -> tuple[Leg, ...]:
    """The accounts that a reversal pays; none if the transaction is itself a reversal, which cannot be reversed."""
    if state is None or state.terms.operation is Kind.REVERSAL:
        return ()
    return state.terms.debits


def _transaction(shard: ServedShard, found: Record | Refused) -> views.Transaction | Refused:
    return found if isinstance(found, Refused) else views.transaction_view(shard.number, found)
