"""What is missing on a PostgreSQL that others run is said, by name, with the statement that mends it."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tallystick.domain import limits
from tallystick.store.errors import PreparationError, SchemaError, ShardUnavailableError
from tallystick.store.migrate import check_schema, migrate
from tallystick.store.preparation import expect_version
from tallystick.verify.streams import Moment
from tests.existing_postgres.installations import (
    DATABASE,
    LOGIN,
    LOGIN_PASSWORD,
    OWNER,
    OWNER_PASSWORD,
    Installation,
    move_money,
    told_statements,
)
from tests.existing_postgres.servers import SUPERUSER, ExistingPostgres

ROUNDS_MAX = 5


@pytest.fixture
def installation(server: ExistingPostgres) -> Installation:
    return Installation(server)


@pytest.fixture
def migrated(installation: Installation) -> Installation:
    installation.prepare()
    installation.migrate()
    return installation


def mend(installation: Installation, act: Callable[[], object]) -> list[str]:
    """Do what the messages say until it works; return what they said."""
    said: list[str] = []
    while True:
        try:
            act()
        except PreparationError as error:
            assert len(said) < ROUNDS_MAX, said
            said.append(str(error))
            installation.execute(*told_statements(str(error)))
        else:
            return said


def test_an_owner_for_whom_nothing_is_prepared(installation: Installation, tmp_path: Path) -> None:
    """The messages alone lead to a ledger; what fails on the way leaves nothing behind."""
    installation.make_owner()
    installation.make_database()
    done = installation.command(tmp_path, "migrate")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for words in (
        DATABASE,
        "tallystick_server is missing",
        f"role {LOGIN}, as which servers connect, is missing",
    ):
        assert words in done.stderr
    assert installation.relations() == []
    installation.execute(*told_statements(done.stderr))
    done = installation.command(tmp_path, "migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0001.log" in done.stdout
    installation.check()
    move_money(installation.dsn)


def test_an_owner_who_may_make_roles_makes_the_role_of_servers(installation: Installation) -> None:
    """From PostgreSQL 16 on only who made a role may grant it, which is the owner here."""
    installation.make_owner("CREATEROLE")
    installation.make_database()
    assert migrate(installation.owner_dsn, 1)
    with installation.server.connect(DATABASE, OWNER, OWNER_PASSWORD) as connection:
        with pytest.raises(
            PreparationError, match=f"role {LOGIN}, as which servers connect, is missing"
        ) as raised:
            installation.migrate()
        for statement in told_statements(str(raised.value)):
            connection.execute(statement.encode())
    assert installation.migrate() == []
    installation.check()
    move_money(installation.dsn)


def test_an_owner_who_may_not_make_roles_uses_the_one_that_is_there(installation: Installation) -> None:
    installation.prepare()
    assert installation.migrate()
    installation.check()
    move_money(installation.dsn)


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        ("ALTER SCHEMA public OWNER TO postgres", f"role {OWNER} may not make tables in schema public"),
        ("DROP SCHEMA public", f"role {OWNER} finds no schema to make tables in"),
        (f"ALTER ROLE {OWNER} SET search_path = nowhere", r"its search_path is nowhere"),
        ("DROP ROLE tallystick_server", "role tallystick_server is missing"),
        (f'REVOKE tallystick_server FROM "{LOGIN}"', f"role {LOGIN} is not a member of tallystick_server"),
        (f'REVOKE CONNECT ON DATABASE "{DATABASE}" FROM PUBLIC', f"role {LOGIN} may not connect to it"),
    ],
)
def test_what_is_missing_before_the_first_migration(
    installation: Installation, taken: str, words: str
) -> None:
    installation.prepare()
    installation.execute(taken)
    with pytest.raises(PreparationError, match=words) as raised:
        installation.migrate()
    assert DATABASE in str(raised.value)
    assert installation.relations() == []
    mend(installation, installation.migrate)
    mend(installation, installation.check)
    move_money(installation.dsn)


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        (f'REVOKE tallystick_server FROM "{LOGIN}"', f"role {LOGIN} is not a member of tallystick_server"),
        (f'REVOKE CONNECT ON DATABASE "{DATABASE}" FROM PUBLIC', f"role {LOGIN} may not connect"),
        ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "tallystick_server may not use schema public"),
        (
            f'ALTER ROLE "{LOGIN}" IN DATABASE "{DATABASE}" SET search_path = elsewhere',
            f"its ledger is in schema public, and role {LOGIN} looks in elsewhere",
        ),
    ],
)
def test_what_is_missing_when_servers_start(migrated: Installation, taken: str, words: str) -> None:
    migrated.check()
    migrated.execute(taken)
    with pytest.raises(PreparationError, match=words) as raised:
        migrated.check()
    assert LOGIN in str(raised.value)
    assert DATABASE in str(raised.value)
    mend(migrated, migrated.check)
    move_money(migrated.dsn)


def test_a_role_that_does_not_inherit(migrated: Installation) -> None:
    """Before PostgreSQL 16 that is a role's own, and since then its membership's."""
    since_16 = migrated.server.version >= 16
    membership = f'GRANT tallystick_server TO "{LOGIN}" WITH INHERIT FALSE'
    migrated.execute(membership if since_16 else f'ALTER ROLE "{LOGIN}" NOINHERIT')
    with pytest.raises(
        PreparationError, match=f"role {LOGIN} does not inherit the rights of tallystick_server"
    ):
        migrated.check()
    mend(migrated, migrated.check)
    move_money(migrated.dsn)


def test_serve_says_it_in_one_line(migrated: Installation, tmp_path: Path) -> None:
    migrated.execute(f'REVOKE tallystick_server FROM "{LOGIN}"')
    for command in (("serve",), ("keys", "list")):
        done = migrated.command(tmp_path, *command)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: role {LOGIN} cannot serve database {DATABASE}")
        assert done.stderr.count("\n") == 1
        assert LOGIN_PASSWORD not in done.stderr


def test_a_restore_that_lost_the_rights(migrated: Installation) -> None:
    """As when the dump was read before the role was there."""
    migrated.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM tallystick_server")
    with pytest.raises(PreparationError, match="tallystick_server has no rights to its tables"):
        migrated.check()


def test_who_only_reads_can_verify(migrated: Installation, tmp_path: Path) -> None:
    """An auditor needs no right to append."""
    migrated.execute(
        "CREATE ROLE auditor LOGIN PASSWORD 'auditor'",
        "ALTER ROLE auditor SET default_transaction_read_only = on",
    )
    dsn = migrated.server.dsn(DATABASE, "auditor", "auditor")
    done = migrated.command(tmp_path, "verify", dsn=dsn)
    assert "role auditor may not read its tables" in done.stderr
    migrated.execute(*told_statements(done.stderr))
    done = migrated.command(tmp_path, "verify", dsn=dsn)
    assert done.returncode == 0, (done.stdout, done.stderr)
    migrated.execute("ALTER ROLE auditor RESET default_transaction_read_only")
    done = migrated.command(tmp_path, "serve", dsn=dsn)
    assert "role auditor is not a member of tallystick_server" in done.stderr


def test_servers_that_connect_as_the_owner_are_warned_of(migrated: Installation, tmp_path: Path) -> None:
    done = migrated.command(tmp_path, "migrate", dsn=migrated.owner_dsn)
    assert done.returncode == 0
    assert f"as role {OWNER}, which has the rights of {OWNER}, who owns the tables" in done.stderr
    move_money(migrated.owner_dsn)
    done = migrated.command(tmp_path, "migrate", dsn=migrated.server.dsn(DATABASE))
    assert done.returncode == 0
    assert f"as role {SUPERUSER}, which is a superuser" in done.stderr
    assert migrated.risks() == []


def test_two_ledgers_on_one_server_are_kept_apart(server: ExistingPostgres) -> None:
    """They share the role tallystick_server, which may append in both: who may connect is what tells them apart."""
    production = Installation(server)
    production.prepare()
    production.migrate()
    server.execute(
        "CREATE ROLE staging_login LOGIN PASSWORD 'staging'",
        "GRANT tallystick_server TO staging_login",
        "CREATE ROLE monitor LOGIN PASSWORD 'monitor'",
    )
    staging = server.dsn(DATABASE, "staging_login", "staging")
    with psycopg.connect(staging) as connection:
        connection.execute("SELECT hash FROM api_keys")
    (risk,) = production.risks()
    assert "role staging_login may read and append" in risk
    production.execute(*told_statements(risk))
    assert production.risks() == []
    production.check()
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(staging).close()
    # Who is let in by name is meant to be there.
    server.execute(f'GRANT CONNECT ON DATABASE "{DATABASE}" TO staging_login')
    assert production.risks() == []


# The database


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_encoding_other_than_utf8_is_refused(installation: Installation, encoding: str) -> None:
    installation.prepare()
    installation.server.execute(f'DROP DATABASE "{DATABASE}"')
    installation.make_database(f"TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    with pytest.raises(
        PreparationError, match=f"has the encoding {encoding}, and the ledger needs UTF8"
    ) as raised:
        installation.migrate()
    assert installation.relations() == []
    installation.server.execute(f'DROP DATABASE "{DATABASE}"', *told_statements(str(raised.value)))
    installation.migrate()
    move_money(installation.dsn)


COLLATIONS = """
SELECT DISTINCT collname FROM pg_index
JOIN pg_class ON pg_class.oid = indrelid
CROSS JOIN LATERAL unnest(indcollation::oid[]) AS used (collation_oid)
JOIN pg_collation ON pg_collation.oid = used.collation_oid
WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE '%yoyo%'
"""


def test_no_index_depends_on_the_collation_of_the_database(installation: Installation) -> None:
    installation.prepare()
    installation.server.execute(f'DROP DATABASE "{DATABASE}"')
    try:
        installation.make_database("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de' LOCALE 'C.UTF-8'")
    except psycopg.errors.FeatureNotSupported:
        installation.make_database()
    installation.migrate()
    move_money(installation.dsn)
    with installation.server.connect(DATABASE) as connection:
        assert connection.execute(COLLATIONS).fetchall() == [("C",)]


def test_a_database_of_another_application_is_left_alone(installation: Installation, tmp_path: Path) -> None:
    installation.prepare()
    installation.execute("CREATE TABLE customers (id int)", "CREATE VIEW latest AS SELECT * FROM customers")
    done = installation.command(tmp_path, "migrate")
    assert done.returncode == 1
    assert f"schema public of database {DATABASE} holds tables of another application" in done.stderr
    assert "(customers, latest)" in done.stderr
    assert installation.relations() == ["customers", "latest"]


def test_a_schema_of_its_own(installation: Installation, tmp_path: Path) -> None:
    """Both roles must find it first. Servers may use it, because `migrate` lets them."""
    installation.prepare()
    installation.execute(
        "CREATE TABLE accounts (id int)",
        f"CREATE SCHEMA ours AUTHORIZATION {OWNER}",
        f'ALTER ROLE {OWNER} IN DATABASE "{DATABASE}" SET search_path = ours',
    )
    installation.migrate()
    said = mend(installation, installation.check)
    assert f"its ledger is in schema ours, and role {LOGIN} looks in" in said[0]
    move_money(installation.dsn)
    # A connection string may say where to look, too.
    installation.execute(f'ALTER ROLE "{LOGIN}" IN DATABASE "{DATABASE}" RESET search_path')
    dsn = f"{installation.dsn} options='-c search_path=ours'"
    move_money(dsn)
    done = installation.command(tmp_path, "verify", dsn=dsn)
    assert done.returncode == 0, (done.stdout, done.stderr)


def test_one_ledger_in_a_database(migrated: Installation) -> None:
    """Two would share the locks of batches and of webhooks."""
    migrated.execute(
        f"CREATE SCHEMA second AUTHORIZATION {OWNER}", f"ALTER ROLE {OWNER} SET search_path = second"
    )
    with pytest.raises(PreparationError, match="its ledger is in schema public"):
        migrated.migrate()


def test_a_database_that_is_read_only(migrated: Installation) -> None:
    migrated.execute(f'ALTER DATABASE "{DATABASE}" SET default_transaction_read_only = on')
    with pytest.raises(ShardUnavailableError, match="is read-only, as on a standby"):
        migrated.migrate()
    with pytest.raises(ShardUnavailableError, match="is read-only, as on a standby"):
        check_schema(migrated.dsn, 1, to_serve=True)
    check_schema(migrated.dsn, 1)


def test_a_database_with_defaults_of_its_own(migrated: Installation, tmp_path: Path) -> None:
    """Those that change what a session reads or sees."""
    for default in ("datestyle = 'German'", "timezone = 'Asia/Kathmandu'", "bytea_output = 'escape'"):
        migrated.execute(f'ALTER DATABASE "{DATABASE}" SET {default}')
    migrated.execute(f"ALTER DATABASE \"{DATABASE}\" SET default_transaction_isolation = 'serializable'")
    done = migrated.command(tmp_path, "keys", "create", "--name", "shop", "--scope", "all")
    assert done.returncode == 0, done.stderr
    for command in ("migrate", "keys list", "verify"):
        done = migrated.command(tmp_path, *command.split())
        assert (done.returncode, done.stderr) == (0, "")
    move_money(migrated.dsn)


def test_a_verification_that_loses_its_snapshot(
    migrated: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions say it in different words."""
    move_money(migrated.dsn)
    # Only a large log is read over several connections.
    monkeypatch.setattr(limits, "VERIFY_BYTES_AT_ONCE_MAX", 0)
    with ExitStack() as closing:
        moment = Moment(migrated.dsn, closing)
        moment.take()
        migrated.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{LOGIN}'")
        with pytest.raises(ShardUnavailableError, match="held the snapshot was lost"):
            moment.stream("verify_entries")


