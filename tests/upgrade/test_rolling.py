"""From one version to the next under load: the schema before the servers, the servers one by one, and what is left.

No request fails beyond what a retry with the same key mends, and no payment is lost or made twice.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.store.queries import query
from tallystick.store.schema_version import known_migrations
from tests.attack.planted import PACKAGE
from tests.crash.api_server import ApiServer
from tests.crash.databases import ShardDatabase, assert_whole
from tests.crash.payers import PROBE_SECONDS, Balancer, Books, Payers, list_assets, make_asset
from tests.upgrade import haproxy
from tests.upgrade.versions import (
    AFTER,
    BEFORE,
    INCOMPATIBLE,
    next_version,
    run_version,
    version_before,
)
from tests.whole import WHOLE, some_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DRAIN_SECONDS: Final = 2
LAST: Final = known_migrations()[-1]
FRONTS: Final = ["a load balancer", *(["haproxy"] if WHOLE or haproxy.PROGRAM else [])]


@contextmanager
def serving(
    folder: Path, database: ShardDatabase, package: Path | None = None
) -> Iterator[tuple[ApiServer, ApiServer]]:
    """Two servers of one version."""
    with ExitStack() as cleanup:
        servers = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            options = ("--drain-seconds", str(DRAIN_SECONDS), "--connections-per-address", "0")
            server = ApiServer(folder / name, database, options=options, package=package)
            cleanup.callback(server.kill)
            server.start()
            servers.append(server)
        yield servers[0], servers[1]


@contextmanager
def loaded(folder: Path, servers: Sequence[ApiServer], front: str) -> Iterator[Payers]:
    """Clients that pay, read and define assets, over a proxy or as a load balancer lets them."""
    books = Books(servers[0])
    beside = (books.read, make_asset, list_assets)
    with ExitStack() as cleanup:
        if front == "haproxy":
            if haproxy.PROGRAM is None:
                pytest.skip("haproxy is not installed")
            proxy = cleanup.enter_context(haproxy.proxy(folder, servers))
            time.sleep(PROBE_SECONDS * 10)
            payers = Payers(books, [proxy], lambda _: [proxy], beside)
        else:
            balancer = cleanup.enter_context(Balancer(servers))
            payers = Payers(books, servers, balancer.choose, beside)
        with payers:
            yield payers
    assert payers.failed == []
    assert payers.attempts.keys() <= {1, 2}
    # None is lost, and none was made twice.
    assert books.paid(servers[0]) == payers.paid


def replace(server: ApiServer, package: Path | None) -> None:
    """Stop a server in order, and start another version in its place."""
    server.ask_to_stop()
    assert server.wait_for_end() == 0
    server.package = package
    server.start()
    # A load balancer must see it.
    time.sleep(PROBE_SECONDS * 10)


@contextmanager
def database_of(postgres: EmbeddedPostgres, package: Path) -> Iterator[ShardDatabase]:
    """An empty shard as another version makes it."""
    postgres.create_database("of_another_version")
    database = ShardDatabase(
        postgres.dsn("of_another_version"), postgres.dsn("of_another_version", role=LOGIN_ROLE)
    )
    statement = "import sys; from tallystick.store.migrate import migrate; migrate(sys.argv[1], 1)"
    done = run_version(package, "-c", statement, database.owner_dsn)
    assert done.returncode == 0, done.stderr
    yield database
    postgres.drop_database("of_another_version")


def migrations_of(database: ShardDatabase) -> set[str]:
    with psycopg.connect(database.owner_dsn) as connection:
        return {name for (name,) in connection.execute(query("applied_migrations"))}


def command(package: Path, server: ApiServer, *arguments: str) -> Callable[[], str]:
    """A command of a version, as a function that returns what it says, or raises what it complains of."""

    def run() -> str:
        config = ("--config", str(server.configuration_path))
        done = run_version(package, "-m", "tallystick.cli", *arguments, *config)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout + done.stderr

    return run


def refuses(run: Callable[[], str], why: str) -> None:
    with pytest.raises(RuntimeError, match=why):
        run()


@pytest.mark.parametrize("front", some_of("the front of an upgrade", FRONTS))
def test_an_upgrade_in_two_halves(
    database: ShardDatabase, following: Path, tmp_path: Path, front: str
) -> None:
    with serving(tmp_path, database) as servers, loaded(tmp_path, servers, front) as payers:
        one, two = servers
        migrate = command(following, one, "migrate")
        before = command(following, one, "migrate", "--before")
        after = command(following, one, "migrate", "--after")
        payers.go_on()

        # In the wrong order nothing is done, and each says what comes first.
        refuses(
            command(following, one, "serve", "--port", str(two.port)), "lacks .*: run `tallystick migrate`"
        )
        refuses(after, f"{BEFORE} comes first: run `tallystick migrate --before`")
        refuses(migrate, f"sessions of servers of an earlier version, which use what {AFTER} takes away")

        assert f"shard 1: {BEFORE}\n" in before()
        payers.go_on()
        # A server of this version that ends meanwhile can be started again.
        replace(one, None)
        assert f"the database has {BEFORE} of a newer version" in one.log_path.read_text(encoding="utf-8")
        replace(one, following)
        payers.go_on()
        assert f"{AFTER} is left to do" in one.log_path.read_text(encoding="utf-8")
        refuses(after, "sessions of servers of an earlier version")
        replace(two, following)
        payers.go_on()

        assert f"shard 1: {AFTER}\n" in after()
        payers.go_on()
        refuses(command(PACKAGE.parent, one, "serve"), f"has {BEFORE}, {AFTER} of a newer version: upgrade")
    command(following, servers[0], "verify")()


def test_a_first_half_that_takes_something_away_is_noticed(database: ShardDatabase, tmp_path: Path) -> None:
    following = next_version(tmp_path / "next", before=INCOMPATIBLE, after="SELECT 1;\n")
    with serving(tmp_path, database) as servers:

        def upgrade() -> None:
            with loaded(tmp_path, servers, "a load balancer") as payers:
                payers.go_on()
                command(following, servers[0], "migrate", "--before")()
                payers.go_on()

        with pytest.raises(AssertionError, match=r"make_asset|list_assets"):
            upgrade()


def test_the_version_before_serves_while_this_one_migrates(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """With the servers of the version before the newest migration, where the history of the repository is here."""
    earlier = version_before(tmp_path / "earlier")
    with database_of(postgres, earlier) as database, serving(tmp_path, database, earlier) as servers:
        assert LAST not in migrations_of(database)
        with loaded(tmp_path, servers, "a load balancer") as payers:
            payers.go_on()
            assert f"shard 1: {LAST}\n" in command(PACKAGE.parent, servers[0], "migrate", "--before")()
            payers.go_on()
            for server in servers:
                replace(server, None)
                payers.go_on()
            assert "nothing to do" in command(PACKAGE.parent, servers[0], "migrate", "--after")()
        assert_whole(database)
