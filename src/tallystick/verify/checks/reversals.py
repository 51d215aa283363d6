"""Reversals: the opposite of a transaction that moved money, never more than the whole in total.

A reversal to another shard takes from the accounts that were paid here. It counts from its reservation, unless it was
released. The accounts that it pays are judged when shards are compared.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Final

from tallystick.domain.commands import Kind
from tallystick.domain.identifiers import shard_of
from tallystick.verify.checks.sides import CREDIT_KINDS
from tallystick.verify.crossing_rows import ReversedCredit
from tallystick.verify.problems import FoundProblem, ProblemKind
from tallystick.verify.rows import ReversalPart

# The kinds that each kind of reversal may undo.
_REVERSIBLE: Final = {
    int(Kind.REVERSAL): frozenset({Kind.TRANSFER, Kind.TRANSACTION, Kind.HOLD_CAPTURED}),
    int(Kind.TRANSFER_RESERVED): frozenset(CREDIT_KINDS),
}
_TWO_ENTRIES: Final = 2
_ONE_ENTRY: Final = 1


def reversals_give_back_no_more(parts: Iterable[ReversalPart]) -> Iterator[FoundProblem]:
    """A reversal is the opposite of an earlier transaction, and all of them together never more than the whole.

    Args:
        parts: the entries of each transaction that was reversed and of its reversals, by original, then position.
    """
    for original, group in groupby(parts, attrgetter("original")):
        transactions = groupby(group, attrgetter("position"))
        # Only the original and one reversal at a time are in memory, however many partial reversals there are.
        whole: list[ReversalPart] = []
        undone: Counter[int | None] = Counter()
        for position, entries in transactions:
            if position == original:
                whole = _undoable(entries)
                continue
            reversal = list(entries)
            if not reversal[0].released:
                undone.update(_amounts(reversal))
            for wrong in _wrong(reversal, whole, undone):
                detail = f"the reversal of position {original} {wrong}"
                yield FoundProblem(ProblemKind.REVERSAL_WRONG, position, detail)


Payers = dict[int, tuple[int, str]]
"""The payers of a credit: each account, with the amount and the asset."""


def reversals_pay_those_who_paid(reversal: ReversedCredit, payers: Payers) -> Iterator[FoundProblem]:
    """A reversal of a credit from another shard pays the payers on that shard, and none of them more than it paid."""
    terms = reversal.terms
    if terms is None:
        return
    paid_back = all(
        (payer := payers.get(leg.account)) is not None and payer[1] == leg.asset and leg.amount <= payer[0]
        for leg in terms.credits
    )
    if terms.reverses not in {None, reversal.crossing}:
        detail = f"gives back what came of one payment and names another, {terms.reverses}"
        yield FoundProblem(ProblemKind.SAGA_WRONG, reversal.position, detail)
    if terms.other_shard != shard_of(reversal.crossing) or not paid_back:
        detail = f"gives back what came at position {terms.refers_to} to others than those who paid it"
        yield FoundProblem(ProblemKind.REVERSAL_ELSEWHERE, reversal.position, detail)


def _wrong(
    reversal: list[ReversalPart], whole: list[ReversalPart], undone: Mapping[int | None, int]
) -> Iterator[str]:
    if not whole:
        yield "has no original before it"
        return
    if whole[0].kind not in _REVERSIBLE.get(reversal[0].kind, ()):
        yield f"undoes a transaction of kind {whole[0].kind}, which cannot be reversed"
    if reversal[0].tenant != whole[0].tenant:
        yield f"is of tenant {reversal[0].tenant}, the original of tenant {whole[0].tenant}"
    amounts, originals = _amounts(reversal), _amounts(whole)
    if amounts.keys() != originals.keys():
        yield "is between other accounts than the original"
        return
    if any(amount * originals[account] >= 0 for account, amount in amounts.items()):
        yield "moves money in the same direction as the original"
    elif any(abs(undone[account]) > abs(amount) for account, amount in originals.items()):
        yield "takes back more than what was left of the original"
    elif len(originals) > _entries_max(whole[0].kind) and any(
        amounts[account] != -originals[account] for account in amounts
    ):
        yield "is partial, and the original has more than two entries"


def _entries_max(kind: int) -> int:
    """The largest number of entries of an original that is undone in part: one on each side."""
    return _ONE_ENTRY if kind in CREDIT_KINDS else _TWO_ENTRIES


def _undoable(entries: Iterable[ReversalPart]) -> list[ReversalPart]:
    """The entries of an original that its reversal undoes. For a credit these are the entries of its payees."""
    return [entry for entry in entries if entry.kind not in CREDIT_KINDS or entry.amount > 0]


def _amounts(parts: list[ReversalPart]) -> dict[int | None, int]:
    return {part.account: part.amount for part in parts}
