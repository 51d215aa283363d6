"""`tallystick migrate` does everything or nothing, one at a time, whatever becomes of it."""

import getpass
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tallystick.domain import limits
from tallystick.service.configuration import write_configuration
from tallystick.store import schema_version
from tallystick.store.errors import SchemaError
from tests.acceptance.processes import COMMAND, COMMAND_TIMEOUT_SECONDS, environment
from tests.existing_postgres.installations import DATABASE, Installation, move_money
from tests.existing_postgres.servers import ExistingPostgres

# One that replaces views.
LAST: Final = "0013.readable"
WAITING: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
OTHERS_LOCK: Final = "SELECT pg_advisory_xact_lock(x'7a10'::bigint << 32)"
SHORT_MS: Final = 50


@pytest.fixture
def installation(server: ExistingPostgres) -> Installation:
    installation = Installation(server)
    installation.prepare()
    return installation


@pytest.fixture
def behind(installation: Installation) -> Installation:
    """A database in which the last migration is missing, which can be applied twice."""
    installation.migrate()
    installation.execute(f"DELETE FROM _yoyo_migration WHERE migration_id = '{LAST}'")
    return installation


def start(installation: Installation, folder: Path) -> subprocess.Popen[str]:
    write_configuration(folder / "tallystick.toml", installation.configuration)
    return subprocess.Popen(
        [*COMMAND, "migrate"],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def locked(installation: Installation, statement: str) -> Iterator[psycopg.Connection]:
    with installation.server.connect(DATABASE) as connection, connection.transaction():
        connection.execute(statement.encode())
        yield connection


def wait_until_blocked(installation: Installation) -> None:
    deadline = time.monotonic() + COMMAND_TIMEOUT_SECONDS
    with installation.server.connect() as connection:
        while connection.execute(WAITING, (DATABASE,)).fetchone() == (0,):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_two_at_once(installation: Installation, tmp_path: Path) -> None:
    """One makes the ledger, the other waits and finds nothing to do."""
    processes = [start(installation, tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=COMMAND_TIMEOUT_SECONDS) for process in processes]
    assert [(process.returncode, stderr) for process, (_, stderr) in zip(processes, said, strict=True)] == [
        (0, ""),
        (0, ""),
    ]
    assert sorted("0001.log" in stdout for stdout, _ in said) == [False, True]
    move_money(installation.dsn)


def test_one_that_is_killed_is_no_obstacle_to_the_next(behind: Installation, tmp_path: Path) -> None:
    with locked(behind, "LOCK TABLE readable_accounts IN ACCESS SHARE MODE"):
        process = start(behind, tmp_path)
        wait_until_blocked(behind)
        process.kill()
        process.communicate()
    assert behind.migrate() == [LAST]
    move_money(behind.dsn)


def test_one_that_fails_leaves_nothing_behind(installation: Installation) -> None:
    """A name is taken that is needed late in the first migration."""
    installation.execute("CREATE FUNCTION refuse_change() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    with pytest.raises(SchemaError, match="shard 1 cannot be migrated, and nothing was changed"):
        installation.migrate()
    assert installation.relations() == []
    installation.execute("DROP FUNCTION refuse_change()")
    installation.migrate()
    move_money(installation.dsn)


def test_tables_in_use_are_not_waited_for_without_end(
    behind: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that waits for a table makes later sessions wait."""
    monkeypatch.setattr(limits, "MIGRATION_LOCK_TIMEOUT_MS", SHORT_MS)
    with (
        locked(behind, "LOCK TABLE readable_accounts IN ACCESS SHARE MODE"),
        pytest.raises(SchemaError, match="cannot be migrated while others use its tables"),
    ):
        behind.migrate()
    assert behind.migrate() == [LAST]


def test_another_migration_is_not_waited_for_without_end(
    behind: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MIGRATION_WAIT_MS", SHORT_MS)
    with locked(behind, OTHERS_LOCK), pytest.raises(SchemaError, match="is being migrated by another"):
        behind.migrate()
    assert behind.migrate() == [LAST]


def test_a_user_without_a_name(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under any number: the migration library would ask for the name."""

    def no_name() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(getpass, "getuser", no_name)
    installation.migrate()
    move_money(installation.dsn)


def test_a_database_that_defaults_to_one_snapshot(installation: Installation, tmp_path: Path) -> None:
    """Who waited for another migration must see what that one has made."""
    installation.execute(f"ALTER DATABASE \"{DATABASE}\" SET default_transaction_isolation = 'serializable'")
    with locked(installation, OTHERS_LOCK):
        processes = [start(installation, tmp_path) for _ in range(2)]
        wait_until_blocked(installation)
    for process in processes:
        _, stderr = process.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
        assert (process.returncode, stderr) == (0, "")


def test_what_takes_something_away_waits_for_servers_that_use_it(
    behind: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner, an ordinary role, sees what the sessions of another role know."""
    monkeypatch.setattr(schema_version, "_AFTER_WITHOUT_NAME", {LAST})
    others = ("tallystick writer 13", "tallystick verify", "writer 12", "tallystick 12")
    for name, is_in_the_way in (("tallystick writer", True), ("tallystick reader 12", True), (others, False)):
        with ExitStack() as sessions:
            for each in [name] if isinstance(name, str) else name:
                sessions.enter_context(psycopg.connect(behind.dsn, application_name=each))
            if is_in_the_way:
                with pytest.raises(
                    SchemaError, match="shard 1 has 1 sessions of servers of an earlier version"
                ):
                    behind.migrate()
            else:
                assert behind.migrate() == [LAST]
