"""The API server as a child process: started, waited for, stopped."""

import os
import signal
import subprocess  # nosec B404  # only to start programs of ours, without a shell
import sys
import time
import urllib.request
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Final

from tallystick.cli.errors import CommandError
from tallystick.cli.ports import METRICS_PORT_OPTION
from tallystick.cli.stop_signals import StopSignals
from tallystick.files import reason_of
from tallystick.service.configuration import CONFIGURATION_VARIABLE
from tallystick.service.parent import GRACE_SECONDS

READY_TIMEOUT_SECONDS: Final = 30.0
STOP_TIMEOUT_SECONDS: Final = GRACE_SECONDS + 5.0
KILL_TIMEOUT_SECONDS: Final = 5.0
POLL_INTERVAL_SECONDS: Final = 0.05
ANSWER_TIMEOUT_SECONDS: Final = 2.0
LOG_BYTES_MAX: Final = 10 * 1024 * 1024
LOG_TAIL_BYTES: Final = 4096
LOG_TAIL_LINES: Final = 12

# Proxies that the environment names are not used for this machine.
_opener: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ApiProcess:
    """`tallystick serve` on reserved ports of this machine, with its log in a file."""

    def __init__(
        self, configuration_path: Path, host: str, port: int, metrics_port: int, log_path: Path
    ) -> None:
        self._configuration_path = configuration_path
        self._host = host
        self._port = port
        self._metrics_port = metrics_port
        self._log_path = log_path
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"http://{self._host}:{self._port}"

    @property
    def metrics_url(self) -> str:
        """The address of the metrics, for operators."""
        return f"http://{self._host}:{self._metrics_port}/metrics"

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and _ended(self._process.pid) is None

    @property
    def log_path(self) -> Path:
        """The file with its log."""
        return self._log_path

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        with suppress(FileNotFoundError):
            if self._log_path.stat().st_size > LOG_BYTES_MAX:
                self._log_path.replace(self._log_path.with_suffix(".log.1"))
        # -P keeps the current folder, which may hold anything, off the path of imports.
        command = [sys.executable, "-P", "-m", "tallystick.cli", "serve"]
        command += ["--host", self._host, "--port", str(self._port), "--child-of", str(os.getpid())]
        command += ["--metrics-host", self._host, METRICS_PORT_OPTION, str(self._metrics_port)]
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        try:
            with os.fdopen(os.open(self._log_path, flags, 0o600), "ab") as log:
                self._log_start = log.tell()
                # In a session of its own it gets no Ctrl-C of the terminal: it must stop before its database does.
                self._process = subprocess.Popen(  # nosec B603  # noqa: S603 - the program is ours and there is no shell
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, CONFIGURATION_VARIABLE: str(self._configuration_path)},
                    start_new_session=True,
                )
        except OSError as error:
            raise CommandError(f"the API cannot be started ({reason_of(error)}): correct this") from None

    def wait_until_ready(self, stop: StopSignals) -> None:
        """Wait until the API says that it is ready."""
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            stop.raise_if_requested()
            if not self.running:
                raise CommandError(f"{self.why_it_ended()}: correct what its log says, {self._log_path}")
            if self.answers("/readyz?all"):
                return
            time.sleep(POLL_INTERVAL_SECONDS)
        raise CommandError(f"the API was not ready in {READY_TIMEOUT_SECONDS:.0f} s: see {self._log_path}")

    def stop(self) -> None:
        """Let it answer the requests it has accepted, then end it. Harmless if it is not running."""
        if self.running and self._process is not None:
            os.kill(self._process.pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
            while self.running and time.monotonic() < deadline:
                time.sleep(POLL_INTERVAL_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill it, with workers that outlived it. Harmless if none of them runs."""
        process, self._process = self._process, None
        if process is None:
            return
        # It leads a process group, so this reaches its workers too. Its number, which is also the group's, is not
        # used again before the process is waited for.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(KILL_TIMEOUT_SECONDS)

    def why_it_ended(self) -> str:
        """How it ended by itself, in a few words."""
        ended = None if self._process is None else _ended(self._process.pid)
        if ended is None:
            return "the API has not ended"
        how = (
            f"status {ended.si_status}"
            if ended.si_code == os.CLD_EXITED
            else signal.Signals(ended.si_status).name
        )
        return f"the API ended by itself ({how})"

    def log_tail(self) -> list[str]:
        """The last lines of its log since it was started."""
        try:
            with self._log_path.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, end - LOG_TAIL_BYTES))
                return log.read().decode("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:]
        except OSError:
            return []

    def answers(self, path: str) -> bool:
        """Whether it answers 200 at this path."""
        try:
            with _opener.open(f"{self.url}{path}", timeout=ANSWER_TIMEOUT_SECONDS) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except (OSError, HTTPException):
            return False  # not listening yet, not ready yet, or too slow


def _ended(pid: int) -> os.waitid_result | None:
    """How a child has ended, or nothing while it runs. Its number stays in use until it is waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
