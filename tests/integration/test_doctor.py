"""`tallystick doctor`: each check says what is wrong with real servers whose settings were made wrong on purpose."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import psycopg
import pytest
import trustme
from psycopg import sql
from psycopg.conninfo import make_conninfo
from tests.acceptance.processes import run
from tests.cache.servers import VALKEY, CacheServer
from tests.crash.databases import ShardDatabase, name_of, temporary_database, temporary_server
from tests.existing_postgres.servers import Binaries, ExistingPostgres, all_binaries
from tests.ports import HOST, own_port
from tests.webhook_keys import key_file

from tallystick.domain import limits
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_binaries import find_binaries
from tallystick.embedded.server_account import account_for
from tallystick.ledger.clock import Clock
from tallystick.service.configuration import (
    OWNER_FILE,
    Configuration,
    ShardConfiguration,
    write_configuration,
)
from tallystick.service.doctor.findings import Finding, Severity
from tallystick.service.doctor.installation import examine_installation
from tallystick.service.doctor.shard_checks import disk_room
from tallystick.service.migration import unite_shards

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GIB: Final = 2**30


class Installation(NamedTuple):
    """A shard that is set up well, but for what a test changes."""

    server: EmbeddedPostgres
    database: ShardDatabase
    path: Path

    async def examine(self, processes: int = 1) -> list[Finding]:
        return await examine_installation(self.path, None, processes)

    async def finding(self, check: str, processes: int = 1, about: str | None = None) -> Finding:
        """What one check says."""
        found = [one for one in await self.examine(processes) if one.check == check]
        chosen = [one for one in found if about is None or one.about == about]
        assert len(chosen) == 1, await self.examine(processes)
        return chosen[0]

    def configure(self, **changed: object) -> None:
        write(self.path, self.database.server_dsn, **changed)

    @contextmanager
    def altered(self, *statements: str) -> Iterator[None]:
        """Statements of an administrator, in the database; a setting of the server counts at once."""
        self.execute(*statements)
        try:
            yield
        finally:
            name = sql.Identifier(name_of(self.database)).as_string(None)
            self.execute(
                "ALTER SYSTEM RESET ALL",
                f"ALTER ROLE tallystick_login IN DATABASE {name} RESET ALL",
                "ALTER ROLE tallystick_login CONNECTION LIMIT -1",
                f"ALTER DATABASE {name} CONNECTION LIMIT -1",
                "GRANT tallystick_server TO tallystick_login",
            )

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.database.owner_dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.replace("{database}", f'"{name_of(self.database)}"').encode())
            connection.execute("SELECT pg_reload_conf()")


def write(path: Path, dsn: str, **changed: object) -> None:
    told = {"webhooks_key_file": key_file(path.parent), **changed}
    write_configuration(path, msgspec.structs.replace(Configuration([ShardConfiguration(1, dsn)]), **told))


@pytest.fixture(scope="module")
def durable() -> Iterator[EmbeddedPostgres]:
    with temporary_server(durable=True, on_disk=False) as server:
        yield server


@pytest.fixture
def installation(durable: EmbeddedPostgres, tmp_path: Path) -> Iterator[Installation]:
    with temporary_database(durable) as database:
        made = Installation(durable, database, tmp_path / "tallystick.toml")
        made.configure()
        unite_shards(Configuration([ShardConfiguration(1, database.owner_dsn)]))
        yield made


async def test_what_is_set_up_well_is_fine(installation: Installation) -> None:
    found = await installation.examine()
    assert [one for one in found if one.severity is Severity.WRONG] == []
    # There is no standby, as in most tests, and the role of servers does not see where the data are.
    assert [(one.check, one.severity) for one in found if one.severity is not Severity.FINE] == [
        ("synchronous standby", Severity.WARNING),
        ("disk", Severity.UNKNOWN),
    ]


@pytest.mark.parametrize(
    ("statement", "check", "severity", "says"),
    [
        ("ALTER SYSTEM SET fsync = off", "fsync", Severity.WRONG, "ALTER SYSTEM SET fsync = 'on'"),
        ("ALTER SYSTEM SET full_page_writes = off", "full page writes", Severity.WRONG, "half written"),
        ("ALTER SYSTEM SET autovacuum = off", "autovacuum", Severity.WRONG, "autovacuum is off"),
        ("ALTER SYSTEM SET synchronous_commit = off", "synchronous commit", Severity.WRONG, "may be lost"),
        (
            "ALTER ROLE tallystick_login IN DATABASE {database} SET synchronous_commit = off",
            "synchronous commit", Severity.WRONG, "may be lost",
        ),
        ("ALTER SYSTEM SET zero_damaged_pages = on", "damaged pages", Severity.WRONG, "zero_damaged_pages is on"),
        (
            "ALTER SYSTEM SET ignore_checksum_failure = on",
            "damaged pages", Severity.WRONG, "ignore_checksum_failure is on",
        ),
        (
            "ALTER ROLE tallystick_login IN DATABASE {database} SET idle_session_timeout = '1h'",
            "time limits", Severity.WARNING, "idle_session_timeout is 3600000 ms",
        ),
        ("ALTER SYSTEM SET lock_timeout = '2s'", "time limits", Severity.WARNING, "lock_timeout is 2000 ms"),
        ("ALTER SYSTEM SET transaction_timeout = '5s'", "time limits", Severity.WARNING, "transaction_timeout"),
        (
            "ALTER ROLE tallystick_login CONNECTION LIMIT 5",
            "connections", Severity.WRONG, "CONNECTION LIMIT of the role allows 5",
        ),
        (
            "ALTER DATABASE {database} CONNECTION LIMIT 5",
            "connections", Severity.WRONG, "CONNECTION LIMIT of a database allows 5",
        ),
        (
            "REVOKE tallystick_server FROM tallystick_login",
            "rights and schema", Severity.WRONG, "not a member of tallystick_server",
        ),
        ("ALTER TABLE entries DISABLE TRIGGER ALL", "rights and schema", Severity.WRONG, "tallystick migrate"),
    ],
)  # fmt: skip
async def test_what_was_made_wrong_is_named(
    installation: Installation, statement: str, check: str, severity: Severity, says: str
) -> None:
    assert (await installation.finding(check)).severity is Severity.FINE
    with installation.altered(statement):
        found = await installation.finding(check)
    assert found.severity is severity
    assert says in found.text
    assert found.about == "shard 1"


async def test_a_commit_that_does_not_wait_for_the_standbys_disk(installation: Installation) -> None:
    # The statements come before the reload: afterwards each commit of these sessions would wait for the standby.
    with installation.altered(
        "ALTER SYSTEM SET synchronous_commit = local",
        "ALTER SYSTEM SET synchronous_standby_names = 'one'",
    ):
        assert (await installation.finding("synchronous standby")).severity is Severity.FINE
        found = await installation.finding("synchronous commit")
        assert found.severity is Severity.WARNING
        assert "synchronous_commit is local" in found.text


async def test_more_processes_than_connections(installation: Installation) -> None:
    assert (await installation.finding("connections", processes=4)).severity is Severity.FINE
    found = await installation.finding("connections", processes=5)
    assert found.severity is Severity.WRONG
    assert "5 x 1 x 14 = 70" in found.text
    assert "allows 57" in found.text


async def test_a_process_opens_no_more_connections_than_are_counted_for_it() -> None:
    """The number above is not a guess: docs/existing-postgres.md lists what it is made of."""
    page = (Path(__file__).parents[2] / "docs" / "existing-postgres.md").read_text(encoding="utf-8")
    table = page.partition("| for each shard, in each process of `serve`")[2].partition("\n\n")[0]
    counted = [row.rsplit("|", 2)[1].strip() for row in table.splitlines()[2:]]
    assert sum(int(number) for number in counted if number.isdigit()) == 14


async def test_settings_of_a_start(tmp_path: Path) -> None:
    settings = {"wal_level": "minimal", "max_wal_senders": "0"}
    with temporary_server(durable=True, settings=settings, on_disk=False) as server:
        server.stop()
        account = account_for(server.cluster_path)
        program = find_binaries(account).program("pg_checksums")
        done = account.run([program, "--disable", "-D", server.cluster_path])
        assert done.returncode == 0, done.stderr
        server.start()
        with temporary_database(server) as database:
            installation = Installation(server, database, tmp_path / "tallystick.toml")
            installation.configure()
            level = await installation.finding("write ahead log")
            assert (level.severity, "wal_level is minimal" in level.text) == (Severity.WARNING, True)
            checksums = await installation.finding("data checksums")
            assert (checksums.severity, "pg_checksums --enable" in checksums.text) == (Severity.WARNING, True)


async def test_a_server_that_does_not_run(installation: Installation) -> None:
    installation.path.write_text(
        f'webhooks_key_file = "{key_file(installation.path.parent)}"\n'
        f'[[shard]]\nnumber = 1\ndsn = "host={HOST} port={own_port()} dbname=none user=none"\n'
    )
    found = await installation.finding("reachable")
    assert (found.about, found.severity) == ("shard 1", Severity.WRONG)
    assert (await installation.finding("recorded shards")).severity is Severity.UNKNOWN


async def test_servers_that_connect_as_the_owner(installation: Installation) -> None:
    write(installation.path, installation.database.owner_dsn)
    found = await installation.finding("protection of the log")
    assert found.severity is Severity.WARNING
    assert "is a superuser" in found.text


@pytest.mark.parametrize(
    ("seconds", "severity"), [(3, Severity.WARNING), (60, Severity.WRONG), (-60, Severity.WRONG)]
)
async def test_a_clock_that_is_wrong(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, seconds: int, severity: Severity
) -> None:
    assert (await installation.finding("clocks")).severity is Severity.FINE
    right_us = Clock.own_us
    monkeypatch.setattr(Clock, "own_us", staticmethod(lambda: right_us() - seconds * 1_000_000))
    found = await installation.finding("clocks")
    assert found.severity is severity
    # The database read its clock a moment ago.
    assert re.search(rf"differ by ({abs(seconds)}|{abs(seconds) - 1}\.\d)", found.text), found.text
    assert "NTP" in found.text


async def test_the_disk_of_a_server_on_this_machine(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = installation.path.with_name(OWNER_FILE)
    owner.write_text(f'[[shard]]\nnumber = 1\nowner_dsn = "{installation.database.owner_dsn}"\n')
    owner.chmod(0o600)
    monkeypatch.setattr(limits, "FREE_DISK_BYTES_MIN", 0)
    monkeypatch.setattr(limits, "FREE_DISK_PART_MIN", 0.0)
    monkeypatch.setattr(limits, "FREE_DISK_PART_LOW", 0.0)
    found = await installation.finding("disk")
    assert (found.severity, str(installation.server.cluster_path) in found.text) == (Severity.FINE, True)
    monkeypatch.setattr(limits, "FREE_DISK_BYTES_MIN", 2**60)
    assert (await installation.finding("disk")).severity is Severity.WRONG


@pytest.mark.parametrize(
    ("free", "total", "severity"),
    [
        (50 * GIB, 100 * GIB, Severity.FINE),
        (10 * GIB, 100 * GIB, Severity.WARNING),
        (4 * GIB, 100 * GIB, Severity.WRONG),
        (GIB // 2, 2 * GIB, Severity.WRONG),
    ],
)
def test_how_much_room_is_enough(free: int, total: int, severity: Severity) -> None:
    assert disk_room(free, total, "/data").severity is severity


# Files


@pytest.mark.parametrize(
    ("mode", "severity", "says"),
    [
        (0o640, Severity.FINE, "mode 640"),
        (0o644, Severity.WRONG, "chmod o="),
        (0o660, Severity.WRONG, "chmod go-w"),
    ],
)
async def test_the_rights_of_the_configuration_file(
    installation: Installation, mode: int, severity: Severity, says: str
) -> None:
    installation.path.chmod(mode)
    found = await installation.finding("configuration file")
    assert (found.severity, says in found.text) == (severity, True)


async def test_a_file_without_secrets_may_be_read_by_all(installation: Installation) -> None:
    installation.path.write_text('[[shard]]\nnumber = 1\ndsn = "host=/nowhere dbname=a user=b"\n')
    installation.path.chmod(0o644)
    assert (await installation.finding("configuration file")).severity is Severity.FINE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
async def test_the_rights_of_the_owners_file(installation: Installation) -> None:
    owner = installation.path.with_name(OWNER_FILE)
    owner.write_text("")
    owner.chmod(0o640)
    found = await installation.finding("owner file")
    assert (found.severity, "belong to one user" in found.text) == (Severity.WARNING, True)
    os.chown(owner, 1, 1)
    assert (await installation.finding("owner file")).severity is Severity.FINE
    owner.chmod(0o644)
    assert (await installation.finding("owner file")).severity is Severity.WRONG


async def test_the_keys_of_webhooks(installation: Installation) -> None:
    assert (await installation.finding("secrets")).severity is Severity.FINE
    (installation.path.parent / "webhook_keys").unlink()
    found = await installation.finding("secrets")
    assert (found.severity, "webhooks_key_file" in found.text) == (Severity.WRONG, True)


async def test_a_shard_that_the_file_lacks(
    installation: Installation, durable: EmbeddedPostgres, tmp_path: Path
) -> None:
    with temporary_database(durable, number=2) as second:
        both = [
            ShardConfiguration(1, installation.database.owner_dsn),
            ShardConfiguration(2, second.owner_dsn),
        ]
        unite_shards(Configuration(both))
        found = await installation.finding("recorded shards")
        assert (found.severity, "shard 2 is missing" in found.text) == (Severity.WRONG, True)


async def test_two_phase_commit_without_room_for_it(installation: Installation) -> None:
    installation.configure(cross_shard="two_phase")
    assert (await installation.finding("crossing")).severity is Severity.FINE
    settings = {"max_prepared_transactions": "0"}
    with temporary_server(settings=settings) as server, temporary_database(server) as database:
        write(installation.path, database.server_dsn, cross_shard="two_phase")
        found = await installation.finding("crossing")
    assert (found.severity, "max_prepared_transactions = 1" in found.text) == (Severity.WRONG, True)


# The cache


@pytest.mark.parametrize(
    ("settings", "severity", "says"),
    [
        ([], Severity.FINE, "64 MiB, allkeys-lru"),
        (["maxmemory 0"], Severity.WARNING, "no bound"),
        (["maxmemory-policy noeviction"], Severity.WRONG, "maxmemory-policy is noeviction"),
    ],
)
async def test_the_memory_of_the_cache(
    installation: Installation, tmp_path: Path, settings: list[str], severity: Severity, says: str
) -> None:
    with CacheServer(VALKEY, tmp_path / "cache", *settings) as cache:
        installation.configure(cache=cache.address)
        found = await installation.finding("cache memory")
        assert (found.severity, says in found.text) == (severity, True)
        assert (await installation.finding("cache version")).text.startswith("Valkey 9")
        assert (await installation.finding("seals")).severity is Severity.WARNING
        installation.configure(cache=cache.address, cache_key="k" * 32)
        assert (await installation.finding("seals")).severity is Severity.FINE


async def test_a_cache_that_is_away_and_one_that_refuses(installation: Installation, tmp_path: Path) -> None:
    with CacheServer(VALKEY, tmp_path / "cache", "requirepass secret") as cache:
        for address in (cache.address, f"valkey://{HOST}:{own_port()}"):
            installation.configure(cache=address)
            found = await installation.finding("reachable", about="cache")
            assert (found.severity, "balances are read from PostgreSQL" in found.text) == (
                Severity.WRONG,
                True,
            )


async def test_a_user_of_the_cache_who_may_do_no_more_than_is_documented(
    installation: Installation, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reading-balances.md").read_text(encoding="utf-8")
    (rule,) = [line.strip() for line in page.splitlines() if line.startswith("ACL SETUSER tallystick ")]
    with CacheServer(VALKEY, tmp_path / "cache") as cache:
        cache.client.execute_command(*rule.replace(">password", ">SECRET").split())  # type: ignore[no-untyped-call]
        installation.configure(cache=f"valkey://tallystick:SECRET@{HOST}:{cache.port}")
        found = await installation.finding("memory")
        assert (found.about, found.severity) == ("cache", Severity.UNKNOWN)


# Certificates


def certificates(folder: Path, days: int) -> Path:
    """A certificate of a server, with its key and its authority, that is valid for so many days more."""
    authority = trustme.CA()
    now = datetime.now(UTC)
    issued = authority.issue_cert(
        HOST, not_before=now - timedelta(days=400), not_after=now + timedelta(days=days, hours=1)
    )
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    (folder / "server.pem").chmod(0o600)
    return folder


@pytest.mark.parametrize(
    ("days", "severity", "says"),
    [
        (100, Severity.FINE, "is valid until"),
        (5, Severity.WARNING, "in 5 days"),
        (-5, Severity.WRONG, "expired at"),
    ],
)
async def test_a_file_with_certificates(
    installation: Installation, tmp_path: Path, days: int, severity: Severity, says: str
) -> None:
    folder = certificates(tmp_path, days)
    installation.configure(webhooks_ca_file=str(folder / "server.pem"))
    found = await installation.finding("certificate")
    assert (found.about, found.severity, says in found.text) == (str(folder / "server.pem"), severity, True)


def with_tls() -> list[object]:
    """Versions of PostgreSQL that speak TLS: the embedded one does not."""
    found: list[object] = [pytest.param(one, id=str(one)) for one in all_binaries() if one.folder is not None]
    why = "the embedded PostgreSQL has no TLS: apt-get install postgresql-15"
    return found or [pytest.param(None, id="none", marks=pytest.mark.skip(reason=why))]


@pytest.mark.parametrize("binaries", with_tls())
@pytest.mark.parametrize(
    ("days", "severity"), [(100, Severity.FINE), (5, Severity.WARNING), (-5, Severity.WRONG)]
)
async def test_the_certificate_of_a_server(
    tmp_path: Path, binaries: Binaries, days: int, severity: Severity
) -> None:
    port = own_port()
    with ExitStack() as cleanup:
        server = ExistingPostgres(binaries, port=port)
        cleanup.callback(server.remove)
        folder = certificates(server.folder, days)
        server.account.give(folder / "server.pem")
        server._settings = (
            f"listen_addresses={HOST}", "ssl=on",
            f"ssl_cert_file={folder / 'server.pem'}", f"ssl_key_file={folder / 'server.pem'}",
        )  # fmt: skip
        server.start()
        dsn = make_conninfo(server.dsn(), host=HOST, sslmode="require")
        path = tmp_path / "tallystick.toml"
        write(path, dsn)
        found = [one for one in await examine_installation(path, None, 1) if one.check == "certificate"]
        assert [(one.about, one.severity) for one in found] == [(f"{HOST}:{port}", severity)]
        write(path, make_conninfo(dsn, sslmode="disable"))
        assert not [one for one in await examine_installation(path, None, 1) if one.check == "certificate"]


# The command


def test_the_command_says_what_to_do(installation: Installation) -> None:
    done = run("doctor", folder=installation.path.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert "synchronous standby" in done.stdout
    assert "fsync" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("0 wrong, 1 warning, 1 unknown, ")
    with installation.altered("ALTER SYSTEM SET lock_timeout = '2s'"):
        more = run("doctor", folder=installation.path.parent)
        assert more.stdout.splitlines()[-1].startswith("0 wrong, 2 warnings, 1 unknown, ")
    assert "fsync" in run("doctor", "--all", folder=installation.path.parent).stdout
    with installation.altered("ALTER SYSTEM SET fsync = off"):
        done = run("doctor", folder=installation.path.parent)
        assert done.returncode == 1
        assert done.stdout.splitlines()[1].startswith("wrong")
        done = run("doctor", "--json", folder=installation.path.parent)
        assert done.returncode == 1
        said = json.loads(done.stdout)
        assert said["ok"] is False
        (wrong,) = [one for one in said["findings"] if one["severity"] == "wrong"]
        assert (wrong["check"], wrong["about"]) == ("fsync", "shard 1")
        assert wrong["text"].endswith("ALTER SYSTEM SET fsync = 'on'; SELECT pg_reload_conf();")
