"""What proves that a fault has bitten: processes that are gone or stand still."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import psutil

from tests.chaos.strikes import NotBittenError

GONE_SECONDS_MAX: Final = 2.0
LOOK_SECONDS: Final = 0.01


@contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[list[psutil.Process]]:
    """Let processes stand still until the end of the block: those of them that have not ended by themselves."""
    still: list[psutil.Process] = []
    try:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
                still.append(process)
        yield still
    finally:
        for process in still:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def proof_of_stop(processes: Iterable[psutil.Process]) -> str:
    """All of them stand still, at the end of the time for which they must."""
    statuses = Counter(process.status() for process in processes)
    if set(statuses) != {psutil.STATUS_STOPPED}:
        raise NotBittenError(f"not all processes stood still: {dict(statuses)}")
    return f"{statuses.total()} processes stood still"


async def expect_gone(processes: Sequence[psutil.Process]) -> None:
    """All of them are gone, or will be in a moment: their end takes the system some milliseconds."""
    deadline = time.monotonic() + GONE_SECONDS_MAX
    while left := [process.pid for process in processes if _runs(process)]:
        if time.monotonic() > deadline:
            raise NotBittenError(f"processes {left} live on")
        await asyncio.sleep(LOOK_SECONDS)


def _runs(process: psutil.Process) -> bool:
    """Whether a process still does anything."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
