"""Whether a process lives, also in a container whose first process waits for none that is left to it."""

import psutil


def lives(pid: int) -> bool:
    """Whether a process does anything any more: one that has ended and was not waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
