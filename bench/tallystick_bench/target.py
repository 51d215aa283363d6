"""The database that is measured: an existing one, or a temporary server."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from psycopg.rows import TupleRow

from tallystick.domain.access import ALL_SCOPES
from tallystick.domain.identifiers import Prefix, parse_identifier
from tallystick.embedded.errors import EmbeddedServerError
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.embedded.temporary_folders import abandoned, claim
from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.service.api_keys import KeyManagement, create_key
from tallystick.service.authentication import DEFAULT_TENANT
from tallystick.service.configuration import read_owner_configuration
from tallystick.service.owners_directory import owners_directory
from tallystick.store.migrate import migrate, shard_number
from tallystick_bench.errors import BenchError
from tallystick_bench.queries import query

_DATABASE: Final = "tallystick"
_PREFIX: Final = "tallystick-bench-"


class LogState(msgspec.Struct, frozen=True):
    """The last position of the log, and its size on disk, indexes included."""

    position: int
    batch: int
    size_bytes: int


class Target(msgspec.Struct, frozen=True):
    """One shard's database: how the ledger connects, and statements of the benchmark itself."""

    shard: int
    dsn: str
    owner_dsn: str
    temporary: bool
    cache: str | None = None

    def fetch(self, name: str, parameters: tuple[Any, ...] = ()) -> TupleRow:
        """Run a named query that returns one row."""
        with psycopg.connect(self.owner_dsn, autocommit=True) as connection:
            row = connection.execute(query(name), parameters).fetchone()
        if row is None:
            raise BenchError(f"the query {name} returned nothing: this is a bug")
        return row

    def run(self, name: str, parameters: dict[str, Any] | None = None) -> None:
        """Run named statements; several in one file when there are no parameters."""
        with psycopg.connect(self.owner_dsn, autocommit=True) as connection:
            connection.execute(query(name), parameters)

    async def make_tenant(self, name: str) -> int:
        """The number of a tenant, which is made if it does not exist."""
        async with owners_directory({self.shard: self.owner_dsn}) as directory:
            return await directory.make_tenant(name)

    @asynccontextmanager
    async def api_key(self, name: str, tenant: str = DEFAULT_TENANT) -> AsyncIterator[str]:
        """Make an API key that is in force until the end of the block."""
        async with owners_directory({self.shard: self.owner_dsn}) as directory:
            made = await create_key(directory, name, tenant, scopes=ALL_SCOPES)
            try:
                yield made.key
            finally:
                await KeyManagement(directory).revoke(made.id)

    def log_state(self) -> LogState:
        """The log as it is now."""
        position, batch = self.fetch("log_end")
        (size_bytes,) = self.fetch("size")
        return LogState(position, batch, size_bytes)

    def balances(self, accounts: list[str]) -> tuple[int, int]:
        """How many of these accounts ever had a balance, and the sum of their balances."""
        numbers = [parse_identifier(Prefix.ACCOUNT, account) for account in accounts]
        found, total = self.fetch("balances", (numbers,))
        return int(found), int(total)


@contextmanager
def temporary_target(shard: int = 1) -> Iterator[Target]:
    """A temporary PostgreSQL server with durable commits and one shard, removed at the end."""
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    claim(folder)
    server = EmbeddedPostgres(folder, durable=True)
    try:
        server.start()
        server.create_database(_DATABASE)
        migrate(server.dsn(_DATABASE), shard)
        yield Target(shard, server.dsn(_DATABASE, role=LOGIN_ROLE), server.dsn(_DATABASE), temporary=True)
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned() -> None:
    """Remove what killed measurements left behind, with the servers that run there."""
    for folder in abandoned(Path(tempfile.gettempdir()), f"{_PREFIX}*", {os.geteuid()}):
        # Servers of other users cannot be ended here.
        with suppress(EmbeddedServerError, OSError):
            server = EmbeddedPostgres(folder, durable=True)
            server.kill()
            server.remove()
            shutil.rmtree(folder)


@contextmanager
def temporary_targets(number: int) -> Iterator[list[Target]]:
    """Temporary PostgreSQL servers with durable commits, each with one shard, removed at the end."""
    with ExitStack() as servers:
        yield [servers.enter_context(temporary_target(shard)) for shard in range(1, number + 1)]


@contextmanager
def existing_target(dsn: str | None, configuration_path: Path | None) -> Iterator[Target]:
    """An existing database. The tables of the baselines are dropped at the end; accounts and transfers stay."""
    target = _configured(configuration_path) if configuration_path is not None else _named(dsn or "")
    try:
        yield target
    finally:
        target.run("drop_baselines")


def _named(dsn: str) -> Target:
    return Target(_number(dsn), dsn, dsn, temporary=False)


def _configured(path: Path) -> Target:
    # Only the first shard is measured. The workload `cross` measures crossing.
    shard = read_owner_configuration(path).shards[0]
    return Target(_number(shard.dsn), shard.dsn, shard.owner, temporary=False)


def _number(dsn: str) -> int:
    return asyncio.run(shard_number(dsn))


@contextmanager
def cached(database: AbstractContextManager[Target]) -> Iterator[Target]:
    """A target with a cache of its own, during the measurement."""
    with database as target, tempfile.TemporaryDirectory(prefix="tallystick-bench-cache-") as folder:
        valkey = EmbeddedValkey(Path(folder) / "valkey")
        try:
            valkey.start()
            yield msgspec.structs.replace(target, cache=valkey.address)
        finally:
            valkey.stop()
