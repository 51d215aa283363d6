"""Ends a process when the process that started it is gone, even if that one was killed."""

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
"""How long an orphan may take for an orderly stop. After that it ends at once."""

_log = structlog.get_logger(__name__)


def stop_when_orphaned(parent: int | None = None) -> None:
    """Watch the parent process. When it is gone, stop this process as SIGTERM would.

    A thread watches it, because an event loop may hang. `parent` is the number of the parent, passed by the parent
    itself, because it may end before this process first checks. A worker knows it already.
    """
    expected = _starter() if parent is None else parent

    def watch() -> None:
        while os.getppid() == expected:
            time.sleep(POLL_INTERVAL_SECONDS)
        _log.warning("the process that started this one is gone: stopping", parent=expected)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent watcher", daemon=True).start()


def _starter() -> int:
    # The current parent may already be the process that adopts orphans. A worker got the right number at its start.
    started_by = multiprocessing.parent_process()
    if started_by is not None and started_by.pid is not None:
        return started_by.pid
    return os.getppid()
