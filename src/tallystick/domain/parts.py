"""Transactions of the log, as a client sees them that does not deal with shards.

A payment between shards is written as several transactions, its stages. Such a client sees one payment: its kind is
the one that was asked for, it has one identifier, and each account's part appears once.
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
    """A part of a payment, as such a client sees it. `kind` is the one that was asked for.

    `refers_to` is the identifier of the captured hold, or of the reversed payment.
    """

    kind: Kind
    payment: int
    refers_to: int | None


def asked_for(shard: int, record: Record) -> Asked | None:
    """What the caller asked for, given a stage of a saga.

    None if an earlier version wrote the stage and did not record it.
    """
    if record.asked is not None or record.saga is None:
        return record.asked
    return asked_of(shard, record.saga.terms)


def is_asked_known(shard: int, record: Record) -> bool:
    """Whether this shard knows what was asked for. It may not, for stages that earlier versions wrote."""
    return record.transaction.kind not in _STAGES or asked_for(shard, record) is not None


def part_of(shard: int, record: Record) -> Part | None:
    """A transaction as such a client sees it; None if the client does not see it.

    A payment between shards is shown on each shard when it ends there. A reservation is not posted yet, and a release
    leaves nothing. A promise may be taken back; a confirmation may be spent. If it is not known what was asked for,
    the stage is shown as it is in the log.
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
        # A hold may expire during a capture that is then refused. The release also gives back the rest of the hold.
        expired = record.hold is not None and record.hold.status is HoldStatus.EXPIRED
        return Part(Kind.HOLD_EXPIRED, payment, asked.refers_to) if expired else None
    if (operation := HALF_OPERATIONS.get(row.kind) or _SPLIT_OPERATIONS.get(row.kind)) is not None:
        return Part(operation, payment, None)
    return Part(row.kind, payment, None if row.refers_to is None else make_identifier(shard, row.refers_to))


def held_of(record: Record, entry: EntryRow) -> int:
    """The change of the held amount over the whole payment. What the payment itself had reserved cancels out."""
    reserved = record.transaction.kind is Kind.TRANSFER_FINALIZED and record.saga is not None
    captures = record.saga is not None and record.saga.terms.operation is Kind.HOLD_CAPTURED
    confirms = record.transaction.kind is Kind.TRANSFER_CONFIRMED
    return 0 if confirms or (reserved and not captures) else entry.held


def amount_of(record: Record, entry: EntryRow) -> int:
    """The amount that the payment moved: a confirmed amount came with the promise, and was held until now."""
    return -entry.held if record.transaction.kind is Kind.TRANSFER_CONFIRMED else entry.amount


def pending_part(shard: int, record: Record) -> Part | None:
    """A reservation as a part of a pending payment; None if the payment has ended."""
    saga = record.saga
    if record.transaction.kind is not Kind.TRANSFER_RESERVED or saga is None:
        return None
    asked = asked_for(shard, record) or Asked(saga.terms.operation, None)
    open_ = saga.status in {SagaStatus.RESERVED, SagaStatus.GIVEN_UP}
    return Part(asked.kind, payment_of(shard, record.transaction), asked.refers_to) if open_ else None


def own_entries(record: Record) -> list[EntryRow]:
    """The entries of a part of a payment, without those of clearing accounts."""
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
    """Whether a client that asks for these kinds (None: all) might have to see a transaction.

    This includes transactions of which it is not known yet what was asked for: see `is_asked_known`.
    """
    if not is_asked_known(shard, record):
        return True
    part = part_of(shard, record)
    return part is not None and (kinds is None or part.kind in kinds)


def stored_kinds(kinds: Collection[Kind] | None) -> frozenset[Kind]:
    """The kinds under which the log may have what such a client asks for; None: all kinds."""
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
    """Whether a client that asks for these kinds asks for stages."""
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
"""The kind that was asked for, given the kind of one half of a two-phase commit."""
STAGE_KINDS: Final = _STAGES | PROMISE_KINDS | HALF_OPERATIONS.keys()
"""The kinds of stages, which are the same whatever was asked for."""
_MAY_CROSS: Final = frozenset({Kind.TRANSFER, Kind.TRANSACTION, Kind.HOLD_CAPTURED, Kind.REVERSAL})
_ALL_SHOWN: Final = frozenset(Kind) - _SILENT