def test_a_database_that_is_missing(installation: Installation) -> None:
    installation.prepare()
    installation.server.execute(f'DROP DATABASE "{DATABASE}"')
    with pytest.raises(PreparationError, match="the database is missing") as raised:
        installation.migrate()
    installation.server.execute(*told_statements(str(raised.value)))
    installation.migrate()
    move_money(installation.dsn)


# Connection strings


def test_the_servers_string_in_place_of_the_owners(installation: Installation, tmp_path: Path) -> None:
    installation.prepare()
    done = installation.command(tmp_path, "migrate", dsn=installation.dsn)
    assert (
        f"role {LOGIN} may not make tables in schema public: let owner_dsn connect as {OWNER}" in done.stderr
    )
    assert installation.relations() == []
    installation.migrate()
    done = installation.command(tmp_path, "migrate", dsn=installation.dsn)
    assert f"its ledger belongs to role {OWNER}: let owner_dsn connect as that role" in done.stderr


def test_a_wrong_password(installation: Installation, tmp_path: Path) -> None:
    installation.prepare()
    done = installation.command(tmp_path, "migrate", dsn=installation.server.dsn(DATABASE, OWNER, "a guess"))
    assert done.returncode == 1
    assert f'password authentication failed for user "{OWNER}"' in done.stderr
    assert "correct the configuration" in done.stderr
    assert "a guess" not in done.stderr
    # The owner's is right, and the servers' is wrong: the tables are made, and it is said.
    installation.server.execute(f"ALTER ROLE \"{LOGIN}\" PASSWORD 'another'")
    done = installation.command(tmp_path, "migrate")
    assert done.returncode == 0
    assert "0001.log" in done.stdout
    assert f'password authentication failed for user "{LOGIN}"' in done.stderr


