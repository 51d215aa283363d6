"""Continue the log of a shard that was restored to an earlier moment."""

from typing import Final, NamedTuple

from tallystick.domain import limits
from tallystick.domain.canonical import NO_ROWS, chain
from tallystick.domain.needs import Needs
from tallystick.domain.snapshot import Head
from tallystick.ledger.clock import Clock
from tallystick.service.migration import ShardUnreachableError
from tallystick.store.errors import BatchRejectedError, ShardUnavailableError
from tallystick.store.log import LogWriter
from tallystick.store.migrate import check_schema

_MICROSECONDS: Final = 1_000_000


class NotRestoredError(Exception):
    """The log cannot go on at a later position. The message says why."""


class Restoration(NamedTuple):
    """The positions that a shard does not use again: those after `lost_after` up to `lost_through`.

    `batch` covers them in the log. `restored_to_us`: when the newest batch before them was recorded, in microseconds
    since 1970.
    """

    shard: int
    batch: int
    lost_after: int
    lost_through: int
    restored_to_us: int


async def continue_restored(shard: int, owner_dsn: str, reason: str) -> Restoration:
    """Let the log of a restored shard go on at a position that no client was told of.

    Nothing can tell how many positions were lost, so more are left out than could have been written since the newest
    batch that is left. A batch without any rows covers them, so the chain stays whole, and `verify` names them.

    Args:
        shard: the shard's number.
        owner_dsn: the connection string of its owner.
        reason: why it was restored, for people.

    Raises:
        NotRestoredError: the log is empty.
        ShardUnreachableError: PostgreSQL cannot be reached.
        ShardUnavailableError: its clock is wrong, or it was lost meanwhile.
        CommitUnknownError: the answer to the commit is missing; `verify` says whether it was written.
        SchemaError: the database belongs to another shard, or has another version: migrate it first.
        BatchRejectedError: the role is not the owner.
    """
    writer, clock = LogWriter(owner_dsn, shard), Clock(shard)
    try:
        check_schema(owner_dsn, shard)
        await writer.reconnect()
    except ShardUnavailableError as error:
        raise ShardUnreachableError(shard, error) from error
    try:
        return await _continue(shard, writer, clock, reason)
    finally:
        await writer.close()


async def _continue(shard: int, writer: LogWriter, clock: Clock, reason: str) -> Restoration:
    asked_at_us = clock.own_us()
    head, database_us, _ = await writer.begin(Needs())
    if not head.number:
        raise NotRestoredError(f"the log of shard {shard} is empty: restore a back-up first")
    now_us = clock.recorded_at_us(database_us, head.recorded_at_us, asked_at_us)
    lost_through = _beyond_reach(head, now_us)
    row = chain(head.hash, head.number + 1, lost_through, now_us, NO_ROWS)
    try:
        await writer.append_restoration(row, reason)
        await writer.commit()
    except BatchRejectedError:
        await writer.roll_back()
        raise
    return Restoration(shard, row.number, head.last_position, lost_through, head.recorded_at_us)


def _beyond_reach(head: Head, now_us: int) -> int:
    """A position that the log cannot have reached between its head and now."""
    seconds = (now_us - head.recorded_at_us) // _MICROSECONDS + limits.RESTORATION_MARGIN_SECONDS
    return head.last_position + seconds * limits.POSITIONS_PER_SECOND_MAX
