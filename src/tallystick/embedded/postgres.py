"""A real PostgreSQL server that this process starts, owns and stops."""

import logging
import os
import signal
import subprocess  # nosec B404  # only to start programs of ours, without a shell
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from tallystick.embedded.errors import EmbeddedServerError
from tallystick.embedded.lock import DataFolderLock
from tallystick.embedded.postgres_binaries import PostgresBinaries, find_binaries
from tallystick.embedded.postgres_cluster import LOGIN_ROLE, OWNER_ROLE, SERVER_ROLE, ClusterFolder
from tallystick.embedded.postgres_settings import SOCKET_PORT, server_settings
from tallystick.embedded.processes import postgres_processes, send_signal, stop_processes, wait_until_gone
from tallystick.embedded.server_account import ServerAccount, account_for

START_TIMEOUT_SECONDS = 300.0
"""Long, because after a crash the server first replays its WAL, up to `max_wal_size`."""
FAST_STOP_TIMEOUT_SECONDS = 60.0
"""A fast shutdown writes the memory to disk before it ends."""
IMMEDIATE_STOP_TIMEOUT_SECONDS = 10.0
KILL_TIMEOUT_SECONDS = 10.0
OLD_SERVER_STOP_TIMEOUT_SECONDS = 20.0
CONNECT_TIMEOUT_SECONDS = 10
POLL_INTERVAL_SECONDS = 0.02

_STATUS_LINE = 7
"""The line of `postmaster.pid` (counted from zero) that shows whether the server accepts connections."""

_logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """One PostgreSQL server in a data folder.

    Only one process at a time can start a folder's server. Other processes can still read `dsn`, `pid` and `running`,
    and can `kill` it.
    """

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] | None = None, durable: bool = True
    ) -> None:
        """`folder` is the data folder. Nothing is made or started yet.

        `settings` are PostgreSQL's own, and override ours. `durable=False` is for tests: commits survive a kill of
        the server, but not a power failure.
        """
        self._files = ClusterFolder(Path(folder).absolute())
        self._settings = dict(settings or {})
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        # The process that starts the server locks the folder, so that no other process takes a running server for one
        # that was left behind. The name `lock` is free for a lock of the folder as a whole.
        self._lock = DataFolderLock(self._files.folder, name="postgresql.lock")
        self._cluster_lock: DataFolderLock | None = None

    @property
    def log_path(self) -> Path:
        """The file with the messages of the server."""
        return self._files.log_path

    @property
    def cluster_path(self) -> Path:
        """PostgreSQL's own data directory, which may be outside of the data folder."""
        return self._files.cluster.resolve()

    @property
    def pid(self) -> int | None:
        """The number of the server's first process, whichever process started it; None if it does not run."""
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        running = postgres_processes(self._files.cluster) if self._files.cluster.is_dir() else []
        # Children that outlive a killed server still run for a moment, but they are no server.
        return running[0] if running and running[0] == self._recorded_pid() else None

    def running(self) -> bool:
        """Whether the server runs, whichever process started it."""
        return self.pid is not None

    def start(self) -> None:
        """Start the server and wait until it accepts connections. The first start makes the database.

        A server that an ended process left behind is stopped first. Harmless if this object has started the server
        already.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self._files.make()
        self._lock.acquire()
        try:
            self._start()
        except (OSError, psycopg.Error) as error:
            self.stop()
            said = " ".join(str(error).split())
            raise EmbeddedServerError(
                f"PostgreSQL cannot be started in {self._files.folder} ({said}): "
                f"correct this and start again; its log is {self._files.log_path}"
            ) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server that this object has started. Harmless if it does not run."""
        process = self._process
        if process is not None:
            for number, timeout_seconds in (
                (signal.SIGINT, FAST_STOP_TIMEOUT_SECONDS),
                (signal.SIGQUIT, IMMEDIATE_STOP_TIMEOUT_SECONDS),
                (signal.SIGKILL, KILL_TIMEOUT_SECONDS),
            ):
                if process.poll() is not None:
                    break
                process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout_seconds)
            self._process = None
            # After an orderly end no process is left. After the other two the children need a moment.
            stop_processes(self._files.cluster, signals=(), kill_timeout_seconds=KILL_TIMEOUT_SECONDS)
            self._files.sockets.remove()
        self._release_locks()

    def kill(self) -> None:
        """Kill the server as a crash would, whichever process started it, and wait until its children are gone."""
        cluster = self._files.cluster
        pid = self.pid
        if pid is not None:
            send_signal(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(KILL_TIMEOUT_SECONDS)
            self._process = None
        if cluster.is_dir() and wait_until_gone(cluster, KILL_TIMEOUT_SECONDS):
            stop_processes(cluster, signals=(), kill_timeout_seconds=KILL_TIMEOUT_SECONDS)
        self._release_locks()

    def remove(self) -> None:
        """Stop the server and delete its data, also if they are outside of the data folder."""
        self.stop()
        if self.running():
            raise EmbeddedServerError(
                f"the data in {self._files.folder} cannot be removed: stop process {self.pid} first"
            )
        self._files.remove()

    def dsn(self, database: str = "postgres", *, role: str = OWNER_ROLE) -> str:
        """Return the address of a database for one of the two roles, with its password.

        `tallystick_owner` is the superuser that migrates; `tallystick_login` is the role of the API server.
        """
        if role not in {OWNER_ROLE, LOGIN_ROLE}:
            raise ValueError(f"no password is kept for the role {role!r}: use {OWNER_ROLE} or {LOGIN_ROLE}")
        user = f"{role}:{quote(self._files.password(role), safe='')}"
        host = quote(str(self._files.sockets.path()), safe="")
        return f"postgresql://{user}@/{quote(database, safe='')}?host={host}&port={SOCKET_PORT}"

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Create a database, as a copy of another one if `template` is given. Harmless if it exists."""
        exists = "SELECT 1 FROM pg_database WHERE datname = %s"
        statement = sql.SQL("CREATE DATABASE {name} TEMPLATE {template}").format(
            name=sql.Identifier(name), template=sql.Identifier(template or "template1")
        )
        with self._connect() as connection:
            if connection.execute(exists, [name]).fetchone() is not None:
                return
            try:
                connection.execute(statement)
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                return  # another process was faster

    def drop_database(self, name: str) -> None:
        """Drop a database and end the connections to it. Harmless if it does not exist."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with self._connect() as connection:
            connection.execute(statement)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # Starting

    def _start(self) -> None:
        files = self._files
        account = account_for(files.cluster)
        files.check_reachable(account)
        self._lock_cluster()
        self._stop_old_server()
        binaries = find_binaries(account)
        files.initialise(binaries, account, durable=self._durable)
        self._lock_cluster()
        settings = server_settings(
            durable=self._durable,
            with_lz4=self._durable and binaries.built_with(account, "--with-lz4"),
            socket_folder=files.sockets.make(account),
        )
        files.write_configuration({**settings, **self._settings}, account)
        self._launch(binaries, account)
        self._wait_until_ready()
        self._create_roles()

    def _lock_cluster(self) -> None:
        # A copy of a data folder copies the link, and then two folders lead to one cluster.
        cluster = self._files.cluster
        if cluster.is_symlink() and self._cluster_lock is None:
            target = cluster.resolve()
            self._cluster_lock = DataFolderLock(target.parent, name=f"{target.name}.lock")
            self._cluster_lock.acquire()

    def _release_locks(self) -> None:
        if self._cluster_lock is not None:
            self._cluster_lock.release()
            self._cluster_lock = None
        self._lock.release()

    def _stop_old_server(self) -> None:
        """Stop a server that was left running in the folder.

        This process holds the lock, so no other process owns it.
        """
        cluster = self._files.cluster
        if not cluster.is_dir():
            return
        left = postgres_processes(cluster)
        if left:
            _logger.warning(
                "PostgreSQL (process %d) was left running in %s: stopping it", left[0], self._files.folder
            )
            gone = stop_processes(
                cluster,
                signals=(
                    (signal.SIGINT, OLD_SERVER_STOP_TIMEOUT_SECONDS),
                    (signal.SIGQUIT, IMMEDIATE_STOP_TIMEOUT_SECONDS),
                ),
                kill_timeout_seconds=KILL_TIMEOUT_SECONDS,
            )
            if not gone:
                raise EmbeddedServerError(
                    f"PostgreSQL (process {left[0]}) runs in {self._files.folder} and does not end: end it"
                )
        # PostgreSQL refuses to start if the number in this file belongs to any process of its user, which may happen
        # after a restart of the machine. It was just checked that no process works in this directory.
        (cluster / "postmaster.pid").unlink(missing_ok=True)

    def _launch(self, binaries: PostgresBinaries, account: ServerAccount) -> None:
        self._files.rotate_log()
        # This process opens the log, because the user of the server may not be able to write in the folder.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(self._files.log_path, flags, 0o600), "ab") as log:
            command: list[str | Path] = [binaries.program("postgres"), "-D", self._files.cluster.resolve()]
            self._process = account.start(command, output=log)

    def _wait_until_ready(self) -> None:
        process = self._process
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while process is not None and process.poll() is None and time.monotonic() < deadline:
            lines = self._postmaster_file()
            if (
                len(lines) > _STATUS_LINE
                and lines[0].strip() == str(process.pid)
                and lines[_STATUS_LINE].strip() == "ready"
            ):
                return
            time.sleep(POLL_INTERVAL_SECONDS)
        why = "did not start" if process is None or process.poll() is not None else "was not ready in time"
        raise EmbeddedServerError(
            f"PostgreSQL {why}: correct this and start again: {self._files.last_error()}"
        )

    def _create_roles(self) -> None:
        password = self._files.password(LOGIN_ROLE, make=True)
        with self._connect() as connection:
            for role in (SERVER_ROLE, LOGIN_ROLE):
                exists = "SELECT 1 FROM pg_roles WHERE rolname = %s"
                if connection.execute(exists, [role]).fetchone() is None:
                    connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
            # Only the verifier is sent, so that no log can contain the password. It is set at each start, because the
            # file may be new: after it was lost, or after a first start was interrupted.
            verifier = connection.pgconn.encrypt_password(
                password.encode("ascii"), LOGIN_ROLE.encode("ascii"), b"scram-sha-256"
            )
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(LOGIN_ROLE), sql.Literal(verifier.decode("ascii"))
                )
            )
            connection.execute(
                sql.SQL("GRANT {} TO {}").format(sql.Identifier(SERVER_ROLE), sql.Identifier(LOGIN_ROLE))
            )

    # Small things

    def _connect(self) -> psycopg.Connection:
        try:
            return psycopg.connect(self.dsn(), autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS)
        except psycopg.OperationalError as error:
            said = " ".join(str(error).split())
            raise EmbeddedServerError(
                f"PostgreSQL in {self._files.folder} refuses the connection ({said}): "
                f"start it, or see {self._files.log_path}"
            ) from error

    def _postmaster_file(self) -> list[str]:
        try:
            return (self._files.cluster / "postmaster.pid").read_text(encoding="utf-8").split("\n")
        except OSError:
            return []

    def _recorded_pid(self) -> int | None:
        first = self._postmaster_file()[:1]
        return int(first[0]) if first and first[0].strip().isdigit() else None