def test_a_string_without_a_database(installation: Installation, tmp_path: Path) -> None:
    """libpq would take the database that is called like the user."""
    dsn = installation.server.dsn(DATABASE, OWNER, OWNER_PASSWORD).replace(f"dbname={DATABASE}", "")
    done = installation.command(tmp_path, "migrate", dsn=dsn)
    assert done.returncode == 1
    assert "the dsn of shard 1 names no database: add dbname" in done.stderr


def test_settings_of_a_string_that_only_libpq_knows(migrated: Installation, tmp_path: Path) -> None:
    move_money(f"{migrated.dsn} connect_timeout=10 keepalives_idle=30 application_name=shop")
    done = migrated.command(tmp_path, "serve", dsn=f"{migrated.dsn} channel_binding=prefer")
    assert done.returncode == 1
    assert "channel_binding" in done.stderr
    assert "leave it out" in done.stderr


# Versions


def test_versions_that_are_too_old_are_refused() -> None:
    with pytest.raises(PreparationError, match=r"PostgreSQL 14\.23, and the ledger needs 15 or newer"):
        expect_version("ledger", 140_023)
    expect_version("ledger", 150_000)


def test_another_shards_database_is_not_touched(migrated: Installation) -> None:
    migrated.execute("DELETE FROM _yoyo_migration WHERE migration_id = '0013.readable'")
    with pytest.raises(SchemaError, match="configured for shard 2 is that of shard 1"):
        migrate(migrated.owner_dsn, 2)
    with migrated.server.connect(DATABASE) as connection:
        found = connection.execute("SELECT FROM _yoyo_migration WHERE migration_id = '0013.readable'")
        assert found.fetchone() is None
