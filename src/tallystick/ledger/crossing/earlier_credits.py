"""Finds what was asked for in payments whose credits an earlier version wrote. Only the payers' shards record it.

It never changes, so it is read once and remembered. A shard that does not answer is waited for no longer than
`EARLIER_CREDITS_WAIT_SECONDS`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from tallystick.domain import limits
from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.outcomes import Asked
from tallystick.domain.parts import asked_for, is_asked_known
from tallystick.domain.record import Record, payment_of
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.shard import Shard
from tallystick.store.errors import StoreError


class EarlierCredits:
    """Finds what was asked for, by the identifier of the payment."""

    def __init__(self, find: Callable[[int], Shard | None]) -> None:
        """`find` returns a shard by its number."""
        self._find = find
        self._asked: dict[int, Asked] = {}

    async def completed(self, shard: int, records: Sequence[Record]) -> list[Record]:
        """Complete records of a shard that do not say what was asked for, as far as it can be read now."""
        payments = {
            record.transaction.position: payment_of(shard, record.transaction)
            for record in records
            if not is_asked_known(shard, record)
        }
        if not payments:
            return list(records)
        asked = await self._find_out(set(payments.values()))
        return [
            record._replace(asked=asked.get(payments[position]))
            if (position := record.transaction.position) in payments
            else record
            for record in records
        ]

    async def all_completed(self, shard: int, records: Sequence[Record]) -> list[Record]:
        """Complete all records; raises UnavailableError if a shard cannot be read now."""
        completed = await self.completed(shard, records)
        for record in completed:
            if not is_asked_known(shard, record):
                payer = shard_of(payment_of(shard, record.transaction))
                raise UnavailableError(
                    f"shard {payer} cannot be reached now, and only it knows the kind of a payment"
                )
        return completed

    async def _find_out(self, payments: Iterable[int]) -> dict[int, Asked]:
        found = {payment: self._asked[payment] for payment in payments if payment in self._asked}
        missing: dict[int, list[int]] = {}
        for payment in payments:
            if payment not in found:
                missing.setdefault(shard_of(payment), []).append(payment)
        for asked in await asyncio.gather(*(self._read(*of_shard) for of_shard in missing.items())):
            found |= asked
            self._remember(asked)
        return found

    async def _read(self, number: int, payments: Sequence[int]) -> dict[int, Asked]:
        shard = self._find(number)
        if shard is None:
            return {}
        try:
            async with asyncio.timeout(limits.EARLIER_CREDITS_WAIT_SECONDS):
                records = await shard.reader.records([local_of(payment) for payment in payments])
        except (TimeoutError, UnavailableError, StoreError):
            return {}
        return {
            shard.identifier(position): asked
            for position, record in records.items()
            if (asked := asked_for(number, record)) is not None
        }

    def _remember(self, asked: dict[int, Asked]) -> None:
        self._asked |= asked
        while len(self._asked) > limits.EARLIER_CREDITS_REMEMBERED_MAX:
            del self._asked[next(iter(self._asked))]
