"""The calls about holds: set money aside, capture it, void it."""

import asyncio
import time

from tallystick import views
from tallystick.domain import limits
from tallystick.domain.commands import CaptureHold, Command, Kind, PlaceHold, VoidHold
from tallystick.domain.fingerprint import RequestKind
from tallystick.domain.holds import HoldStatus
from tallystick.domain.identifiers import local_of
from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.domain.record import Record, payment_of
from tallystick.domain.rows import TransactionRow
from tallystick.ledger.errors import FaultyCommandError
from tallystick.service import parameters
from tallystick.service.errors import HoldNotFoundError
from tallystick.service.parties import PartyPart
from tallystick.service.served_shard import ServedShard
from tallystick.service.tenancy import Amount, Metadata, Tenancy, Text, Time


class HoldCalls(Tenancy):
    """Set one tenant's money aside, and pay from it."""

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
        effective_at: Time = None,
    ) -> views.Hold | Refused:
        """Set part of the source's balance aside for the destination."""
        payer = parameters.account(source, "source")
        said = parameters.party(destination, "destination")
        number = parameters.amount(amount, "amount")
        parameters.asset_code(asset, "asset")
        parameters.between(expires_in_seconds, "expires_in", 1, limits.HOLD_SECONDS_MAX)
        note = parameters.note(description, metadata, effective_at)
        request = self._noted_request(
            idempotency_key,
            RequestKind.HOLD,
            note,
            payer,
            said,
            number,
            asset,
            expires_in_seconds,
        )
        shard = self._shard(payer)
        if isinstance(said, str):
            parts = (PartyPart(payer, -number, asset), PartyPart(said, number, asset))
            await self._engine.parties.ask(self._tenant, [parts])
        payer, payee, opens = self._two_accounts(payer, said, number, asset)
        command = PlaceHold(
            tenant=self._tenant,
            request=request,
            opens=opens,
            source=payer,
            destination=payee,
            amount=number,
            asset=asset,
            expires_in_us=expires_in_seconds * 1_000_000,
            foreign_assets=await self._foreign_assets(shard, [payee], opens),
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
        effective_at: Time = None,
    ) -> views.Hold | Refused:
        """Pay the hold's destination: `amount`, or all that is left. `final` releases what then remains."""
        identifier = parameters.hold(hold, "id")
        part = None if amount is None else parameters.amount(amount, "amount")
        note = parameters.note(description, metadata, effective_at)
        request = self._noted_request(
            idempotency_key,
            RequestKind.CAPTURE,
            note,
            identifier,
            part,
            final,
        )
        shard = self._shard(identifier)
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
        effective_at: Time = None,
    ) -> views.Hold | Refused:
        """Release what is left of a hold."""
        identifier = parameters.hold(hold, "id")
        note = parameters.note(description, metadata, effective_at)
        request = self._noted_request(
            idempotency_key,
            RequestKind.VOID,
            note,
            identifier,
        )
        shard = self._shard(identifier)
        command = VoidHold(tenant=self._tenant, request=request, hold=identifier, note=note)
        return await self._hold_answer(shard, command)

    async def held(self, hold: str) -> views.Hold:
        """A hold as it is now."""
        identifier = parameters.hold(hold, "id")
        shard = self._shard(identifier)
        state = (await shard.reader.holds([local_of(identifier)])).get(local_of(identifier))
        payer = None if state is None else (await shard.reader.accounts([state.account])).get(state.account)
        if state is None or payer is None or payer.terms.tenant != self._tenant:
            raise HoldNotFoundError(hold)
        changed = await self._row(shard, state.position)
        if changed.kind is Kind.TRANSFER_RELEASED and state.status is HoldStatus.OPEN:
            # The other shard refused a capture, so the hold is as before.
            changed = await self._row(shard, await shard.reader.hold_change(state.hold))
        return views.hold_view(shard.number, state, payment_of(shard.number, changed))

    async def _row(self, shard: ServedShard, position: int) -> TransactionRow:
        return (await shard.reader.records([position]))[position].transaction

    async def _hold_answer(self, shard: ServedShard, command: Command) -> views.Hold | Refused:
        found = await self._submit_until_free(shard, command)
        if isinstance(found, Refused):
            return found
        if found.hold is None:
            raise FaultyCommandError("the transaction changed no hold")
        return views.hold_view(shard.number, found.hold, payment_of(shard.number, found.transaction))

    async def _submit_until_free(self, shard: ServedShard, command: Command) -> Record | Refused:
        """Wait for a hold that another capture is using, as long as a caller waits for a transfer between shards."""
        deadline = time.monotonic() + self._engine.saga_wait_seconds
        while True:
            found = await self._submit(shard, command)
            busy = isinstance(found, Refused) and found.code is RefusalCode.HOLD_BUSY
            if not busy or time.monotonic() > deadline:
                return found
            await asyncio.sleep(limits.BUSY_HOLD_RETRY_SECONDS)
