"""The processes of a folder, such as those of PostgreSQL in a data directory.

They are found through the operating system and not through a file.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

POLL_INTERVAL_SECONDS = 0.05


class RunningProcess(NamedTuple):
    """A process. `stopped`: it was stopped by SIGSTOP, and does not go on until SIGCONT."""

    pid: int
    name: str
    folder: Path
    stopped: bool


def processes_below(folder: Path) -> list[RunningProcess]:
    """Return the live processes whose working directory is a folder or below it, as far as this user may see them."""
    directory = Path(os.path.realpath(folder))
    found = []
    for pid, place in working_directories():
        with suppress(psutil.Error, OSError):
            if Path(place).is_relative_to(directory):
                process = psutil.Process(pid)
                stopped = process.status() == psutil.STATUS_STOPPED
                found.append(RunningProcess(pid, process.name(), Path(place), stopped))
    return found


def postgres_processes(cluster: Path) -> list[int]:
    """Return the live PostgreSQL processes of a data directory, the postmaster first.

    Each of them has the data directory as its working directory. This is reliable: a number in `postmaster.pid` may
    belong to another program after a restart of the machine.
    """
    directory = os.path.realpath(cluster)
    found: dict[int, int] = {}
    for pid, place in working_directories():
        with suppress(psutil.Error, OSError):
            if place == directory and _is_postgres(process := psutil.Process(pid)):
                found[pid] = process.ppid()
    return sorted(found, key=lambda pid: (found[pid] in found, pid))


def working_directories() -> Iterator[tuple[int, str]]:
    """Each process that this user may inspect, and its working directory, also one that was removed meanwhile.

    Processes start and end meanwhile, zombies have no directory, and processes of other users cannot be inspected.
    """
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            # The library would ask Linux for more than the directory, for each of hundreds of processes.
            place = str(Path(f"/proc/{pid}/cwd").readlink()) if psutil.LINUX else psutil.Process(pid).cwd()
            # Linux appends " (deleted)" to a directory that was removed under a running process.
            yield pid, place.removesuffix(" (deleted)")


def _is_postgres(process: psutil.Process) -> bool:
    # Linux appends " (deleted)" to a program that was replaced under a running process.
    program = Path(process.exe().removesuffix(" (deleted)"))
    return program.name == "postgres"


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_until_gone(cluster: Path, timeout_seconds: float) -> list[int]:
    """Wait until no PostgreSQL process works in the data directory; return those that still do."""
    deadline = time.monotonic() + timeout_seconds
    while (left := postgres_processes(cluster)) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_SECONDS)
    return left


def stop_processes(
    cluster: Path, *, signals: Sequence[tuple[signal.Signals, float]], kill_timeout_seconds: float
) -> bool:
    """Stop all PostgreSQL processes of the data directory. Returns whether all of them are gone.

    Each signal goes to the postmaster, which ends its children in order, and has a time limit. After the last one all
    remaining processes are killed.
    """
    for number, timeout_seconds in signals:
        running = postgres_processes(cluster)
        if not running:
            return True
        send_signal(running[0], number)
        if not wait_until_gone(cluster, timeout_seconds):
            return True
    for pid in postgres_processes(cluster):
        send_signal(pid, signal.SIGKILL)
    return not wait_until_gone(cluster, kill_timeout_seconds)
