"""What an attacker who has a session of a server cannot do: write the directory, change the schema."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import IsolationLevel
from tests.api.client import new_key
from tests.crash.databases import ShardDatabase, one_value, temporary_database
from tests.waiting import wait_for

from tallystick.embedded.postgres import EmbeddedPostgres

REVOKED = "00" * 32
PUT = (
    "SELECT key_put({caller}, 'mine', 1, 'mine', sha256('mine'), ARRAY['admin'], ARRAY[]::text[], NULL, NULL, NULL,"
    " 1, now(), now(), true)"
)


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> Iterator[ShardDatabase]:
    with temporary_database(postgres) as made:
        with psycopg.connect(made.owner_dsn) as owner:
            owner.execute(
                "INSERT INTO api_keys (id, tenant, name, hash, revoked_at)"
                f" VALUES ('revoked', 1, 'revoked', '\\x{REVOKED}', now())"
            )
        yield made


@pytest.mark.parametrize(
    "attack",
    [
        "INSERT INTO tenants (tenant, name) VALUES (666, 'mine')",
        "INSERT INTO tenants (tenant, name) SELECT 666, 'mine'",
        "UPDATE tenants SET name = 'mine'",
        "DELETE FROM tenants",
        "INSERT INTO api_keys (id, tenant, name, hash) VALUES ('mine', 1, 'mine', sha256('mine'))",
        (
            "INSERT INTO api_keys (id, tenant, name, hash) VALUES ('revoked', 1, 'r', sha256('mine'))"
            " ON CONFLICT (id) DO UPDATE SET revoked_at = NULL"
        ),
        (
            "MERGE INTO api_keys USING (SELECT) AS nothing ON id = 'revoked'"
            " WHEN MATCHED THEN UPDATE SET revoked_at = NULL"
        ),
        "UPDATE api_keys SET revoked_at = NULL",
        "UPDATE api_keys SET revoked_at = NULL WHERE id = 'revoked'",
        "UPDATE api_keys SET hash = sha256('mine') WHERE id = 'revoked'",
        "UPDATE api_keys SET tenant = 2",
        PUT.format(caller="NULL"),
        PUT.format(caller="'no'"),
        "SELECT key_revoke(NULL, 'revoked')",
        "SELECT key_revoke('no', 'revoked')",
        "DELETE FROM api_key_uses",
        "DELETE FROM api_keys",
        "TRUNCATE api_keys",
        "SELECT * FROM api_keys FOR UPDATE",
        "COPY api_keys FROM STDIN",
        "COPY tenants FROM PROGRAM 'echo 666,mine'",
        "UPDATE shard SET number = 2",
        "COMMENT ON TABLE shard IS '{}'",
        "ALTER TABLE api_keys ADD COLUMN mine text",
        "ALTER TABLE entries DISABLE TRIGGER ALL",
        "DROP TRIGGER immutable ON entries",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "GRANT pg_write_all_data TO CURRENT_USER",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "SET session_replication_role = replica",
        "CREATE TABLE mine (id int)",
        "CREATE ROLE mine LOGIN",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "UPDATE assets SET scale = 0",
        "DELETE FROM webhook_endpoints",
        "DELETE FROM _yoyo_migration",
    ],
)
def test_a_session_of_a_server_may_not(database: ShardDatabase, attack: str) -> None:
    attack = attack.replace("ROLE postgres", f"ROLE {owner_of(database)}")
    attack = attack.replace("AUTHORIZATION postgres", f"AUTHORIZATION {owner_of(database)}")
    with (
        psycopg.connect(database.server_dsn) as server,
        pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.IntegrityConstraintViolation)),
    ):
        server.execute(attack.encode())
    with psycopg.connect(database.owner_dsn) as owner:
        assert owner.execute("SELECT tenant, name FROM tenants").fetchall() == [(1, "default")]
        keys = owner.execute("SELECT id FROM api_keys WHERE revoked_at IS NOT NULL").fetchall()
        assert keys == owner.execute("SELECT id FROM api_keys").fetchall() == [("revoked",)]


def owner_of(database: ShardDatabase) -> str:
    with psycopg.connect(database.owner_dsn) as owner:
        return owner.info.user


KEYS = """
    INSERT INTO api_keys (id, tenant, name, hash, scopes, expires_at, networks, previous_hash, previous_until) VALUES
        ('whole',  1, '', sha256('whole'),  '{read,admin}', NULL,                      '{}',            NULL, NULL),
        ('short',  1, '', sha256('short'),  '{read,admin}', now() + interval '1 day',  '{}',            NULL, NULL),
        ('bound',  1, '', sha256('bound'),  '{read,admin}', NULL,                      '{10.0.0.0/8}',  NULL, NULL),
        ('reader', 1, '', sha256('reader'), '{read}',       NULL,                      '{}',            NULL, NULL),
        ('poster', 1, '', sha256('poster'), '{read,post}',  now() + interval '1 hour', '{10.0.0.0/16}', NULL, NULL),
        ('former', 1, '', sha256('latter'), '{read,post}',  NULL,                      '{}',
            sha256('former'), now() - interval '1 day')
