"""One program of one machine. It is started again after it ends, as a service manager would do on a real machine."""

import os
import signal
import subprocess  # nosec B404  # only for the type of a child process
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tallystick.cluster.machines import is_off
from tallystick.cluster.namespaces import entering
from tallystick.cluster.plan import Machine, Plan
from tallystick.embedded.server_account import ServerAccount, own_account

RESTART_PAUSE_SECONDS: Final = 0.5
RESTART_PAUSE_SECONDS_MAX: Final = 10.0
RAN_WELL_SECONDS: Final = 10.0
"""A program that ran for so long is started again after the shortest pause."""
KILL_TIMEOUT_SECONDS: Final = 10.0
LOG_BYTES_MAX: Final = 10 * 1024 * 1024
_LOG_TAIL_BYTES: Final = 2048
_LOG_TAIL_LINES: Final = 8


class Service:
    """A program, such as the `etcd` of a machine. One thread calls its methods."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        plan: Plan,
        machine: Machine,
        account: ServerAccount,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is started yet. `environment` replaces the short one of `account`."""
        self.name = name
        self.machine = machine
        self.log_path = plan.folder_of(machine) / f"{name}.log"
        self._command = command
        self._plan = plan
        self._account = account
        if not plan.is_loopback:
            self._command = [*entering(machine, account), *command]
            self._account = own_account()  # only root enters a namespace, and becomes the other user there
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restart_at: float | None = None
        self._pause_seconds = RESTART_PAUSE_SECONDS
        self.ends_in_a_row = 0
        """How often it ended soon after its start."""

    @property
    def running(self) -> bool:
        """Whether the process that was started last still runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether it was started, ended by itself, and waits for its next start."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        self._restart_at = None
        self._started_at = time.monotonic()
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(self.log_path, flags, 0o600), "ab") as log:
            self._process = self._account.start(
                self._command,
                output=log,
                folder=self._plan.work_of(self.machine),
                environment=self._environment,
            )

    def look(self) -> str | None:
        """Start it again if it ended by itself and its machine is on. Returns what happened, in words."""
        if self.running:
            return None
        if is_off(self._plan, self.machine):
            self._process = self._restart_at = None
            self._pause_seconds = RESTART_PAUSE_SECONDS
            self.ends_in_a_row = 0
            return None
        if self._process is None:
            self.start()
            return f"{self.machine.name}: started {self.name}"
        if self._restart_at is None:
            return self._plan_restart(self._process.returncode)
        if time.monotonic() >= self._restart_at:
            self.start()
        return None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, without waiting. Harmless if it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)

    def wait(self, deadline: float) -> None:
        """Wait for its end until a time (of `time.monotonic`), and kill it then."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(KILL_TIMEOUT_SECONDS)

    def log_tail(self) -> str:
        """The last lines of its log."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - _LOG_TAIL_BYTES))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def _plan_restart(self, status: int) -> str:
        ran_well = time.monotonic() - self._started_at > RAN_WELL_SECONDS
        if ran_well:
            self._pause_seconds = RESTART_PAUSE_SECONDS
        self.ends_in_a_row = 0 if ran_well else self.ends_in_a_row + 1
        pause_seconds = self._pause_seconds
        self._restart_at = time.monotonic() + pause_seconds
        self._pause_seconds = min(2 * pause_seconds, RESTART_PAUSE_SECONDS_MAX)
        how = f"status {status}" if status >= 0 else signal.Signals(-status).name
        return f"{self.machine.name}: {self.name} ended by itself ({how}); it is started again in {pause_seconds:g} s"
