"""Reads transactions that two shards posted together. Each log has one half, and each half names the other.

Only two-phase commit writes them. They stay in the logs, so they are read whatever way to cross shards is configured.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from tallystick.domain import limits
from tallystick.domain.commands import SENT_KINDS, Leg
from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.parts import HALF_OPERATIONS
from tallystick.domain.record import Record, record_at
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.request_queue import DecidedOutcome
from tallystick.service.engine import Engine
from tallystick.service.served_shard import ServedShard

_SENT: Final = frozenset(SENT_KINDS.values())


def joined(record: Record, answer: DecidedOutcome) -> Record:
    """A record that an answer posted, with its other half if there is one."""
    if answer.other is None:
        return record
    half = local_of(record.transaction.reference)
    return record._replace(other_half=record_at(answer.other, half))


def is_half(record: Record) -> bool:
    """Whether this is one half of a transaction."""
    return record.transaction.kind in HALF_OPERATIONS


async def whole(engine: Engine, found: Sequence[Record]) -> list[Record]:
    """Add to each half that was sent the half that was received. It is read if it is not known yet.

    Raises:
        UnavailableError: the other half is prepared, and cannot be read yet.
    """
    missing = [
        one.transaction.reference for one in found if one.other_half is None and one.transaction.kind in _SENT
    ]
    if not missing:
        return list(found)
    halves: dict[int, Record] = {}
    for other in {engine.router.shard(identifier) for identifier in missing}:
        halves.update(await _read(engine, other, missing))
    return [
        one
        if one.transaction.refers_to is None
        else one._replace(other_half=halves.get(one.transaction.refers_to, one.other_half))
        for one in found
    ]


async def received_of(engine: Engine, identifier: int, half: Record) -> tuple[int, tuple[Leg, ...]]:
    """The half of a transaction on the shard that received it, and its payers on the other shard.

    Raises:
        UnavailableError: the other half is prepared, and cannot be read yet.
    """
    other = half.transaction.reference
    if half.transaction.kind in _SENT:
        return other, _senders(half)
    halves = await _read(engine, engine.router.shard(other), [other])
    return identifier, _senders(halves[other])


async def _read(engine: Engine, shard: ServedShard, identifiers: Sequence[int]) -> dict[int, Record]:
    """The records on one shard, of these identifiers. A half that was decided is there in a moment."""
    wanted = {local_of(one): one for one in identifiers if shard_of(one) == shard.number}
    deadline = time.monotonic() + engine.saga_wait_seconds
    while (read := await shard.reader.records(list(wanted))).keys() != wanted.keys():
        if time.monotonic() > deadline:
            raise UnavailableError(f"shard {shard.number} has not committed its half yet")
        await asyncio.sleep(limits.HALF_RETRY_SECONDS)
    return {wanted[position]: record for position, record in read.items()}


def _senders(sent: Record) -> tuple[Leg, ...]:
    """The payers, from the half of their shard."""
    return tuple(
        Leg(entry.account, -entry.amount, entry.asset, "id") for entry in sent.entries if entry.amount < 0
    )
