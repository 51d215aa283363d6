"""Checks that ask a shard's PostgreSQL: rights, schema, sessions, clocks, and the disk if it is on this machine."""

import shutil
from collections.abc import Sequence
from typing import Final

from tallystick.domain import limits
from tallystick.ledger.clock import Clock, ClockError
from tallystick.service.configuration import ShardConfiguration
from tallystick.service.doctor.findings import Judgement, fine, unknown, warning, wrong
from tallystick.store.errors import SchemaError, ShardUnavailableError, StoreError
from tallystick.store.examination import Examination, data_folder_here, head_time_us
from tallystick.store.migrate import check_schema, schema_notes, serving_risks
from tallystick.store.sessions import check_sessions

_MICROSECONDS: Final = 1_000_000


def rights_and_schema(shard: ShardConfiguration) -> Judgement:
    """Whether the database is that of the shard and of this version, and its role may serve it."""
    try:
        check_schema(shard.dsn, shard.number, to_serve=True)
        notes = schema_notes(shard.dsn)
    except (SchemaError, ShardUnavailableError) as error:
        return wrong(str(error))
    return warning("; ".join(notes)) if notes else fine("as this version needs them")


def protection_of_the_log(shard: ShardConfiguration) -> Judgement:
    """Whether the role of servers could take away what protects the log, or other roles can write to it."""
    try:
        risks = serving_risks(shard.dsn)
    except StoreError as error:
        return unknown(str(error))
    return warning("; ".join(risks)) if risks else fine("servers have no rights that they do not need")


async def sessions(shard: ShardConfiguration) -> Judgement:
    """Whether each connection has a session of its own, with the settings that servers ask for."""
    try:
        await check_sessions(shard.dsn)
    except StoreError as error:
        return wrong(str(error))
    return fine("one for each connection")


def clocks(
    shard: ShardConfiguration, server: Examination, asked_at_us: int, tolerance_seconds: float
) -> Judgement:
    """Whether PostgreSQL's clock, this machine's and the times of the log agree.

    `asked_at_us`: the clock of this machine before `server` was examined.
    """
    try:
        head_us = head_time_us(shard.dsn)
        Clock(shard.number, tolerance_seconds).recorded_at_us(server.clock_us, head_us, asked_at_us)
    except (ClockError, StoreError) as error:
        return wrong(str(error))
    difference_us = max(server.clock_us - Clock.own_us(), asked_at_us - server.clock_us, 0)
    text = f"PostgreSQL's clock and this machine's differ by {difference_us / _MICROSECONDS:.1f} s"
    if difference_us > limits.CLOCK_DIFFERENCE_SECONDS_FINE * _MICROSECONDS:
        return warning(
            f"{text}, and beyond {tolerance_seconds:.0f} s nothing is written: set both right (NTP)"
        )
    return fine(text)


def disk(dsns: Sequence[str]) -> Judgement:
    """Whether there is room where PostgreSQL keeps its data. `dsns`: of several roles; one may see where that is."""
    for dsn in dsns:
        try:
            folder = data_folder_here(dsn)
        except StoreError:
            continue
        if folder is not None:
            try:
                room = shutil.disk_usage(folder)
            except OSError as error:
                return unknown(f"{folder} cannot be looked at ({error.strerror}): run this as another user")
            return disk_room(room.free, room.total, str(folder))
    return unknown(
        "PostgreSQL is on another machine, or does not say where its data are: look at its disk there"
    )


def disk_room(free_bytes: int, total_bytes: int, folder: str) -> Judgement:
    """Whether this is room enough."""
    free = f"{free_bytes / 2**30:.1f} of {total_bytes / 2**30:.1f} GiB are free in {folder}"
    advice = "when the disk is full, PostgreSQL stops: make room"
    if free_bytes < max(limits.FREE_DISK_BYTES_MIN, total_bytes * limits.FREE_DISK_PART_MIN):
        return wrong(f"{free}: {advice}")
    if free_bytes < total_bytes * limits.FREE_DISK_PART_LOW:
        return warning(f"{free}: {advice}")
    return fine(free)