"""
"""The secret of a key is its identifier."""
CHANGED = [
    "id",
    "tenant",
    "name",
    "hash",
    "scopes",
    "networks",
    "expires_at",
    "previous_hash",
    "previous_until",
    "version",
    "created_at",
    "changed_at",
]


@pytest.fixture(scope="module")
def keys(postgres: EmbeddedPostgres) -> Iterator[ShardDatabase]:
    with temporary_database(postgres) as made:
        with psycopg.connect(made.owner_dsn) as owner:
            owner.execute(KEYS)
        yield made


def change(admin: str, key: str, changes: str) -> bytes:
    """The call that changes columns of a key."""
    columns = dict.fromkeys(CHANGED, "") | {"version": "version + 1", "changed_at": "now()"}
    columns |= dict(one.split(" = ", 1) for one in changes.split("; "))
    values = ", ".join(value or name for name, value in columns.items())
    return f"SELECT key_put('{admin}', {values}, true) FROM api_keys WHERE id = '{key}'".encode()


@pytest.mark.parametrize(
    ("admin", "key", "changes"),
    [
        ("short", "reader", "scopes = ARRAY['read', 'admin']"),
        ("bound", "reader", "scopes = ARRAY['read', 'admin']"),
        ("whole", "poster", "scopes = ARRAY['read', 'post', 'admin']"),
        ("whole", "reader", "scopes = ARRAY['read', NULL]"),
        ("whole", "poster", "expires_at = NULL"),
        ("whole", "poster", "expires_at = expires_at + interval '1 s'"),
        ("whole", "poster", "networks = '{}'"),
        ("whole", "poster", "networks = '{10.0.0.0/15}'"),
        ("whole", "poster", "networks = '{10.0.0.0/16,192.0.2.0/24}'"),
        ("whole", "poster", "hash = sha256('mine')"),
        ("short", "reader", "hash = sha256('mine')"),
        ("bound", "reader", "hash = sha256('mine')"),
        ("whole", "poster", "previous_hash = sha256('mine'); previous_until = now() + interval '1 hour'"),
        ("short", "reader", "previous_hash = sha256('mine'); previous_until = now() + interval '1 hour'"),
        ("bound", "reader", "previous_hash = sha256('mine'); previous_until = now() + interval '1 hour'"),
        ("whole", "former", "previous_hash = sha256('mine')"),
        ("whole", "former", "previous_until = now() + interval '1 hour'"),
    ],
)
def test_a_key_that_has_less_gives_nothing_to_another(
    keys: ShardDatabase, admin: str, key: str, changes: str
) -> None:
    with (
        psycopg.connect(keys.server_dsn) as server,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="cannot grant more than it has"),
    ):
        server.execute(change(admin, key, changes))


@pytest.mark.parametrize(
    ("admin", "key", "changes"),
    [
        ("short", "poster", "name = 'renamed'"),
        ("bound", "former", "name = 'renamed'"),
        ("short", "former", "previous_hash = NULL; previous_until = NULL"),
        ("whole", "former", "previous_until = previous_until - interval '1 s'"),
        ("bound", "poster", "scopes = ARRAY['post']"),
        ("whole", "poster", "expires_at = expires_at - interval '1 s'"),
        ("short", "poster", "networks = '{10.0.1.0/24}'"),
        ("short", "reader", "scopes = ARRAY['read', 'admin']; expires_at = now() + interval '1 hour'"),
        ("bound", "reader", "scopes = ARRAY['read', 'admin']; networks = '{10.0.0.0/16}'"),
        (
            "whole",
            "reader",
            "hash = sha256('mine'); previous_hash = hash; previous_until = now() + interval '1 hour'",
        ),
    ],
)
def test_a_key_that_has_less_may_take_away_and_give_of_its_own(
    keys: ShardDatabase, admin: str, key: str, changes: str
) -> None:
    with psycopg.connect(keys.server_dsn) as server:
        assert server.execute(change(admin, key, changes)).fetchone() == (True,)
        server.rollback()


@pytest.mark.parametrize("isolation", [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ])
@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize(
    "call", ["SELECT key_revoke('{admin}', 'reader')", change("{admin}", "reader", "name = 'mine'").decode()]
)
def test_a_key_that_is_revoked_while_its_call_waits_does_nothing(
    keys: ShardDatabase, call: str, locked: bool, isolation: IsolationLevel
) -> None:
    admin = new_key()
    with (
        ThreadPoolExecutor(1) as executor,
        psycopg.connect(keys.server_dsn) as server,
        psycopg.connect(keys.owner_dsn) as owner,
    ):
        owner.execute(
            "INSERT INTO api_keys (id, tenant, name, hash, scopes)"
            " VALUES (%s, 1, '', sha256(convert_to(%s, 'UTF8')), '{read,admin}')",
            (admin, admin),
        )
        owner.commit()
        if locked:
            owner.execute("SELECT pg_advisory_xact_lock((x'7a18'::bigint << 32) | 1)")
        owner.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", (admin,))
        server.isolation_level = isolation
        answer = executor.submit(server.execute, call.format(admin=admin).encode())
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = %s"
        process = server.info.backend_pid
        wait_for(lambda: answer.done() or one_value(keys.owner_dsn, waiting, process), "the call waits", 30.0)
        assert not answer.done()
        owner.commit()
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.SerializationFailure)):
            answer.result()
