"""A shard on a primary and a synchronous standby: real servers, and what an operator or a failover does to them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_binaries import find_binaries
from tallystick.embedded.postgres_cluster import LOGIN_ROLE, OWNER_ROLE
from tallystick.embedded.server_account import account_for
from tests.crash.databases import (
    QUICK_LOGINS,
    ShardDatabase,
    copy_database,
    one_value,
    shard_template,
    temporary_server,
)
from tests.data_folders import data_folder
from tests.waiting import wait_for

_NAME: Final = "standby"
_DATABASE: Final = "shard_1"
_WAITING: Final = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


class Standby(EmbeddedPostgres):
    """A server that was copied from another one, and follows its log."""

    def _create_roles(self) -> None:
        """They come from the primary."""


class Pair(NamedTuple):
    """The two servers, and the shard on the primary alone: as its owner, and as the role of servers."""

    primary: EmbeddedPostgres
    standby: Standby
    database: ShardDatabase

    @property
    def dsn(self) -> str:
        """The address that names both servers, as the configuration of a server does."""
        return self._of_both(self.database.server_dsn)

    @property
    def owner_dsn(self) -> str:
        """The same, for the owner."""
        return self._of_both(self.database.owner_dsn)

    def _of_both(self, dsn: str) -> str:
        return make_conninfo(dsn, host=",".join(map(socket_folder, (self.primary, self.standby))))

    @property
    def standby_dsn(self) -> str:
        return self.standby.dsn(_DATABASE, role=LOGIN_ROLE)

    def promote(self) -> None:
        """Make the standby a primary, which waits for no other server."""
        with psycopg.connect(self.standby.dsn(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def wait_for_no_standby(self) -> None:
        """Have the primary commit without the standby, which goes on following it."""
        with psycopg.connect(self.primary.dsn(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.execute("SELECT pg_reload_conf()")
        shown = "SELECT count(*) FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting = ''"
        wait_for(lambda: one_value(self.primary.dsn(), shown), "the primary has heard of it")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Until the end of the block the standby shows nothing new. It still receives the log."""
        with psycopg.connect(self.standby.dsn(), autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            state = "SELECT count(*) FROM (SELECT pg_get_wal_replay_pause_state()) AS of (one) WHERE one = 'paused'"
            wait_for(lambda: one_value(self.standby.dsn(), state), "the standby is paused")
            try:
                yield
            finally:
                connection.execute("SELECT pg_wal_replay_resume()")

    # What is seen on the primary.

    def waiting(self) -> int:
        """How many sessions wait for the standby."""
        return one_value(self.database.owner_dsn, f"SELECT count(*) {_WAITING}")

    def cancel_waiting(self) -> int:
        """Cancel what waits for the standby, as an operator may; how many there were."""
        return one_value(self.database.owner_dsn, f"SELECT count(pg_cancel_backend(pid)) {_WAITING}")

    def transfers(self) -> int:
        """How many transfers every client can read."""
        return one_value(self.database.owner_dsn, "SELECT count(*) FROM transactions WHERE kind = 10")


def socket_folder(server: EmbeddedPostgres) -> str:
    return str(conninfo_to_dict(server.dsn())["host"])


def with_servers(dsn: str, *servers: tuple[str, int], **options: str) -> str:
    """The address of the same database on other servers, of which one may be the server of `dsn`."""
    hosts, ports = zip(*servers, strict=True)
    return make_conninfo(dsn, host=",".join(hosts), port=",".join(map(str, ports)), **options)


def own_server(dsn: str) -> tuple[str, int]:
    parts = conninfo_to_dict(dsn)
    return str(parts["host"]), int(str(parts["port"]))


@contextmanager
def replicated_shard() -> Iterator[Pair]:
    """An empty shard, and a standby without which nothing is committed; both are removed at the end."""
    with data_folder(durable=False) as folder, temporary_server() as primary:
        copy_database(primary, _DATABASE, shard_template(primary))
        standby = _copied(primary, folder / "postgres")
        try:
            standby.start()
            _wait_for_it(primary)
            database = ShardDatabase(primary.dsn(_DATABASE), primary.dsn(_DATABASE, role=LOGIN_ROLE))
            yield Pair(primary, standby, database)
        finally:
            standby.remove()


def _copied(primary: EmbeddedPostgres, folder: Path) -> Standby:
    """A standby that does not run yet, with the passwords of the primary."""
    cluster = folder / "cluster"
    cluster.mkdir(parents=True)
    folder.chmod(0o711)
    cluster.chmod(0o700)
    for role in (OWNER_ROLE, LOGIN_ROLE):
        password = f"{role}.password"
        shutil.copy(primary.log_path.with_name(password), folder / password)
    account = account_for(primary.cluster_path)
    account.give(cluster)
    copied = account.run(
        [
            find_binaries(account).program("pg_basebackup"),
            *("--dbname", make_conninfo(primary.dsn(), application_name=_NAME)),
            *("--pgdata", cluster, "--write-recovery-conf", "--checkpoint", "fast", "--no-sync"),
        ]
    )
    assert copied.returncode == 0, copied.stderr
    # It looks for a primary that starts again as often as that.
    return Standby(folder, durable=False, settings={**QUICK_LOGINS, "wal_retrieve_retry_interval": "200ms"})


def _wait_for_it(primary: EmbeddedPostgres) -> None:
    with psycopg.connect(primary.dsn(), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'")
        connection.execute("SELECT pg_reload_conf()")
        # The owner makes roles when the primary starts, and is not what is tested.
        connection.execute(f"ALTER ROLE {OWNER_ROLE} SET synchronous_commit = local")
    state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
    wait_for(lambda: one_value(primary.dsn(), state), "the standby is synchronous")
