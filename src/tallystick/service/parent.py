"""No process of ours outlives the one that started it, also when that one was killed and could say nothing."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from typing import Final

import structlog

from tallystick.domain import limits

POLL_INTERVAL_SECONDS: Final = 1.0
GRACE_SECONDS: Final = limits.SHUTDOWN_SECONDS_MAX + 5.0
"""How long an orphan may take to stop in order, before it ends without."""

_log = structlog.get_logger(__name__)


async def stop_when_orphaned() -> None:
    """Watch our parent; when it is gone, stop this process as SIGTERM would. Run it as a task, and cancel it."""
    parent = _starter()
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells us
        await asyncio.sleep(POLL_INTERVAL_SECONDS)
    _stop(parent)


def watch_parent(parent: int | None = None) -> None:
    """Do the same in a thread of its own, for a process whose main thread is not ours.

    `parent` is the process that started us, told by itself: it may be gone before we first look.
    """
    expected = _starter() if parent is None else parent

    def watch() -> None:
        while os.getppid() == expected:
            time.sleep(POLL_INTERVAL_SECONDS)
        _stop(expected)

    threading.Thread(target=watch, name="parent watcher", daemon=True).start()


def _starter() -> int:
    # A worker was told who started it; asking now could already name the process that adopts orphans.
    started_by = multiprocessing.parent_process()
    if started_by is not None and started_by.pid is not None:
        return started_by.pid
    return os.getppid()


def _stop(parent: int) -> None:
    _log.warning("the process that started this one is gone: stopping", parent=parent)
    end = threading.Timer(GRACE_SECONDS, os._exit, (1,))
    end.daemon = True
    end.start()
    os.kill(os.getpid(), signal.SIGTERM)
