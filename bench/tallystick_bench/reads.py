"""How long one read takes, at the start of a run and at its end. The time must not grow with the log."""

import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from tallystick.domain.identifiers import Prefix, parse_identifier
from tallystick.domain.limits import PAGE_ROWS_DEFAULT
from tallystick.ledger.shard import Shard
from tallystick_bench.measurement import percentile

_READS: Final = 500
_P50: Final = 50


class ReadTimes(msgspec.Struct, frozen=True):
    """Median milliseconds of one read, straight from the database: a balance, and a page of history."""

    position: int
    balance: float
    history_page: float


async def time_reads(shard: Shard, accounts: list[str], seed: int, position: int) -> ReadTimes:
    """Read accounts at random, one after the other."""
    chooser = random.Random(seed)  # nosec B311  # noqa: S311 - reproducible, which is what randomness is for here
    wanted = [parse_identifier(Prefix.ACCOUNT, text) for text in chooser.choices(accounts, k=_READS)]
    return ReadTimes(
        position,
        await _median_ms(lambda account: shard.reader.accounts([account]), wanted),
        await _median_ms(lambda account: shard.reader.history(account, None, PAGE_ROWS_DEFAULT), wanted),
    )


async def _median_ms(read: Callable[[int], Awaitable[object]], accounts: list[int]) -> float:
    times_ms = []
    for account in accounts:
        started = time.perf_counter()
        await read(account)
        times_ms.append(1000 * (time.perf_counter() - started))
    return round(percentile(sorted(times_ms), _P50), 3)
