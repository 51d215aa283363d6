"""The page for those who have a PostgreSQL already, word for word."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tallystick.service.configuration import (
    OWNER_FILE,
    Configuration,
    ShardConfiguration,
    write_configuration,
)
from tests.acceptance.processes import run
from tests.existing_postgres import page
from tests.existing_postgres.installations import move_money
from tests.existing_postgres.servers import PORT, SUPERUSER, ExistingPostgres

Administer = Callable[..., None]

HOST_OF_THE_PAGE = "host=db.example"
SERVER = "What an administrator runs"


@pytest.fixture(params=["superuser", "no superuser"])
def administer(request: pytest.FixtureRequest, server: ExistingPostgres) -> Administer:
    """Run statements one by one, as the superuser or as the administrator of a managed service."""
    user, password = SUPERUSER, None
    if request.param == "no superuser":
        user = password = "administrator"
        server.execute(f"CREATE ROLE {user} LOGIN CREATEROLE CREATEDB PASSWORD '{password}'")

    def run_statements(statements: list[str], database: str = "postgres") -> None:
        with server.connect(database, user, password) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    return run_statements


def shard_of_page(server: ExistingPostgres) -> ShardConfiguration:
    """The shard that the page configures, on this server."""
    (served,), (owned,) = (tomllib.loads(text)["shard"] for text in page.blocks(SERVER, "toml"))
    assert served["number"] == owned["number"]
    here = f"host={server.socket_folder} port={PORT}"
    dsn, owner_dsn = (text.replace(HOST_OF_THE_PAGE, here) for text in (served["dsn"], owned["owner_dsn"]))
    return ShardConfiguration(served["number"], dsn, owner_dsn)


def test_what_an_administrator_runs(server: ExistingPostgres, administer: Administer, tmp_path: Path) -> None:
    """After it `migrate` has nothing to say, money moves, and no other role gets in."""
    administer(page.statements(SERVER))
    shard = shard_of_page(server)
    write_configuration(tmp_path / "tallystick.toml", Configuration([shard]))
    done = run("migrate", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    # Servers need not know the owner's password, and without it no key is made.
    made = run("keys", "create", "--name", "shop", "--scope", "all", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    (tmp_path / OWNER_FILE).rename(tmp_path / "elsewhere.toml")
    refused = run("keys", "create", "--name", "another", folder=tmp_path)
    assert refused.returncode == 1
    assert "permission denied for table" in refused.stderr
    assert OWNER_FILE in refused.stderr
    made = run("keys", "create", "--name", "another", "--owner-config", "elsewhere.toml", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    move_money(shard.dsn)
    done = run("verify", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    server.execute("CREATE ROLE other LOGIN PASSWORD 'other' IN ROLE tallystick_server")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        server.connect("shard_1", "other", "other").close()
    strong = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication"
    roles = f"SELECT rolname FROM pg_roles WHERE rolname LIKE 'tallystick%' AND ({strong})"
    with server.connect() as connection:
        assert connection.execute(roles.encode()).fetchall() == []


def test_a_database_that_is_there_already(
    server: ExistingPostgres, administer: Administer, tmp_path: Path
) -> None:
    administer([*page.statements(SERVER), "CREATE DATABASE app"])
    administer(["CREATE TABLE accounts (id int)", "GRANT tallystick_owner TO CURRENT_USER"], "app")
    administer(page.statements("A database that is there already"), "app")
    shard = shard_of_page(server)
    dsn, owner_dsn = (text.replace("dbname=shard_1", "dbname=app") for text in (shard.dsn, shard.owner))
    write_configuration(tmp_path / "tallystick.toml", Configuration([ShardConfiguration(1, dsn, owner_dsn)]))
    done = run("migrate", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    move_money(dsn)
    found = "SELECT count(*) FROM pg_class WHERE relname = 'accounts' AND relkind = 'r'"
    with server.connect("app") as connection:
        assert connection.execute(found).fetchone() == (2,)
