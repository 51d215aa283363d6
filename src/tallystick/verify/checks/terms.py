"""The terms of a saga, judged on their own: which transfers may cross shards."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from tallystick.domain.commands import Kind, Leg
from tallystick.domain.identifiers import shard_of
from tallystick.domain.limits import (
    AMOUNT_MAX,
    ENTRIES_PER_TRANSACTION_MAX,
    SHARD_NUMBER_MAX,
    SHARD_NUMBER_MIN,
)
from tallystick.domain.sagas import SagaTerms, read_terms
from tallystick.domain.system_owners import is_system_owner

# The kinds that may cross, and whether each refers to a position of the payer's shard (the hold, or the original).
_OPERATIONS: Final[dict[int, bool]] = {
    int(Kind.TRANSFER): False,
    int(Kind.TRANSACTION): False,
    int(Kind.HOLD_CAPTURED): True,
    int(Kind.REVERSAL): True,
}
_SHARDS_MIN: Final = 2
_BETWEEN_TWO: Final = frozenset({Kind.TRANSFER, Kind.HOLD_CAPTURED})


def readable_terms(text: str | None) -> SagaTerms | None:
    """Terms from the log; None if they are missing or cannot be read."""
    if text is None:
        return None
    try:
        return read_terms(text)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def totals(legs: Sequence[Leg]) -> dict[str, int]:
    """The sum of legs in each asset, in minor units."""
    sums: dict[str, int] = {}
    for leg in legs:
        asset = leg.asset or ""
        sums[asset] = sums.get(asset, 0) + leg.amount
    return sums


def wrong_terms(terms: SagaTerms, shard: int) -> Iterator[str]:
    """What is wrong with terms on a payer's shard, apart from its accounts."""
    refers = _OPERATIONS.get(terms.operation)
    if refers is None:
        yield f"does what cannot cross shards: kind {terms.operation}"
    elif (terms.refers_to is not None) != refers:
        yield f"has terms that refer to {terms.refers_to}"
    if terms.reverses is not None and terms.operation != Kind.REVERSAL:
        yield "names a payment to reverse, and reverses none"
    if terms.final and terms.operation != Kind.HOLD_CAPTURED:
        yield "is the last capture of a hold, and captures none"
    if terms.is_split:
        yield from _wrong_split(terms)
    for there in terms.payee_shards:
        if there == shard or not SHARD_NUMBER_MIN <= there <= SHARD_NUMBER_MAX:
            yield f"crosses to shard {there}"
    if any(shard_of(leg.account) != shard for leg in terms.debits):
        yield "takes from an account of another shard"
    if any(shard_of(leg.account) not in terms.payee_shards for leg in terms.credits):
        yield f"pays an account that is not of shard {terms.other_shard}"
    yield from _wrong_legs(terms, [*terms.debits, *terms.credits])
    paid = {(leg.account, leg.asset) for leg in terms.credits}
    for one in terms.opens:
        if not is_system_owner(one.owner) or (one.account, one.asset) not in paid:
            yield f"opens an account of {one.owner} in {one.asset}, and does not pay it"


def _wrong_split(terms: SagaTerms) -> Iterator[str]:
    """What is wrong with terms with payees on several other shards."""
    if terms.operation != Kind.TRANSACTION:
        yield f"is of kind {terms.operation}, and crosses to several shards"
    if len(terms.payee_shards) < _SHARDS_MIN:
        yield f"says that it crosses to several shards, and crosses to {terms.payee_shards}"


def _wrong_legs(terms: SagaTerms, legs: Sequence[Leg]) -> Iterator[str]:
    if not terms.debits or not terms.credits or len(legs) > ENTRIES_PER_TRANSACTION_MAX:
        yield f"has {len(terms.debits)} debits and {len(terms.credits)} credits"
    elif terms.operation in _BETWEEN_TWO and (len(terms.debits), len(terms.credits)) != (1, 1):
        yield "is between more than two accounts"
    if len({leg.account for leg in legs}) != len(legs):
        yield "names an account twice"
    if any(not 0 < leg.amount <= AMOUNT_MAX for leg in legs):
        yield "moves an amount that is none"
    if any(leg.asset is None for leg in legs) or totals(terms.debits) != totals(terms.credits):
        yield "takes something else than it pays"
