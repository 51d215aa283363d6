"""The calls about holds: set money aside, capture it, void it."""

import asyncio
import time

from tallystick.domain import limits
from tallystick.domain.commands import CaptureHold, Command, PlaceHold, VoidHold
from tallystick.domain.fingerprint import Operation
from tallystick.domain.identifiers import local_of
from tallystick.domain.outcomes import RefusalCode, Refused, refuse
from tallystick.domain.record import Record
from tallystick.ledger.errors import FaultyCommandError
from tallystick.ledger.shard import Shard
from tallystick.service import parameters, views
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
        payee = parameters.account(destination, "destination")
        number = parameters.amount(amount, "amount")
        parameters.asset_code(asset, "asset")
        parameters.between(expires_in_seconds, "expires_in", 1, limits.HOLD_SECONDS_MAX)
        note = parameters.note(description, metadata, effective_at)
        request = self._noted_request(
            idempotency_key,
            Operation.HOLD,
            note,
            payer,
            payee,
            number,
            asset,
            expires_in_seconds,
        )
        shard = self._shard(payer)
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
            foreign_assets=await self._foreign_assets(shard, [payee]),
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
            Operation.CAPTURE,
            note,
            identifier,
            part,
            final,
        )
        shard = self._shard(identifier)
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
        effective_at: Time = None,
    ) -> views.Hold | Refused:
        """Release what is left of a hold."""
        identifier = parameters.hold(hold, "id")
        note = parameters.note(description, metadata, effective_at)
        request = self._noted_request(
            idempotency_key,
            Operation.VOID,
            note,
            identifier,
        )
        shard = self._shard(identifier)
        if shard is None:
            return refuse(RefusalCode.HOLD_NOT_FOUND, "id")
        command = VoidHold(tenant=self._tenant, request=request, hold=identifier, note=note)
        return await self._hold_answer(shard, command)

    async def held(self, hold: str) -> views.Hold | Refused:
        """A hold as it is now."""
        identifier = parameters.hold(hold, "id")
        shard = self._shard(identifier)
        if shard is not None:
            state = (await shard.reader.holds([local_of(identifier)])).get(local_of(identifier))
            payer = (
                None if state is None else (await shard.reader.accounts([state.account])).get(state.account)
            )
            if state is not None and payer is not None and payer.terms.tenant == self._tenant:
                return views.hold_view(shard.number, state)
        return refuse(RefusalCode.HOLD_NOT_FOUND, "id")

    async def _hold_answer(self, shard: Shard, command: Command) -> views.Hold | Refused:
        found = await self._submit_until_free(shard, command)
        if isinstance(found, Refused):
            return found
        if found.hold is None:
            raise FaultyCommandError("the transaction changed no hold")
        return views.hold_view(shard.number, found.hold)

    async def _submit_until_free(self, shard: Shard, command: Command) -> Record | Refused:
        """Wait for a hold that another capture is using, for as long as a caller waits for what crosses shards."""
        deadline = time.monotonic() + self._engine.saga_wait_seconds
        while True:
            found = await self._submit(shard, command)
            busy = isinstance(found, Refused) and found.code is RefusalCode.HOLD_BUSY
            if not busy or time.monotonic() > deadline:
                return found
            await asyncio.sleep(limits.BUSY_HOLD_RETRY_SECONDS)
