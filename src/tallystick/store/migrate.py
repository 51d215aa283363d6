"""Migrate a shard's database to the current schema, and refuse to serve any other."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import resources
from typing import Any, Final

import psycopg
from yoyo import internalmigrations, read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri
from yoyo.migrations import default_migration_table

from tallystick.domain import limits
from tallystick.store.address import database_places, user_name
from tallystick.store.errors import SchemaError, ShardUnavailableError, translated
from tallystick.store.made import Difference, differences, expect_as_made, look_at_schema, mend
from tallystick.store.preparation import (
    database_is_missing,
    expect_ready_to_migrate,
    expect_ready_to_use,
    inspect,
    risks_of_serving,
    role_may_not_connect,
)
from tallystick.store.primary import connect_once
from tallystick.store.queries import query
from tallystick.store.schema_version import (
    Half,
    SchemaVersion,
    known_migrations,
    newer_error,
    number_of,
    runs_after,
    to_run,
    version_of,
)

_WARNING: Final = "WARNING"
_FOLDER = str(resources.files("tallystick.store") / "migrations")


def migrate(dsn: str, shard: int, server_dsn: str | None = None, *, half: Half | None = None) -> list[str]:
    """Apply missing migrations, as the owner, and mark a new database as this shard's: everything or nothing.

    Args:
        dsn: the connection string of the owner.
        shard: the shard's number.
        server_dsn: the connection string of servers. Its role is checked, too, if both lead to the same database.
        half: apply only those that run before the servers of this version, or those that run after them.

    Returns:
        The names of the migrations that were applied now, and the differences in the schema that were mended.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
        PreparationError: the database, or a role, is not prepared; the message has the statements that mend it.
        SchemaError: the database belongs to another shard, is newer, or cannot be changed now, which may be because
            servers of an earlier version still use what a migration takes away.
    """
    login = None
    if server_dsn is not None and database_places(server_dsn) & database_places(dsn):
        login = user_name(server_dsn)
    with _connect(dsn) as connection:
        connection.autocommit = True
        connection.execute(query("wait_for_standbys"))
        library = _Library(connection)
        with _told(shard), library.transaction():
            connection.execute(query("migration_isolation"))
            _wait_for_others(connection, shard)
            found = inspect(connection, login)
            expect_ready_to_migrate(found, login_is_known=login is not None)
            missing = library.to_apply(read_migrations(_FOLDER))
            names = [migration.id for migration in missing]
            applied = to_run(names, half, is_new=len(names) == len(known_migrations()))
            _expect_no_older_servers(connection, shard, applied)
            library.apply_migrations(missing.filter(lambda migration: migration.id in applied))
            version = _version(connection)
            if version.newer:
                raise newer_error(version.newer)
            connection.execute(query("claim_shard"), (shard,))
            connection.execute(query("grant_usage"))
            _expect_shard(connection, shard)
            mended = [f"mended: {difference}" for difference in mend(connection, version)]
        _await_standbys(connection)
    return applied + mended


class _Library(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """The migration library, using our connection and our transaction.

    The library itself commits a migration, and then the record of it. A process that is killed in between, or while
    it holds the library's lock, would leave a database that cannot be migrated. (So no migration may run without a
    transaction.)
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._own = connection
        super().__init__(parse_uri("postgresql:///"), default_migration_table)

    def connect(self, _: object) -> psycopg.Connection:
        """Use the given connection. There is no address."""
        return self._own

    def copy(self) -> nullcontext["_Library"]:
        """Use one connection for everything."""
        return nullcontext(self)

    def ensure_internal_schema_updated(self) -> None:
        """Make the library's own tables, without its lock."""
        if internalmigrations.needs_upgrading(self):
            internalmigrations.upgrade(self)

    def log_migration(self, *_: Any) -> None:
        """Keep no log: the library would ask the system for a user name, and a container may have none."""


def _await_standbys(connection: psycopg.Connection) -> None:
    """Make sure that the synchronous standbys have what was committed: a COMMIT may have ended without them.

    Raises:
        ShardUnavailableError: the wait was cancelled, of which PostgreSQL only warns.
    """
    warnings: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == _WARNING:
            warnings.append(str(notice.message_primary))

    connection.add_notice_handler(hear)
    with translated():
        connection.execute(query("await_standbys"))
    if warnings:
        raise ShardUnavailableError(
            f"the database is migrated, and its standbys may not have that yet ({warnings[0]}): run `tallystick "
            f"migrate` again when they are there"
        )


def _wait_for_others(connection: psycopg.Connection, shard: int) -> None:
    timeouts = query("migration_timeouts")
    connection.execute(timeouts, (str(limits.MIGRATION_WAIT_MS),))
    try:
        connection.execute(query("migration_lock"))
    except psycopg.errors.LockNotAvailable as error:
        raise SchemaError(
            f"shard {shard} is being migrated by another `tallystick migrate`: wait for it, or end it"
        ) from error
    connection.execute(timeouts, (str(limits.MIGRATION_LOCK_TIMEOUT_MS),))


