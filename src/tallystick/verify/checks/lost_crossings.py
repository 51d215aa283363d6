"""Transfers between shards of which one lost its part before it was restored: they are named, and are no problem."""

from collections import Counter
from typing import Final, NamedTuple

from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.sagas import SagaStatus, SagaTerms
from tallystick.verify.checks.terms import totals
from tallystick.verify.comparison import Comparison
from tallystick.verify.crossing_rows import CreditRecord, CrossingRecords, SagaRecord

LOST_CROSSINGS_LISTED_MAX: Final = 100


class LostCrossing(NamedTuple):
    """A transfer of which a shard lost its part: the payer's shard the debit, or the payees' shard the credit.

    `amounts` are in minor units by asset.
    """

    saga: int
    payee_shard: int
    tenant: int
    lost_on: int
    amounts: dict[str, int]

    @property
    def payer_has_paid(self) -> bool:
        """Whether the debit is there, and the credit was lost; or else the reverse."""
        return self.lost_on == self.payee_shard


class LostCrossings:
    """Finds such transfers, explains their amounts, and keeps their number and the first of them."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self.count = 0
        self.listed: list[LostCrossing] = []

    def lost_debit(self, records: CrossingRecords) -> bool:
        """Whether the payer's shard lost the saga of these credits. They are then explained."""
        home = shard_of(records.crossing)
        if records.promises or not self._comparison.was_lost(home, local_of(records.crossing)):
            return False
        for credit in records.credits:
            amounts = _came(credit)
            self._note(LostCrossing(records.crossing, credit.shard, credit.tenant, home, amounts))
            self._comparison.explain(
                records.crossing, (home, credit.shard), credit.tenant, amounts, left=False, came=True
            )
        return True

    def lost_credit(self, record: SagaRecord, terms: SagaTerms, credit: CreditRecord | None) -> bool:
        """Whether the payees' shard lost the credit of a finalized saga. It is then explained."""
        home, there = shard_of(record.crossing), terms.other_shard
        if record.status != SagaStatus.FINALIZED or credit is not None or record.counterpart is None:
            return False
        if not self._comparison.was_lost(there, record.counterpart):
            return False
        amounts = totals(terms.debits)
        self._note(LostCrossing(record.crossing, there, record.tenant, there, amounts))
        self._comparison.explain(
            record.crossing, (home, there), record.tenant, amounts, left=not record.latest, came=False
        )
        return True

    def _note(self, lost: LostCrossing) -> None:
        self.count += 1
        if len(self.listed) < LOST_CROSSINGS_LISTED_MAX:
            self.listed.append(lost)


def _came(credit: CreditRecord) -> dict[str, int]:
    """The amounts that a credit brings, by asset. Its clearing accounts are the ones that it debits."""
    amounts: Counter[str] = Counter()
    for _, amount, asset in credit.entries:
        if amount > 0:
            amounts[asset] += amount
    return dict(amounts)
