"""One database, and servers on it: each a process of its own, ended by whoever started it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, Self, TypeVar

import psycopg
import requests

from tallystick.service.api_keys import KeyManagement
from tallystick.service.configuration import Configuration, ShardConfiguration, write_configuration
from tallystick.views.api_keys import NewApiKey
from tests.crash.databases import ShardDatabase
from tests.forked import Forked, fork_server_pid
from tests.keys import with_keys
from tests.ports import own_port
from tests.webhook_keys import key_file

Result = TypeVar("Result")

HOST = "127.0.0.1"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
POLL_INTERVAL_SECONDS = 0.02


class Head(NamedTuple):
    """How much is written: of the log, and beside it."""

    batches: int
    position: int
    assets: int


class Served(Protocol):
    """What a server needs: its configuration, and a folder for its log."""

    @property
    def configuration_path(self) -> Path: ...

    @property
    def folder(self) -> Path: ...


class Installation:
    """A migrated database of one shard, and the file that tells servers where it is."""

    def __init__(self, database: ShardDatabase, folder: Path) -> None:
        self.folder = folder
        self.server_dsn = database.server_dsn
        self._owner_dsn = database.owner_dsn
        self.configuration_path = folder / "books.toml"
        configuration = Configuration(
            [ShardConfiguration(1, self.server_dsn)], webhooks_key_file=key_file(folder)
        )
        write_configuration(self.configuration_path, configuration)
        self._connection = psycopg.connect(self.server_dsn, autocommit=True)

    def close(self) -> None:
        self._connection.close()

    def head(self) -> Head:
        """The end of the log."""
        row = self._connection.execute(
            "SELECT coalesce(max(number), 0), coalesce(max(last_position), 0), (SELECT count(*) FROM assets)"
            " FROM batches"
        ).fetchone()
        assert row is not None
        return Head(*row)

    def cut_connections(self) -> int:
        """Have PostgreSQL end all connections of servers; how many there were."""
        row = self._connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name LIKE 'tallystick %' AND datname = current_database()"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def make_key(self, tenant: str, **grant: Any) -> NewApiKey:
        """A key with all scopes, unless something else is asked for."""
        return with_keys({1: self._owner_dsn}, lambda keys: keys.create("a test", tenant, **grant))

    def revoke_key(self, identifier: str) -> bool:
        return with_keys({1: self._owner_dsn}, lambda keys: keys.revoke(identifier))

    def manage(self, act: Callable[[KeyManagement], Coroutine[Any, Any, Result]]) -> Result:
        """Do something with the keys, as the owner of the tables."""
        return with_keys({1: self._owner_dsn}, lambda keys: act(keys.management))


class Server:
    """`tallystick serve` as a process."""

    def __init__(
        self,
        installation: Served,
        name: str,
        *options: str,
        package: Path | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        """`package` is a folder with a copy of the package, which is served in its place.

        `limits` are bounds of the product that are others in the server: only without such a copy.
        """
        assert not (package and limits)
        self.log_path = installation.folder / f"{name}.log"
        self._installation = installation
        self._options = options
        self._package = package
        self._limits = limits
        self._cleanup = ExitStack()
        self.url = ""
        self.pid = 0
        # What `/readyz` answered before 200.
        self.not_ready: list[int] = []
        self.metrics_port = own_port()

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            port = cleanup.enter_context(_reserved_port()).getsockname()[1]
            self.url = f"http://{HOST}:{port}"
            log = cleanup.enter_context(self.log_path.open("wb"))
            arguments = ["--config", str(self._installation.configuration_path), "--port", str(port)]
            # It ends by itself when the tests are killed, and leaves it to us to hold the port.
            arguments += ["--metrics-port", str(self.metrics_port), *self._options]
            nothing = cleanup.enter_context(Path(os.devnull).open("rb"))
            process: subprocess.Popen[bytes] | Forked
            if self._package is None:
                process = Forked(
                    ["serve", *arguments, "--child-of", str(fork_server_pid())],
                    stdin=nothing,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    limits=self._limits,
                )
            else:
                process = self._started([*arguments, "--child-of", str(os.getpid())], nothing, log)
            cleanup.callback(_end, process)
            self.pid = process.pid
            self._wait_until_ready(process)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def _started(self, arguments: list[str], nothing: IO[bytes], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        """A process that imports the package of the folder."""
        paths = os.pathsep.join(filter(None, [str(self._package), os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tallystick.cli", "serve", *arguments],
            stdin=nothing,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,
        )

    def _wait_until_ready(self, process: "subprocess.Popen[bytes] | Forked") -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(requests.RequestException), requests.get(f"{self.url}/readyz", timeout=5) as answer:
                if answer.status_code == 200:
                    return
                self.not_ready.append(answer.status_code)
            time.sleep(POLL_INTERVAL_SECONDS)
        raise AssertionError(f"the server did not start: {self.log_path.read_text()}")


def _reserved_port() -> socket.socket:
    """A free port that is ours while this is open; the server joins us on it."""
    holder = socket.socket()
    holder.bind((HOST, 0))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return holder


def _end(process: "subprocess.Popen[bytes] | Forked") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        # It leads a group of its own, so this reaches its workers too.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
