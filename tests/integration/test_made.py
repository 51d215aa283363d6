"""What the owner of a database takes away or adds is seen by `verify` and `serve`, and mended by `migrate`."""

import json

import psycopg
import pytest
from tests.crash.databases import SHARD, ShardDatabase
from tests.made import FILE, FILE_BEFORE, in_lines, schema_before

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.store import made
from tallystick.store.errors import SchemaError
from tallystick.store.migrate import check_schema, migrate
from tallystick.store.schema_version import known_migrations, run_after
from tallystick.verify.log import verify_shard

OTHER_VIEW = """
    CREATE OR REPLACE VIEW batch_being_written AS
    SELECT 8::int8 AS number, 0::int8 AS after_position, 9::int8 AS last_position
"""

OTHER_READABLE_VIEW = """
    CREATE OR REPLACE VIEW readable_open_sagas AS
    SELECT 'txn'::text AS transaction, 1::int8 AS position, 'mine'::text COLLATE "C" AS tenant,
        'none'::text AS asked_for, 'none'::text AS status, now() AS reserved_at, 1 AS other_shard,
        NULL::json AS debits, NULL::json AS credits, 'none'::text AS description
"""

# What is done, what is said of it, and whether a statement mends it.
CHANGES = [
    ("DROP TRIGGER immutable ON entries", "trigger immutable of entries is missing", True),
    ("ALTER TABLE entries DISABLE TRIGGER immutable", "trigger immutable of entries was changed", True),
    ("ALTER TABLE entries DISABLE TRIGGER ALL", "trigger entries_balanced of entries was changed", True),
    ("ALTER TABLE entries ENABLE TRIGGER immutable", "trigger immutable of entries was changed", True),
    ("DROP FUNCTION refuse_change() CASCADE", "function refuse_change is missing", True),
    (
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "function refuse_change was changed",
        True,
    ),
    ("ALTER FUNCTION check_entries() RESET search_path", "function check_entries was changed", True),
    ("ALTER FUNCTION check_entries() SECURITY DEFINER", "function check_entries was changed", True),
    (
        "ALTER TABLE entries DROP CONSTRAINT balance_within_bounds",
        "constraint balance_within_bounds of entries is missing",
        True,
    ),
    (
        "ALTER TABLE entries DROP CONSTRAINT entries_pkey",
        "constraint entries_pkey of entries is missing",
        True,
    ),
    (
        "ALTER TABLE entries ADD CHECK (amount > 5)",
        "constraint entries_amount_check of entries should not be there",
        True,
    ),
    ("DROP INDEX sagas_end", "index sagas_end of sagas is missing", True),
    ("CREATE UNIQUE INDEX other ON entries (account)", "index other of entries should not be there", True),
    (
        "GRANT UPDATE ON entries TO tallystick_server",
        "the right of tallystick_server to entries was changed",
        True,
    ),
    (
        "GRANT UPDATE ON api_keys TO tallystick_server",
        "the right of tallystick_server to api_keys was changed",
        True,
    ),
    (
        "GRANT UPDATE (amount) ON entries TO PUBLIC",
        "the right of public to entries should not be there",
        True,
    ),
    (
        "REVOKE INSERT ON entries FROM tallystick_server",
        "the right of tallystick_server to entries was changed",
        True,
    ),
    (
        "CREATE TRIGGER other BEFORE INSERT ON entries EXECUTE FUNCTION refuse_change()",
        "trigger other of entries should not be there",
        True,
    ),
    (
        "CREATE RULE other AS ON INSERT TO holds DO INSTEAD NOTHING",
        "rule other of holds should not be there",
        True,
    ),
    ("ALTER TABLE entries ENABLE ROW LEVEL SECURITY", "row security of entries should not be there", True),
    ("ALTER TABLE entries ALTER COLUMN asset DROP NOT NULL", "column asset of entries was changed", False),
    ("ALTER TABLE entries ADD COLUMN other int", "column other of entries should not be there", False),
    (
        "ALTER TABLE two_phase_decisions SET UNLOGGED",
        "persistence of two_phase_decisions should not be there",
        False,
    ),
    ("CREATE TABLE more () INHERITS (entries)", "child more of entries should not be there", False),
    (
        OTHER_VIEW,
        "view of batch_being_written was changed",
        False,
    ),
    ("DROP VIEW readable_open_holds", "view of readable_open_holds is missing", True),
    (OTHER_READABLE_VIEW, "view of readable_open_sagas was changed", True),
    ("DROP FUNCTION readable_number(text)", "function readable_number is missing", True),
    (
        "CREATE OR REPLACE FUNCTION readable_kind(kind integer) RETURNS text LANGUAGE sql AS 'SELECT NULL'",
        "function readable_kind was changed",
        True,
    ),
    (
        "GRANT UPDATE ON entries TO tallystick_reader",
        "the right of tallystick_reader to entries was changed",
        True,
    ),
    (
        "GRANT SELECT ON api_keys TO tallystick_reader",
        "the right of tallystick_reader to api_keys should not be there",
        True,
    ),
    (
        "GRANT SELECT (secret) ON webhook_endpoints TO tallystick_reader",
        "the right of tallystick_reader to webhook_endpoints should not be there",
        True,
    ),
]


