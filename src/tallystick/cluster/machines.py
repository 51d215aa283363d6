"""Switching machines of a cluster off and on, and freezing them, while it runs.

All programs of a machine work in its folder `work` or below. So they are found through the operating system, also
those that they have started themselves. A file tells the supervisor that a machine is off.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from tallystick.cluster.errors import ClusterError
from tallystick.cluster.plan import Machine, Plan
from tallystick.embedded.processes import RunningProcess, processes_below, send_signal

Power = Literal["on", "off", "frozen"]

_TIMEOUT_SECONDS: Final = 10.0
_POLL_INTERVAL_SECONDS: Final = 0.02
_OFF: Final = "off"


def is_off(plan: Plan, machine: Machine) -> bool:
    """Whether a machine was switched off."""
    return _mark(plan, machine).exists()


def switch_off(plan: Plan, machine: Machine) -> int:
    """End all programs of a machine at once, as a loss of power would. Returns how many processes were killed."""
    _mark(plan, machine).touch()
    killed: set[int] = set()

    def kill() -> bool:
        left = processes_of(plan, machine)
        killed.update(process.pid for process in left)
        _signal(left, signal.SIGKILL)
        return not left

    # A program may just be starting another one.
    _repeat(kill, f"{machine.name} does not end")
    return len(killed)


def switch_on(plan: Plan, machine: Machine) -> None:
    """Let the supervisor start the programs of a machine again."""
    _mark(plan, machine).unlink(missing_ok=True)


def freeze(plan: Plan, machine: Machine) -> int:
    """Stop all programs of a machine where they are: it keeps its connections, and is silent."""

    def stop() -> bool:
        moving = [process for process in processes_of(plan, machine) if not process.stopped]
        _signal(moving, signal.SIGSTOP)
        return not moving

    _repeat(stop, f"{machine.name} does not stop")
    return len(processes_of(plan, machine))


def thaw(plan: Plan, machine: Machine) -> int:
    """Let the programs of a frozen machine go on."""
    processes = processes_of(plan, machine)
    _signal(processes, signal.SIGCONT)
    return len(processes)


def processes_of(plan: Plan, machine: Machine) -> list[RunningProcess]:
    """The processes of a machine."""
    return processes_below(plan.work_of(machine))


def power_of(plan: Plan, machine: Machine, processes: Sequence[RunningProcess]) -> Power:
    """Whether a machine is on, off or frozen."""
    if is_off(plan, machine):
        return "off"
    return "frozen" if any(process.stopped for process in processes) else "on"


def end_all(folder: Path) -> int:
    """Kill all processes that work below a folder. Returns how many there were."""
    killed: set[int] = set()

    def kill() -> bool:
        left = processes_below(folder)
        killed.update(process.pid for process in left)
        _signal(left, signal.SIGKILL)
        return not left

    _repeat(kill, f"processes in {folder} do not end")
    return len(killed)


def _mark(plan: Plan, machine: Machine) -> Path:
    return plan.folder_of(machine) / _OFF


def _signal(processes: Sequence[RunningProcess], number: signal.Signals) -> None:
    for process in processes:
        try:
            send_signal(process.pid, number)
        except PermissionError:
            raise ClusterError(
                f"user {os.geteuid()} may not send signals to process {process.pid}: "
                f"run as the user who started the cluster"
            ) from None


def _repeat(done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise ClusterError(f"{otherwise} within {_TIMEOUT_SECONDS:.0f} s: end them by hand")
        time.sleep(_POLL_INTERVAL_SECONDS)
