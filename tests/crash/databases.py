"""Real databases for the tests of faults: a server in a folder of its own, one shard in each database."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import psycopg

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.store.migrate import migrate
from tallystick.verify.log import verify_shard

SHARD = 1
TEMPLATE = "shard_template"
WAIT_SECONDS_MAX = 60.0
POLL_INTERVAL_SECONDS = 0.01

_numbers = count(1)


class ShardDatabase(NamedTuple):
    """One shard's database: its address as the owner, and as the role that the server uses."""

    owner_dsn: str
    server_dsn: str


@contextmanager
def temporary_server(
    *, durable: bool = False, settings: Mapping[str, str] | None = None
) -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL server with an empty shard to copy; it is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-faults-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "postgres", durable=durable, settings=settings)
    try:
        server.start()
        server.create_database(TEMPLATE)
        migrate(server.dsn(TEMPLATE), SHARD)
        yield server
    finally:
        server.remove()
        shutil.rmtree(folder)


@contextmanager
def temporary_database(server: EmbeddedPostgres, template: str = TEMPLATE) -> Iterator[ShardDatabase]:
    """An empty shard, or a copy of another one; it is dropped at the end."""
    name = f"shard_{next(_numbers)}"
    server.create_database(name, template=template)
    try:
        yield ShardDatabase(server.dsn(name), server.dsn(name, role="tallystick_login"))
    finally:
        server.drop_database(name)


def wait_for(condition: Callable[[], bool], what: str, seconds_max: float = WAIT_SECONDS_MAX) -> None:
    """Poll until something is so."""
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds_max:.0f} s: {what}"
        time.sleep(POLL_INTERVAL_SECONDS)


def one_value(dsn: str, query: str, *parameters: object) -> int:
    """The one number that a query answers with."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return int(row[0])


def assert_whole(database: ShardDatabase) -> None:
    """Everything that `tallystick verify` recomputes is right."""
    report = verify_shard(database.server_dsn, SHARD)
    assert report.ok, report.problems


def open_transactions(database: ShardDatabase) -> int:
    """How many sessions of batchers are inside a database transaction, so that the next batch would wait."""
    return one_value(
        database.owner_dsn,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'tallystick writer' AND state <> 'idle'",
    )


def terminate_writers(database: ShardDatabase) -> int:
    """End the sessions of all batchers, as an operator or a failover does; how many there were."""
    return one_value(
        database.owner_dsn,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'tallystick writer'",
    )
