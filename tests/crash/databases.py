"""Real databases for the tests of faults: a server in a folder of its own, one shard in each database."""

import atexit
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_cluster import LOGIN_ROLE, OWNER_ROLE
from tallystick.store.migrate import migrate
from tallystick.verify.log import verify_shard
from tests.data_folders import data_folder
from tests.kept_connection import KeptConnection

SHARD = 1

# A login costs processor time on both sides for each of thousands of iterations: one will do here.
QUICK_LOGINS: Mapping[str, str] = {"scram_iterations": "1"}

# The data may be in memory.
SMALL: Mapping[str, str] = {"max_wal_size": "256MB"}

_numbers = count(1)
_COPIED_SHARDS = (1, 2)


class ShardDatabase(NamedTuple):
    """One shard's database: its address as the owner, and as the role that the server uses."""

    owner_dsn: str
    server_dsn: str


class _Administrator(KeptConnection):
    """The connection to a server that makes and drops the databases of tests; and what it has made."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        super().__init__(server.dsn())
        self.templates: set[str] = set()

    @cached_property
    def copying_strategy(self) -> LiteralString:
        """Copying files needs two checkpoints, which wait for the disk of a durable server; in memory it is quick."""
        return "wal_log" if self.rows(b"SHOW fsync") == [("on",)] else "file_copy"


# Those of the temporary servers.
_administrators: dict[EmbeddedPostgres, _Administrator] = {}
# Those of the databases that exist now, for `one_value`, by their connection string.
_kept: dict[str, KeptConnection] = {}


@contextmanager
def _administrator(server: EmbeddedPostgres) -> Iterator[_Administrator]:
    if server in _administrators:
        yield _administrators[server]
    else:
        with closing(_Administrator(server)) as administrator:
            yield administrator


@contextmanager
def temporary_server(
    *,
    durable: bool = False,
    settings: Mapping[str, str] | None = None,
    on_disk: bool | None = None,
    unique: bool = False,
) -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL server of a test's own, which it may kill; it is removed at the end.

    Args:
        durable: it syncs what it writes.
        settings: more of its configuration.
        on_disk: where its data are: as a rule on the disk, if it is durable.
        unique: it has an identity of its own. Others are copies of one server, and have that server's.
    """
    with data_folder(durable=durable if on_disk is None else on_disk) as folder:
        own = {**QUICK_LOGINS, **({} if durable else SMALL), **(settings or {})}
        if not unique:
            _copy_files(_template_server(), folder / "postgres")
        server = EmbeddedPostgres(folder / "postgres", durable=durable, settings=own)
        try:
            server.start()
            if unique:
                _set_password_again(server)
            _administrators[server] = _Administrator(server)
            yield server
        finally:
            if (administrator := _administrators.pop(server, None)) is not None:
                administrator.close()
            server.remove()


@cache
def _template_server() -> Path:
    """The data folder of a server that does not run, with empty shards: to make them takes a second or two."""
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(data_folder(durable=False)) / "postgres"
        server = EmbeddedPostgres(folder, durable=False, settings={**QUICK_LOGINS, **SMALL})
        cleanup.callback(server.remove)
        server.start()
        _set_password_again(server)
        for number in _COPIED_SHARDS:
            shard_template(server, number)
        server.stop()
        atexit.register(cleanup.pop_all().close)
    return folder


def _copy_files(source: Path, target: Path) -> None:
    """With their owners, of which one is the user of the server."""
    subprocess.run(["cp", "-a", source, target], check=True)
    # Each has a socket of its own.
    for name in ("socket_folder", "server.log", "postgresql.lock"):
        (target / name).unlink(missing_ok=True)


def _set_password_again(server: EmbeddedPostgres) -> None:
    """Have the owner's password checked as the settings say: it was set before the server had them."""
    dsn = server.dsn()
    password = str(conninfo_to_dict(dsn)["password"])
    with psycopg.connect(dsn) as connection:
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(OWNER_ROLE), sql.Literal(password))
        )