@pytest.mark.parametrize(
    ("statement", "said", "mended"), CHANGES, ids=[statement[:60] for statement, _, _ in CHANGES]
)
def test_what_was_changed_is_seen_and_mended(
    database: ShardDatabase, statement: str, said: str, mended: bool
) -> None:
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        connection.execute(statement.encode())
    report = verify_shard(database.server_dsn, SHARD)
    assert not report.ok
    assert report.problems == []
    assert any(str(difference).startswith(said) for difference in report.schema), report.schema
    with pytest.raises(SchemaError, match=r"not as the migrations made it.*tallystick migrate"):
        check_schema(database.server_dsn, SHARD, to_serve=True)
    if mended:
        assert any(said in line for line in migrate(database.owner_dsn, SHARD))
        check_schema(database.server_dsn, SHARD, to_serve=True)
        assert verify_shard(database.server_dsn, SHARD).ok
        assert migrate(database.owner_dsn, SHARD) == []
    else:
        with pytest.raises(SchemaError, match="cannot be mended"):
            migrate(database.owner_dsn, SHARD)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX other ON entries (amount)",
        "CREATE ROLE reporting; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reporting",
        "CREATE TABLE mine (number int)",
        "CREATE VIEW totals AS SELECT asset, sum(amount) FROM entries GROUP BY asset",
        "COMMENT ON TABLE entries IS 'ours'",
        "ALTER TABLE entries SET (fillfactor = 90)",
    ],
)
def test_what_harms_nothing_is_left_alone(database: ShardDatabase, statement: str) -> None:
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        try:
            connection.execute(statement.encode())
            check_schema(database.server_dsn, SHARD, to_serve=True)
            assert verify_shard(database.server_dsn, SHARD).ok
        finally:
            if "ROLE" in statement:
                connection.execute("DROP OWNED BY reporting; DROP ROLE reporting")


def test_a_ledger_without_a_reader_is_whole(database: ShardDatabase) -> None:
    """An owner who may make no roles, or a restored dump, has none: `migrate` grants its rights when it is there."""
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        connection.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM tallystick_reader")
        check_schema(database.server_dsn, SHARD, to_serve=True)
        assert verify_shard(database.server_dsn, SHARD).ok
        assert migrate(database.owner_dsn, SHARD) == []
        granted = "SELECT has_table_privilege('tallystick_reader', 'readable_accounts', 'SELECT')"
        assert connection.execute(granted).fetchone() == (True,)


def test_the_file_says_what_the_migrations_make(database: ShardDatabase) -> None:
    """After a migration was added: make schema."""
    with psycopg.connect(database.owner_dsn) as connection:
        found = made.look_at_schema(connection)
    assert in_lines(found) == FILE.read_text(encoding="utf-8"), "run `make schema`, and look at the change"
    assert len(json.loads(FILE.read_text(encoding="utf-8"))) > 100


def test_another_file_says_what_is_there_before_the_last_ones(postgres: EmbeddedPostgres) -> None:
    """Only where this version has migrations that run after its servers."""
    assert FILE_BEFORE.exists() == bool(run_after(known_migrations())), "run `make schema`"
    if FILE_BEFORE.exists():
        found = schema_before(postgres)
        postgres.drop_database("before")
        assert in_lines(found) == FILE_BEFORE.read_text(encoding="utf-8"), "run `make schema`"
