"""What crossed between shards: each shard says the same of it, and clearing accounts mirror each other.

Every payer's shard was read first, then every payees' shard, and then the payers' again for what began in between.
So whatever the first reading says of a credit must be found in the second: a saga is finalized after it was credited,
and released after the refusal was recorded. And whatever the second reading shows had begun by the third.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import shard_of
from tallystick.verify.checks.comparison import Comparison, Heads
from tallystick.verify.checks.crossing_rows import (
    ClearingBalance,
    ReversedCredit,
    Telling,
    Told,
    gather,
)
from tallystick.verify.checks.half_crossings import HalfCrossings
from tallystick.verify.checks.pairs import Pair
from tallystick.verify.checks.problems import ProblemKind
from tallystick.verify.checks.saga_crossings import SagaCrossings

Payers = dict[int, tuple[int, str]]
"""Who paid what came: each account with the amount and the asset."""

_NOBODY: Final[Payers] = {}


class Crossings:
    """Judges crossing after crossing, in the order of their identifiers; keeps sums, whatever their number is."""

    def __init__(self, heads: Heads, derivations: Mapping[int, Derivation]) -> None:
        """Say how far each shard was read, and what its clearing accounts follow from; only these are compared."""
        self.comparison = Comparison(heads, derivations)
        self.sagas = SagaCrossings(self.comparison)
        self.halves = HalfCrossings(self.comparison)

    def judge(self, crossing: int, tellings: Iterable[Telling]) -> None:
        """Judge all that is said about a crossing."""
        told = gather(crossing, tellings)
        home, not_compared = shard_of(crossing), self.comparison.not_compared
        if home not in self.comparison.shards:
            came = (*told.credits, *told.promises, *told.received)
            not_compared.update((home, credit.shard) for credit in came)
            not_compared.update((home, refusal.shard) for refusal in told.refusals)
            return
        if told.record is not None or told.credits or told.promises or told.refusals:
            self.sagas.judge(told)
        if told.sent is not None or told.received:
            self.halves.judge(told)
        if payers := _payers(told):
            for reversal in told.reversals:
                self._judge_reversal(reversal, payers, home)

    def balance(self, clearing: ClearingBalance) -> None:
        """Take the balance of a clearing account, as of the first moment of its shard."""
        self.comparison.pairs.balance(clearing)

    def finish(self) -> list[Pair]:
        """Judge the clearing accounts once all else is known; returns every pair that was compared."""
        pairs = self.comparison.pairs.all(self.comparison.shards)
        for pair in pairs:
            if pair.unexplained:
                first, second = pair.shards
                self.comparison.note(
                    ProblemKind.CLEARING_UNEXPLAINED,
                    first,
                    self.comparison.heads.payers[first],
                    f"at the end of the log, what shards {first} and {second} clear in {pair.asset} of tenant "
                    f"{pair.tenant} is {pair.balances[0]} and {pair.balances[1]}: {pair.difference} in sum, of "
                    f"which {pair.explained} is on its way in {pair.crossing_count} transfers",
                )
        return pairs

    def _judge_reversal(self, reversal: ReversedCredit, payers: Payers, home: int) -> None:
        """Judge whom a reversal pays on the shard that the money came from: those whose it was, and no more."""
        terms = reversal.terms
        if terms is None:
            return
        paid_back = all(
            (payer := payers.get(leg.account)) is not None
            and payer[1] == leg.asset
            and leg.amount <= payer[0]
            for leg in terms.credits
        )
        if terms.reverses not in {None, reversal.crossing}:
            self.comparison.note(
                ProblemKind.SAGA_WRONG,
                reversal.shard,
                reversal.position,
                f"gives back what came of one payment and names another, {terms.reverses}",
            )
        if terms.other_shard != home or not paid_back:
            self.comparison.note(
                ProblemKind.REVERSAL_ELSEWHERE,
                reversal.shard,
                reversal.position,
                f"gives back what came at position {terms.refers_to} to others than those who paid it",
            )


def _payers(told: Told) -> Payers:
    if told.record is not None and told.record.terms is not None:
        return {leg.account: (leg.amount, leg.asset or "") for leg in told.record.terms.debits}
    if told.sent is not None:
        return {account: (-amount, asset) for account, amount, asset in told.sent.entries if amount < 0}
    return _NOBODY