def shard_template(server: EmbeddedPostgres, number: int = SHARD) -> str:
    """The name of an empty shard of this number that can be copied; it is made when it is first asked for."""
    name = f"shard_{number}_template"
    with _administrator(server) as administrator:
        if name not in administrator.templates:
            if not one_value(server.dsn(), "SELECT count(*) FROM pg_database WHERE datname = %s", name):
                server.create_database(name)
                migrate(server.dsn(name), number)
            administrator.templates.add(name)
    return name


def copy_database(server: EmbeddedPostgres, name: str, template: str) -> None:
    """Make a database of this name as a copy of another one."""
    for dsn, kept in _kept.items():
        if _database_name(dsn) == template:
            kept.close()
    with _administrator(server) as administrator:
        administrator.rows(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
                sql.Identifier(name), sql.Identifier(template), sql.SQL(administrator.copying_strategy)
            )
        )


def _drop_database(server: EmbeddedPostgres, name: str) -> None:
    with _administrator(server) as administrator:
        administrator.rows(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def temporary_database(
    server: EmbeddedPostgres, template: str | None = None, *, number: int = SHARD
) -> Iterator[ShardDatabase]:
    """An empty shard of this number, or a copy of another database; it is dropped at the end."""
    name = f"shard_{number}_copy_{next(_numbers)}"
    copy_database(server, name, template or shard_template(server, number))
    database = ShardDatabase(server.dsn(name), server.dsn(name, role=LOGIN_ROLE))
    _kept[database.owner_dsn] = KeptConnection(database.owner_dsn)
    try:
        yield database
    finally:
        _kept.pop(database.owner_dsn).close()
        _drop_database(server, name)


@contextmanager
def temporary_shards(server: EmbeddedPostgres, numbers: Iterable[int]) -> Iterator[dict[int, ShardDatabase]]:
    """Empty shards of these numbers; they are dropped at the end."""
    with ExitStack() as stack:
        yield {number: stack.enter_context(temporary_database(server, number=number)) for number in numbers}


def alter(database: ShardDatabase, setting: str) -> None:
    """Set something of a database, for all sessions: those that are there end."""
    name = name_of(database)
    with psycopg.connect(database.owner_dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} {setting}".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )


def lose(database: ShardDatabase) -> None:
    """Refuse all new connections."""
    alter(database, "ALLOW_CONNECTIONS false")


def find_again(database: ShardDatabase) -> None:
    alter(database, "ALLOW_CONNECTIONS true")


def name_of(database: ShardDatabase) -> str:
    return _database_name(database.owner_dsn)


def _database_name(dsn: str) -> str:
    return str(conninfo_to_dict(dsn)["dbname"])


def one_value(dsn: str, query: str, *parameters: object) -> int:
    """The one number that a query answers with."""
    with _asking(dsn) as connection:
        ((value,),) = connection.rows(query.encode(), parameters)
    return int(value)


@contextmanager
def _asking(dsn: str) -> Iterator[KeptConnection]:
    if dsn in _kept:
        yield _kept[dsn]
    else:
        with closing(KeptConnection(dsn)) as connection:
            yield connection


def assert_whole(database: ShardDatabase) -> None:
    """Everything that `tallystick verify` recomputes is right."""
    report = verify_shard(database.server_dsn, SHARD)
    assert report.ok, report.problems


def open_transactions(database: ShardDatabase) -> int:
    """How many sessions of batchers are inside a database transaction, so that the next batch would wait."""
    return one_value(
        database.owner_dsn,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND starts_with(application_name, 'tallystick writer') AND state <> 'idle'",
    )


def terminate_writers(database: ShardDatabase) -> int:
    """End the sessions of all batchers, as an operator or a failover does; how many there were."""
    return one_value(
        database.owner_dsn,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(application_name, 'tallystick writer')",
    )
