"""Behind a real PgBouncer: what shares sessions is refused, and what keeps them is served as the page says."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tallystick.store.connection import SETTINGS
from tallystick.store.errors import PreparationError
from tallystick.store.sessions import check_sessions
from tests.existing_postgres import page
from tests.existing_postgres.installations import (
    DATABASE,
    LOGIN,
    LOGIN_PASSWORD,
    Installation,
    move_money,
    told_statements,
)
from tests.existing_postgres.servers import (
    PORT,
    START_TIMEOUT_SECONDS,
    STOP_TIMEOUT_SECONDS,
    ExistingPostgres,
)

PGBOUNCER: Final = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
POOLER_PORT: Final = 6432
SECTION: Final = "Connection poolers"
END_SESSIONS: Final = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{LOGIN}'"

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="there is no PgBouncer: apt-get install pgbouncer")

Pooler = Callable[[str], str]
"""Starts a PgBouncer with these settings, and returns the connection string of servers through it."""


@pytest.fixture
def installation(server: ExistingPostgres) -> Installation:
    installation = Installation(server)
    installation.prepare()
    installation.migrate()
    return installation


@pytest.fixture
def pooler(installation: Installation) -> Iterator[Pooler]:
    started: list[subprocess.Popen[bytes]] = []
    server = installation.server
    folder = server.folder / "pgbouncer"

    def start(settings: str) -> str:
        folder.mkdir()
        server.account.give(folder)
        texts = {
            "users.txt": f'"{LOGIN}" "{LOGIN_PASSWORD}"\n',
            "pgbouncer.ini": (
                f"[databases]\n{DATABASE} = host={server.socket_folder} port={PORT}\n{settings}"
                f"listen_addr =\nlisten_port = {POOLER_PORT}\nunix_socket_dir = {folder}\n"
                f"auth_type = plain\nauth_file = {folder / 'users.txt'}\n"
            ),
        }
        for name, text in texts.items():
            (folder / name).write_text(text)
            server.account.give(folder / name)
        assert PGBOUNCER is not None
        with (folder / "log").open("wb") as log:
            process = server.account.start([PGBOUNCER, folder / "pgbouncer.ini"], output=log)
        started.append(process)
        dsn = make_conninfo(
            host=str(folder), port=POOLER_PORT, dbname=DATABASE, user=LOGIN, password=LOGIN_PASSWORD
        )
        wait_for(dsn, process, folder / "log")
        return dsn

    yield start
    for process in started:
        process.terminate()
        process.wait(STOP_TIMEOUT_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def wait_for(dsn: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            psycopg.connect(dsn, connect_timeout=10).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        else:
            return


def settings_of_page(installation: Installation) -> list[str]:
    """The statements of the page, for our role and our database."""
    return [
        statement.replace("tallystick_login", f'"{LOGIN}"').replace("shard_1", f'"{installation.database}"')
        for statement in page.statements(SECTION)
    ]


def test_session_pooling_as_the_page_says(installation: Installation, pooler: Pooler) -> None:
    (ini,) = page.blocks(SECTION, "ini")
    installation.execute(*settings_of_page(installation))
    dsn = pooler(ini)
    asyncio.run(check_sessions(dsn))
    move_money(dsn)


def test_settings_that_the_pooler_drops_are_said(installation: Installation, pooler: Pooler) -> None:
    (ini,) = page.blocks(SECTION, "ini")
    installation.execute(f'ALTER DATABASE "{DATABASE}" SET synchronous_commit = off')
    dsn = pooler(ini)
    with pytest.raises(PreparationError, match="drops the server's settings") as raised:
        asyncio.run(check_sessions(dsn))
    assert "synchronous_commit" in str(raised.value)
    # A session has what its role had when it began.
    installation.execute(*told_statements(str(raised.value)), END_SESSIONS)
    asyncio.run(check_sessions(dsn))


def test_settings_that_the_pooler_refuses_are_said(installation: Installation, pooler: Pooler) -> None:
    dsn = pooler("[pgbouncer]\npool_mode = session\n")
    with pytest.raises(PreparationError, match="a connection pooler that refuses the server's settings"):
        asyncio.run(check_sessions(dsn))


@pytest.mark.parametrize("in_turn", [None, 1, 2, 3])
def test_transaction_pooling_is_refused(
    installation: Installation, pooler: Pooler, tmp_path: Path, in_turn: int | None
) -> None:
    """Whichever session it lends next: the one that was given back last, or so many in turn."""
    ignored = ",".join(name for name in SETTINGS if name != "timezone")
    settings = f"[pgbouncer]\npool_mode = transaction\nignore_startup_parameters = {ignored}\n"
    if in_turn is not None:
        settings += f"server_round_robin = 1\ndefault_pool_size = {in_turn}\n"
    installation.execute(*settings_of_page(installation))
    dsn = pooler(settings)
    open_sessions(dsn, in_turn or 1)
    with pytest.raises(PreparationError, match="lends PostgreSQL's sessions for a transaction at a time"):
        asyncio.run(check_sessions(dsn))
    done = installation.command(tmp_path, "keys", "list", dsn=dsn)
    assert done.returncode == 1
    assert done.stderr.startswith("error: shard 1: dsn leads to a connection pooler that lends")
    assert done.stderr.count("\n") == 1


def open_sessions(dsn: str, count: int) -> None:
    """Let the pooler have so many sessions to lend."""
    with ExitStack() as connections:
        for _ in range(count):
            connections.enter_context(psycopg.connect(dsn, connect_timeout=10)).execute("SELECT 1")
