"""Stops a cluster that another process runs."""

import os
import signal
from contextlib import suppress
from typing import Final

from tallystick.cluster.errors import ClusterError
from tallystick.cluster.machines import end_all
from tallystick.cluster.plan import Plan
from tallystick.embedded.errors import DataFolderInUseError
from tallystick.embedded.lock import DataFolderLock

_TIMEOUT_SECONDS: Final = 180.0


def stop_cluster(plan: Plan) -> str:
    """Stop the process that runs a cluster, or end what it left when it was killed. Returns what was done, in words.

    Raises:
        ClusterError: it does not end, or belongs to another user.
    """
    lock = DataFolderLock(plan.folder)
    try:
        lock.acquire()
    except DataFolderInUseError:
        return _stop_holder(lock)
    with lock:
        left = end_all(plan.machines_folder)
    return f"ended {left} processes that an earlier run had left" if left else "the cluster does not run"


def _stop_holder(lock: DataFolderLock) -> str:
    holder = lock.holder
    if holder is not None:
        try:
            with suppress(ProcessLookupError):
                os.kill(holder, signal.SIGTERM)
        except PermissionError:
            raise ClusterError(f"process {holder} belongs to another user: stop it as that user") from None
    try:
        lock.acquire(timeout_seconds=_TIMEOUT_SECONDS)
    except DataFolderInUseError:
        raise ClusterError(f"process {holder} does not end: see what it prints") from None
    lock.release()
    return "stopped"