@contextmanager
def _told(shard: int) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise SchemaError(
            f"shard {shard} cannot be migrated while others use its tables ({_line(error)}): nothing was changed; "
            f"run `tallystick migrate` again, and stop the servers before, if necessary"
        ) from error
    except psycopg.OperationalError as error:
        raise ShardUnavailableError(_line(error)) from error
    except psycopg.Error as error:
        raise SchemaError(
            f"shard {shard} cannot be migrated, and nothing was changed: {_line(error)}"
        ) from error


def _expect_no_older_servers(connection: psycopg.Connection, shard: int, applied: Sequence[str]) -> None:
    """Make sure that no server is connected which uses what a migration takes away."""
    taking = [name for name in applied if runs_after(name)]
    if not taking:
        return
    row = connection.execute(query("older_sessions"), (number_of(taking[-1]),)).fetchone()
    if row is not None and row[0]:
        raise SchemaError(
            f"shard {shard} has {row[0]} sessions of servers of an earlier version, which use what "
            f"{', '.join(taking)} takes away: nothing was changed; run `tallystick migrate --before`, replace these "
            f"servers by this version, and then run `tallystick migrate --after`"
        )


def _line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0]


def check_schema(dsn: str, shard: int, *, to_serve: bool = False) -> None:
    """Check that a database belongs to this shard and has a schema that this version can use.

    `to_serve`: also check that its role has the rights of servers, and may not only read. Servers can also use what a
    newer version has migrated before its servers.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
        PreparationError: rights are missing, or the schema is not found; the message has what mends it.
        SchemaError: it belongs to another shard, is older or newer than this version, or its schema was changed.
    """
    with translated(), _connect(dsn) as connection:
        version = _check(connection, shard, to_serve=to_serve)
        if to_serve:
            expect_as_made(connection, version)


def schema_notes(dsn: str) -> list[str]:
    """What an operator should know of a schema that this version can use, and that is not its own.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
        SchemaError: this version cannot use it.
    """
    with translated(), _connect(dsn) as connection:
        return _version(connection).notes


def _check(connection: psycopg.Connection, shard: int, *, to_serve: bool = False) -> SchemaVersion:
    expect_ready_to_use(inspect(connection), to_serve=to_serve)
    version = _version(connection)
    if version.newer and not to_serve:
        raise newer_error(version.newer)
    _expect_shard(connection, shard)
    return version


def schema_differences(dsn: str, shard: int) -> list[Difference]:
    """The differences between a shard's database and what the migrations of this version make.

    Raises what `check_schema` raises.
    """
    with translated(), _connect(dsn) as connection:
        return differences(look_at_schema(connection), _check(connection, shard))


async def shard_number(dsn: str) -> int:
    """The number of the shard of a database, if this version can serve it. Raises like `check_schema`."""
    return await asyncio.to_thread(_shard_number, dsn)


def serving_risks(dsn: str) -> list[str]:
    """Warnings about a connection string of servers that works, but protects the ledger less than possible.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    with translated(), _connect(dsn) as connection:
        return risks_of_serving(inspect(connection))


def _shard_number(dsn: str) -> int:
    with translated(), _connect(dsn) as connection:
        expect_ready_to_use(inspect(connection), to_serve=True)
        expect_as_made(connection, _version(connection))
        return _number(connection)


def _expect_shard(connection: psycopg.Connection, shard: int) -> None:
    number = _number(connection)
    if number != shard:
        raise SchemaError(
            f"the database configured for shard {shard} is that of shard {number}: correct the configuration"
        )


def _version(connection: psycopg.Connection) -> SchemaVersion:
    found = {row[0] for row in connection.execute(query("applied_migrations"))}
    return version_of(found, known_migrations())


def _number(connection: psycopg.Connection) -> int:
    row = connection.execute(query("shard_number")).fetchone()
    if row is None:
        raise SchemaError("the database belongs to no shard yet: run `tallystick migrate`")
    return int(row[0])


def _connect(dsn: str) -> psycopg.Connection:
    with translated():
        try:
            return connect_once(dsn, client_encoding="utf8")
        except psycopg.OperationalError as error:
            # For errors during a connection the library keeps only the text, not the code.
            said = str(error).strip()
            database, role = (error.pgconn.db, error.pgconn.user) if error.pgconn else (b"", b"")
            if 'FATAL:  database "' in said and said.endswith("does not exist"):
                raise database_is_missing(database.decode(), role.decode()) from error
            if "FATAL:  permission denied for database" in said:
                raise role_may_not_connect(database.decode(), role.decode()) from error
            raise
