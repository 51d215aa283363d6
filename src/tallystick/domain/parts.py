"""What a transaction of the log is to a client that ignores shards: a part of a payment, or nothing to them.

What crosses shards is several transactions of two logs, its stages. Such a client reads one kind, which is what was
asked for, one identifier, and each account's part once.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from tallystick.domain.accounts import AccountKind
from tallystick.domain.commands import PROMISE_KINDS, RECEIVED_KINDS, SAGA_KINDS, SENT_KINDS, Kind
from tallystick.domain.holds import HoldStatus
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.outcomes import Asked
from tallystick.domain.record import Record, payment_of
from tallystick.domain.rows import EntryRow
from tallystick.domain.sagas import SagaStatus, asked_of


class Part(NamedTuple):
    """What a transaction is to a client that ignores shards: a part of a payment, of the kind that was asked for.

    `refers_to` is the identifier of the hold, or of the payment that is reversed.
    """

    kind: Kind
    payment: int
    refers_to: int | None


def asked_for(shard: int, record: Record) -> Asked | None:
    """What the caller asked for, of a stage of a saga; None where it was written before stages said it."""
    if record.asked is not None or record.saga is None:
        return record.asked
    return asked_of(shard, record.saga.terms)


def is_told(shard: int, record: Record) -> bool:
    """Whether it is known here what was asked for: of the stages that earlier versions wrote it may not be."""
    return record.transaction.kind not in _STAGES or asked_for(shard, record) is not None


def part_of(shard: int, record: Record) -> Part | None:
    """What a transaction is to a client that ignores shards; None: nothing that concerns them.

    A payment that crosses is told of where it ends on each shard: what is reserved is not posted yet, and of what is
    released nothing is left; what is promised may be taken back, and what is confirmed may be spent. A stage of which
    it is not known what was asked for is shown as what it is.
    """
    row = record.transaction
    payment = payment_of(shard, row)
    clears = record.account is not None and record.account.terms.kind is AccountKind.CLEARING
    if row.kind in _SILENT or clears:
        return None
    if row.kind in _STAGES:
        asked = asked_for(shard, record) or Asked(row.kind, None)
        if row.kind is not Kind.TRANSFER_RELEASED:
            return Part(asked.kind, payment, asked.refers_to)
        # A capture in vain may outlive its hold, whose rest it then gives back.
        expired = record.hold is not None and record.hold.status is HoldStatus.EXPIRED
        return Part(Kind.HOLD_EXPIRED, payment, asked.refers_to) if expired else None
    if (operation := HALF_OPERATIONS.get(row.kind) or _SPLIT_OPERATIONS.get(row.kind)) is not None:
        return Part(operation, payment, None)
    return Part(row.kind, payment, None if row.refers_to is None else make_identifier(shard, row.refers_to))


def held_of(record: Record, entry: EntryRow) -> int:
    """How much more an entry's payment has set aside after it: what it had reserved itself cancels out."""
    reserved = record.transaction.kind is Kind.TRANSFER_FINALIZED and record.saga is not None
    captures = record.saga is not None and record.saga.terms.operation is Kind.HOLD_CAPTURED
    confirms = record.transaction.kind is Kind.TRANSFER_CONFIRMED
    return 0 if confirms or (reserved and not captures) else entry.held


def amount_of(record: Record, entry: EntryRow) -> int:
    """What an entry's payment has moved with it: what is confirmed had come with the promise, and was held."""
    return -entry.held if record.transaction.kind is Kind.TRANSFER_CONFIRMED else entry.amount


def pending_part(shard: int, record: Record) -> Part | None:
    """What a reservation is while its payment is on its way; None when that has ended."""
    saga = record.saga
    if record.transaction.kind is not Kind.TRANSFER_RESERVED or saga is None:
        return None
    asked = asked_for(shard, record) or Asked(saga.terms.operation, None)
    open_ = saga.status in {SagaStatus.RESERVED, SagaStatus.GIVEN_UP}
    return Part(asked.kind, payment_of(shard, record.transaction), asked.refers_to) if open_ else None


def own_entries(record: Record) -> list[EntryRow]:
    """The entries of a part of a payment, without those of the accounts that clear between shards."""
    match record.transaction.kind:
        case Kind.TRANSFER_FINALIZED | Kind.TRANSFER_SENT | Kind.TRANSACTION_SENT:
            return [
                entry._replace(held=held_of(record, entry)) for entry in record.entries if entry.amount < 0
            ]
        case Kind.TRANSFER_CREDITED | Kind.TRANSFER_RECEIVED | Kind.TRANSACTION_RECEIVED:
            return [entry for entry in record.entries if entry.amount > 0]
        case Kind.TRANSFER_CONFIRMED:
            return [
                entry._replace(amount=amount_of(record, entry), held=held_of(record, entry))
                for entry in record.entries
            ]
        case _:
            return list(record.entries)


def is_shown(shard: int, record: Record, kinds: Collection[Kind] | None) -> bool:
    """Whether a transaction concerns a client that asks for these kinds, or (None) for all.

    So does one of which it is not known what was asked for, until that is known: see `is_told`.
    """
    if not is_told(shard, record):
        return True
    part = part_of(shard, record)
    return part is not None and (kinds is None or part.kind in kinds)


def stored_kinds(kinds: Collection[Kind] | None) -> frozenset[Kind]:
    """As which kinds the log may have what a client asks for that ignores shards; None: it asks for all."""
    if kinds is None:
        return _ALL_SHOWN
    stored = set(kinds)
    if not _MAY_CROSS.isdisjoint(kinds):
        stored |= {Kind.TRANSFER_FINALIZED, Kind.TRANSFER_CREDITED}
    if Kind.TRANSACTION in kinds:
        stored.add(Kind.TRANSFER_CONFIRMED)
    if Kind.HOLD_EXPIRED in kinds:
        stored.add(Kind.TRANSFER_RELEASED)
    return frozenset(stored | {half for half, operation in HALF_OPERATIONS.items() if operation in kinds})


def asks_for_stages(kinds: Collection[Kind] | None) -> bool:
    """Whether these are kinds of stages, so that who asks for them does not ignore shards."""
    return kinds is not None and not STAGE_KINDS.isdisjoint(kinds)


_SILENT: Final = frozenset(
    {
        Kind.TRANSFER_RESERVED,
        Kind.TRANSFER_GIVEN_UP,
        Kind.TRANSFER_SETTLED,
        Kind.TRANSFER_PROMISED,
        Kind.TRANSFER_REVOKED,
    }
)
# Only a transaction of several entries is split.
_SPLIT_OPERATIONS: Final = {Kind.TRANSFER_CONFIRMED: Kind.TRANSACTION}
_STAGES: Final = SAGA_KINDS | {Kind.TRANSFER_CREDITED}
HALF_OPERATIONS: Final = {
    half: operation for halves in (SENT_KINDS, RECEIVED_KINDS) for operation, half in halves.items()
}
"""What was asked for, by the kind of a half of what was posted on two shards at once."""
STAGE_KINDS: Final = _STAGES | PROMISE_KINDS | HALF_OPERATIONS.keys()
"""What crosses shards is written as these, whatever was asked for."""
_MAY_CROSS: Final = frozenset({Kind.TRANSFER, Kind.TRANSACTION, Kind.HOLD_CAPTURED, Kind.REVERSAL})
_ALL_SHOWN: Final = frozenset(Kind) - _SILENT
