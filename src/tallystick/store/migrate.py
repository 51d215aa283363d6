"""Bring a shard's database to the current schema, and refuse to serve any other."""

from importlib import resources
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict
from yoyo import get_backend, read_migrations

from tallystick.store.errors import SchemaError, translated
from tallystick.store.queries import query

_FOLDER = str(resources.files("tallystick.store") / "migrations")


def migrate(dsn: str, shard: int) -> list[str]:
    """Apply what is missing, as the owner, and mark a new database as this shard's.

    Returns:
        The names of the migrations that were applied now.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
        SchemaError: the database belongs to another shard.
    """
    with translated():
        # Asked first, because the migration library reports a refused connection in its own words.
        psycopg.connect(dsn, connect_timeout=5).close()
    backend = get_backend(_library_address(dsn))
    try:
        migrations = read_migrations(_FOLDER)
        with backend.lock():
            missing = backend.to_apply(migrations)
            applied = [migration.id for migration in missing]
            backend.apply_migrations(missing)
    finally:
        backend.connection.close()
    with translated(), psycopg.connect(dsn) as connection:
        connection.execute(query("claim_shard"), (shard,))
    check_schema(dsn, shard)
    return applied


def check_schema(dsn: str, shard: int) -> None:
    """Make sure that a database is this shard's and has the schema of this version.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
        SchemaError: it is another shard's, or older or newer than this version.
    """
    expected = {migration.id for migration in read_migrations(_FOLDER)}
    with translated(), psycopg.connect(dsn, connect_timeout=5) as connection:
        present = connection.execute(query("schema_present")).fetchone()
        if present is None or not present[0]:
            raise SchemaError(f"the database of shard {shard} is empty: run `tallystick migrate`")
        found = {row[0] for row in connection.execute(query("applied_migrations"))}
        if missing := sorted(expected - found):
            raise SchemaError(f"shard {shard} lacks {', '.join(missing)}: run `tallystick migrate`")
        if unknown := sorted(found - expected):
            raise SchemaError(f"shard {shard} has {', '.join(unknown)} of a newer version: upgrade tallystick")
        number = connection.execute(query("shard_number")).fetchone()
    if number is None or number[0] != shard:
        raise SchemaError(
            f"the database configured for shard {shard} is shard {number[0] if number else 'nothing'}: "
            "correct the configuration"
        )


def _library_address(dsn: str) -> str:
    """The same database in the migration library's notation."""
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    database = parts.pop("dbname", "")
    user, password = parts.pop("user", ""), parts.pop("password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    return f"postgresql+psycopg://{login}/{quote(database, safe='')}?{urlencode(parts)}"
