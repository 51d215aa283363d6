"""The command line in processes that are forked and not started anew, which takes a fifth of the processor time.

Each is a real process. What only a start does is in few tests: those of `tallystick up`, those of the README, and
`tests/acceptance/test_forked.py`, which compares each command with one that is started.
"""

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

_PROGRAM: Final = Path(__file__).with_name("fork_server.py")
_ANSWER_BYTES_MAX: Final = 64
_END_SECONDS_MAX: Final = 10.0

_starting = threading.Lock()


class Forked:
    """A process that runs a command, with what tests use of `subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        stdin: IO[Any],
        stdout: IO[Any],
        stderr: IO[Any],
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        start_new_session: bool = False,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        """Fork, with these streams. `limits` are bounds of the product that are others in the process."""
        command = {
            "arguments": list(arguments),
            "environment": dict(os.environ if env is None else env),
            "folder": str(folder or Path.cwd()),
            "new_session": start_new_session,
            "limits": dict(limits or {}),
        }
        self.returncode: int | None = None
        self._told, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with given:
            descriptors = [*(stream.fileno() for stream in (stdin, stdout, stderr)), given.fileno()]
            socket.send_fds(_server().control, [json.dumps(command).encode()], descriptors)
        self.pid = int(self._heard())

    def _heard(self) -> bytes:
        said = self._told.recv(_ANSWER_BYTES_MAX)
        if not said:
            raise RuntimeError("the fork server has ended: see what it wrote to stderr")
        return said

    def poll(self) -> int | None:
        """The status, if it has ended."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._told, selectors.EVENT_READ)
                if selector.select(0):
                    self._hear_end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its status, or less than zero for the signal that ended it."""
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                self._hear_end()
            except TimeoutError:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
        assert self.returncode is not None
        return self.returncode

    def _hear_end(self) -> None:
        self.returncode = int(self._heard())
        self._told.close()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def run_forked(
    arguments: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with nothing to read."""
    with (
        Path(os.devnull).open("rb") as nothing,
        tempfile.TemporaryFile("w+", encoding="utf-8") as said,
        tempfile.TemporaryFile("w+", encoding="utf-8") as complained,
    ):
        process = Forked(arguments, stdin=nothing, stdout=said, stderr=complained, env=env, folder=folder)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(list(arguments), status, _all(said), _all(complained))


def _all(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()


def fork_server_pid() -> int:
    """The parent of what is forked."""
    return _server().process.pid


class _Server(NamedTuple):
    process: "subprocess.Popen[bytes]"
    control: socket.socket


def _server() -> _Server:
    """The one of this process of tests, whichever thread needs it first."""
    with _starting:
        return _started()


@cache
def _started() -> _Server:
    """It ends with this process, however that ends."""
    control, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with given:
        # Like a command of a user it has no folder of ours on its path.
        command = [sys.executable, "-P", str(_PROGRAM), str(given.fileno())]
        process = subprocess.Popen(command, pass_fds=[given.fileno()], start_new_session=True)
    atexit.register(_end, process, control)
    return _Server(process, control)


def _end(process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
    control.close()
    process.wait(_END_SECONDS_MAX)
