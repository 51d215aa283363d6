"""Rows about transfers between shards, from both shards.

Each has the identifier (shard and position in one number) of its crossing: the transaction that reserved a saga, or
the half that was sent. All rows are read in the order of that identifier, so that rows of one crossing come together.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from tallystick.domain.commands import PROMISE_KINDS, Kind
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.sagas import SagaStatus, SagaTerms, credit_request
from tallystick.verify.checks.terms import readable_terms
from tallystick.verify.columns import columns_of, number, optional, optional_text, text

_NAME_BYTES: Final = 8


Moved = tuple[tuple[int, int, str], ...]
"""The entries of a transaction: each account with its amount and asset."""


class SagaRecord(NamedTuple):
    """The payer's shard's record of a saga. `position` is that of its newest change; None while it is reserved.

    `terms` is None if they cannot be read. `latest`: read after the payees' shards, not before them.
    """

    crossing: int
    tenant: int
    terms: SagaTerms | None
    status: int
    position: int | None
    counterpart: int | None
    code: int | None
    param: str | None
    detail: str | None
    latest: bool


class SentHalf(NamedTuple):
    """A half that was sent, on the payer's shard; `other_half` is the identifier of the one that was received."""

    crossing: int
    other_half: int
    kind: int
    tenant: int
    entries: Moved
    latest: bool


class CreditRecord(NamedTuple):
    """Money from another shard, on the payees' shard: the credit of a saga, or the half that was received.

    It may also be the promise of a split saga, or the end of a promise.
    """

    crossing: int
    shard: int
    position: int
    kind: int
    tenant: int
    entries: Moved


class RefusedCredit(NamedTuple):
    """A refusal on the payees' shard under the key of a saga's credit, with the batch that recorded it."""

    crossing: int
    shard: int
    batch: int
    last_position: int
    code: int | None
    param: str | None
    detail: str | None


class ReversedCredit(NamedTuple):
    """A saga that gives back the credit of a crossing. It was reserved with these terms at `position` of `shard`."""

    crossing: int
    shard: int
    position: int
    terms: SagaTerms | None


class ClearingBalance(NamedTuple):
    """A clearing account's balance at the first moment of its shard, in minor units."""

    account: int
    tenant: int
    asset: str
    owner: str
    balance: int


CrossingRecord = SagaRecord | SentHalf | CreditRecord | RefusedCredit | ReversedCredit
"""Any record about a crossing, from any shard."""


class CrossingRecords(NamedTuple):
    """All records about one crossing, from all shards."""

    crossing: int
    record: SagaRecord | None
    sent: SentHalf | None
    credits: list[CreditRecord]
    promises: list[CreditRecord]
    received: list[CreditRecord]
    refusals: list[RefusedCredit]
    reversals: list[ReversedCredit]


def gather(crossing: int, rows: Iterable[CrossingRecord]) -> CrossingRecords:
    """Collect the records about one crossing."""
    records = CrossingRecords(crossing, None, None, [], [], [], [], [])
    for row in rows:
        match row:
            case SagaRecord():
                # The verification of the shard itself finds a saga that ended twice.
                records = records if records.record is not None else records._replace(record=row)
            case SentHalf():
                records = records._replace(sent=row)
            case CreditRecord():
                if row.kind in PROMISE_KINDS:
                    records.promises.append(row)
                else:
                    (records.credits if row.kind == Kind.TRANSFER_CREDITED else records.received).append(row)
            case RefusedCredit():
                records.refusals.append(row)
            case ReversedCredit():
                records.reversals.append(row)
    return records


class _CrossingPart(NamedTuple):
    """A row for one entry of a transaction between shards: its position, and what the transaction refers to."""

    first: int
    second: int
    kind: int
    tenant: int
    account: int | None
    amount: int
    asset: str


def read_saga_record(row: bytes, shard: int, *, latest: bool) -> SagaRecord:
    """A saga of a shard, from its rows."""
    columns = columns_of(row)
    position = optional(columns[3])
    return SagaRecord(
        make_identifier(shard, number(columns[0])),
        number(columns[1]),
        readable_terms(optional_text(columns[2])),
        int(SagaStatus.RESERVED) if position is None else number(columns[4]),
        position,
        optional(columns[5]),
        optional(columns[6]),
        optional_text(columns[7]),
        optional_text(columns[8]),
        latest,
    )


def read_sent_halves(rows: Iterable[bytes], shard: int, *, latest: bool) -> Iterator[SentHalf]:
    """The halves that a shard sent, from a row for each entry."""
    for (position, other_half), parts in _transactions(rows):
        yield SentHalf(
            make_identifier(shard, position),
            other_half,
            parts[0].kind,
            parts[0].tenant,
            _moved(parts),
            latest,
        )


def read_credits(rows: Iterable[bytes], shard: int) -> Iterator[CreditRecord]:
    """Money that came to a shard from others, from a row for each entry."""
    for (crossing, position), parts in _transactions(rows):
        yield CreditRecord(crossing, shard, position, parts[0].kind, parts[0].tenant, _moved(parts))


def read_refused_credits(rows: Iterable[bytes], shard: int) -> Iterator[RefusedCredit]:
    """The refusals on a shard under a saga's key. A request may look like one, and is records apart by its key."""
    for row in rows:
        columns = columns_of(row)
        crossing = int.from_bytes((columns[1] or b"")[:_NAME_BYTES], "big")
        if columns[0] == credit_request(crossing).key:
            yield RefusedCredit(
                crossing,
                shard,
                number(columns[2]),
                number(columns[3]),
                optional(columns[4]),
                optional_text(columns[5]),
                optional_text(columns[6]),
            )


def read_reversed_credit(row: bytes, shard: int) -> ReversedCredit:
    """A saga of a shard that gives back a credit from another shard."""
    columns = columns_of(row)
    return ReversedCredit(
        number(columns[0]), shard, number(columns[1]), readable_terms(optional_text(columns[2]))
    )


def read_clearing_balance(row: bytes) -> ClearingBalance:
    """A clearing account's balance."""
    columns = columns_of(row)
    return ClearingBalance(
        number(columns[0]), number(columns[1]), text(columns[2]), text(columns[3]), number(columns[4])
    )


def _transactions(rows: Iterable[bytes]) -> Iterator[tuple[tuple[int, int], list[_CrossingPart]]]:
    for place, group in groupby(map(_read_part, rows), attrgetter("first", "second")):
        yield place, list(group)


def _moved(parts: Iterable[_CrossingPart]) -> Moved:
    return tuple((part.account, part.amount, part.asset) for part in parts if part.account is not None)


def _read_part(row: bytes) -> _CrossingPart:
    columns = columns_of(row)
    return _CrossingPart(
        number(columns[0]),
        number(columns[1]),
        number(columns[2]),
        number(columns[3]),
        optional(columns[4]),
        number(columns[5]),
        text(columns[6]),
    )
