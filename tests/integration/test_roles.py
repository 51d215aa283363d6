"""What an attacker who has a session of a server cannot do: write the directory, change the schema."""

from collections.abc import Iterator

import psycopg
import pytest
from tests.crash.databases import ShardDatabase, temporary_database

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
