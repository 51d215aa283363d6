"""Reversals: the opposite of a transaction that moved money, never more than the whole in total.

One that goes back to another shard takes from those who were paid here, and counts from when it was reserved, unless
it was released. Whom it pays is judged where shards are compared.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Final

from tallystick.domain.commands import Kind
from tallystick.verify.checks.sides import CREDIT_KINDS
from tallystick.verify.problems import Findings, ProblemKind
from tallystick.verify.rows import ReversalPart

# What each kind of reversal may undo.
_REVERSIBLE: Final = {
    int(Kind.REVERSAL): frozenset({Kind.TRANSFER, Kind.TRANSACTION, Kind.HOLD_CAPTURED}),
    int(Kind.TRANSFER_RESERVED): frozenset(CREDIT_KINDS),
}
_TWO_ENTRIES: Final = 2
_ONE_ENTRY: Final = 1


def judge_reversals(parts: Iterable[ReversalPart], findings: Findings) -> None:
    """Judge all reversals.

    Args:
        parts: the entries of each transaction that was reversed and of its reversals, by original, then position.
        findings: takes what is wrong.
    """
    for original, group in groupby(parts, attrgetter("original")):
        transactions = groupby(group, attrgetter("position"))
        # Only the original and one reversal at a time are in memory, however often it was reversed in part.
        whole: list[ReversalPart] = []
        undone: Counter[int | None] = Counter()
        for position, entries in transactions:
            if position == original:
                whole = _undoable(entries)
                continue
            reversal = list(entries)
            if not reversal[0].released:
                undone.update(_amounts(reversal))
            for detail in _wrong(reversal, whole, undone):
                findings.at_position(
                    ProblemKind.REVERSAL_WRONG, position, f"the reversal of position {original} {detail}"
                )


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
    """How many entries an original may have that is undone in part: one on each side."""
    return _ONE_ENTRY if kind in CREDIT_KINDS else _TWO_ENTRIES


def _undoable(entries: Iterable[ReversalPart]) -> list[ReversalPart]:
    """The entries of an original that its reversal undoes: of a credit, what its payees got."""
    return [entry for entry in entries if entry.kind not in CREDIT_KINDS or entry.amount > 0]


def _amounts(parts: list[ReversalPart]) -> dict[int | None, int]:
    return {part.account: part.amount for part in parts}
