"""PostgreSQL servers as others run them: of several versions, with roles that are no superusers."""

import os
import re
import secrets
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, Self

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tallystick.embedded.postgres_binaries import find_binaries
from tallystick.embedded.server_account import ServerAccount, account_for
from tests.data_folders import data_folder

SUPERUSER: Final = "postgres"
PORT: Final = 5432
INITDB_TIMEOUT_SECONDS: Final = 120.0
START_TIMEOUT_SECONDS: Final = 60.0
STOP_TIMEOUT_SECONDS: Final = 30.0

_DEBIAN: Final = Path("/usr/lib/postgresql")
_MORE: Final = "TALLYSTICK_POSTGRES_BINARIES"
"""The environment variable with more folders of programs to test with, separated as in PATH."""


class Binaries(NamedTuple):
    """The programs of one version of PostgreSQL: the embedded ones where there is no folder."""

    version: int
    folder: Path | None

    @classmethod
    def of(cls, folder: Path) -> Self:
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
        found = re.search(r"\(PostgreSQL\) (\d+)", said.stdout)
        assert found is not None, said.stdout
        return cls(int(found.group(1)), folder)

    def __str__(self) -> str:
        return f"PostgreSQL {self.version}"


def all_binaries() -> list[Binaries]:
    """The embedded version, those that Debian's packages brought, and those that the environment names."""
    named = [Path(folder) for folder in os.environ.get(_MORE, "").split(os.pathsep) if folder]
    debian = [program.parent for program in sorted(_DEBIAN.glob("*/bin/postgres"))]
    return [Binaries(18, None), *(Binaries.of(folder) for folder in [*debian, *named])]


def supported_binaries(oldest: int) -> list[object]:
    """What to parametrize a test with: 15 is there in any case, and skipped with a word where it is not installed."""
    found: list[object] = [pytest.param(one, id=str(one)) for one in all_binaries() if one.version >= oldest]
    if not any(one.version == oldest for one in all_binaries()):
        why = f"there is no PostgreSQL {oldest} in {_DEBIAN}: apt-get install postgresql-{oldest}"
        found.append(pytest.param(None, id=f"PostgreSQL {oldest}", marks=pytest.mark.skip(reason=why)))
    return found


class ExistingPostgres:
    """A server that Tallystick did not make: its superuser is `postgres`, and every login has a password."""

    def __init__(self, binaries: Binaries, *, settings: tuple[str, ...] = (), port: int = PORT) -> None:
        """`port` is a part of the name of its socket, unless the settings let it listen on a network, too."""
        self.version = binaries.version
        self._cleanup = ExitStack()
        # A short path that the server's user can pass through, for the socket is in it.
        self.folder = self._cleanup.enter_context(data_folder(durable=False))
        self._cluster = self.folder / "cluster"
        self._settings = settings
        self._port = port
        self.account: ServerAccount = account_for(self._cluster)
        self._programs = binaries.folder or find_binaries(self.account).program("postgres").parent
        self._password = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._cluster.mkdir(mode=0o700, exist_ok=True)
        self.account.give(self._cluster)
        if not (self._cluster / "PG_VERSION").exists():
            self._initialise()
        command: list[str | Path] = [self._programs / "postgres", "-D", self._cluster]
        settings = (
            "listen_addresses=",
            f"unix_socket_directories={self._cluster}",
            f"port={self._port}",
            "fsync=off",
            "max_prepared_transactions=4",
            *self._settings,
        )
        for setting in settings:
            command += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._process = self.account.start(command, output=log)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def _initialise(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        self.account.give(password_file)
        command: list[str | Path] = [
            *(self._programs / "initdb", "--pgdata", self._cluster, "--username", SUPERUSER),
            *("--pwfile", password_file, "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"),
        ]
        made = self.account.run(command, timeout_seconds=INITDB_TIMEOUT_SECONDS)
        assert made.returncode == 0, made.stderr
        password_file.unlink()

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """A libpq connection string."""
        return make_conninfo(
            host=str(self._cluster),
            port=self._port,
            dbname=database,
            user=user,
            password=self._password if password is None else password,
        )

    @property
    def socket_folder(self) -> Path:
        return self._cluster

    def connect(
        self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None
    ) -> psycopg.Connection:
        return psycopg.connect(self.dsn(database, user, password), autocommit=True, connect_timeout=10)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser."""
        with self.connect(database) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def clean(self) -> None:
        """Drop every database and role that a test has made."""
        with self.connect() as connection:
            databases = (
                "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')"
            )
            for (name,) in connection.execute(databases).fetchall():
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            roles = "SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> current_user"
            made = [sql.Identifier(name) for (name,) in connection.execute(roles).fetchall()]
            for name in made:
                connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
            for name in made:
                connection.execute(sql.SQL("DROP ROLE {}").format(name))

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(STOP_TIMEOUT_SECONDS)
            self._process = None

    def remove(self) -> None:
        self.stop()
        self._cleanup.close()
