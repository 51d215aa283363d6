"""No process of ours outlives the one that started it, also when that one was killed and could say nothing."""

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


def stop_when_orphaned(parent: int | None = None) -> None:
    """Watch our parent from now on; when it is gone, stop this process as SIGTERM would.

    It is watched in a thread, which goes on also when an event loop hangs. `parent` is the process that started
    us, as it has told us itself: it may be gone before we first look. A worker knows it without being told.
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
    # A worker was told who started it; asking now could already name the process that adopts orphans.
    started_by = multiprocessing.parent_process()
    if started_by is not None and started_by.pid is not None:
        return started_by.pid
    return os.getppid()
