"""Bring a shard's database to the current schema, and refuse to serve any other."""

import asyncio
from importlib import resources

import psycopg
from yoyo import get_backend, read_migrations

from tallystick.domain import limits
from tallystick.store.address import database_uri
from tallystick.store.errors import SchemaError, translated
from tallystick.store.queries import query

_FOLDER = str(resources.files("tallystick.store") / "migrations")


def migrate(dsn: str, shard: int) -> list[str]:
    """Apply what is missing, as the owner, and mark a new database as this shard's.

    Returns:
        The names of the migrations that were applied now.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
        SchemaError: the database belongs to another shard, or cannot be changed.
    """
    # Asked first, because the migration library reports a refused connection in its own words.
    _connect(dsn).close()
    try:
        applied = _apply(dsn)
    except psycopg.Error as error:
        raise SchemaError(
            f"shard {shard} cannot be migrated ({error}): the user of owner_dsn, or of dsn, must own the database"
        ) from error
    with translated(), psycopg.connect(dsn) as connection:
        connection.execute(query("claim_shard"), (shard,))
    check_schema(dsn, shard)
    return applied


def _apply(dsn: str) -> list[str]:
    backend = get_backend(database_uri(dsn, "postgresql+psycopg"))
    try:
        migrations = read_migrations(_FOLDER)
        with backend.lock():
            missing = backend.to_apply(migrations)
            applied = [migration.id for migration in missing]
            backend.apply_migrations(missing)
    finally:
        backend.connection.close()
    return applied


def check_schema(dsn: str, shard: int) -> None:
    """Make sure that a database is this shard's and has the schema of this version.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
        SchemaError: it is another shard's, or older or newer than this version.
    """
    number = _number_of_current_schema(dsn)
    if number != shard:
        raise SchemaError(
            f"the database configured for shard {shard} is that of shard {number}: correct the configuration"
        )


async def shard_number(dsn: str) -> int:
    """Which shard a database is, if its schema is that of this version. Raises like `check_schema`."""
    return await asyncio.to_thread(_number_of_current_schema, dsn)


def _number_of_current_schema(dsn: str) -> int:
    expected = {migration.id for migration in read_migrations(_FOLDER)}
    with translated(), _connect(dsn) as connection:
        present = connection.execute(query("schema_present")).fetchone()
        if present is None or not present[0]:
            raise SchemaError("the database is empty: run `tallystick migrate`")
        found = {row[0] for row in connection.execute(query("applied_migrations"))}
        if missing := sorted(expected - found):
            raise SchemaError(f"the database lacks {', '.join(missing)}: run `tallystick migrate`")
        if unknown := sorted(found - expected):
            raise SchemaError(f"the database has {', '.join(unknown)} of a newer version: upgrade tallystick")
        row = connection.execute(query("shard_number")).fetchone()
    if row is None:
        raise SchemaError("the database belongs to no shard yet: run `tallystick migrate`")
    return int(row[0])


def _connect(dsn: str) -> psycopg.Connection:
    with translated():
        try:
            return psycopg.connect(dsn, connect_timeout=limits.CONNECT_TIMEOUT_SECONDS)
        except psycopg.OperationalError as error:
            # The library keeps no code of what went wrong while it connected, only words.
            said = str(error).strip()
            if 'FATAL:  database "' in said and said.endswith("does not exist"):
                raise SchemaError(
                    "the database is missing: create it, or correct the configuration"
                ) from error
            raise
