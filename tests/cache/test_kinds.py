"""Valkey and Redis, with passwords and users, and with TLS: what is asked of a cache works with each."""

import asyncio
import itertools
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import redis
import trustme
from structlog.testing import capture_logs

from tallystick import Ledger
from tests.cache.books import opened, paid, seen, until_cached
from tests.cache.conftest import serving
from tests.cache.servers import ALL, EACH_REDIS, VALKEY, CacheServer, Program
from tests.ports import own_port
from tests.waiting import until

At = Callable[[str], AbstractAsyncContextManager[Ledger]]


@pytest.fixture
def ledger_with(dsns: dict[int, str], patient: None, every_alarm_is_logged: None) -> At:
    """A ledger with the cache at an address."""

    @asynccontextmanager
    async def ledger(address: str) -> AsyncIterator[Ledger]:
        async with serving(dsns, address) as engine:
            yield Ledger(engine, 1)

    return ledger


async def works(ledger: Ledger) -> None:
    alice, bob = await opened(ledger, "alice", 2)
    await paid(ledger, alice, bob, 5, secrets.token_hex())
    (found,) = await until_cached(ledger, bob)
    assert found.balance == 5


async def is_done_without(ledger: Ledger, says: str) -> None:
    """Everything is answered, from PostgreSQL, and alarms say why."""
    alice, bob = await opened(ledger, "alice", 2)
    numbers = itertools.count(1)
    with capture_logs() as logs:

        async def said() -> bool:
            number = next(numbers)
            posted = await paid(ledger, alice, bob, 1, secrets.token_hex())
            found = await seen(ledger, bob)
            assert (found.balance, found.position, found.source) == (number, posted.position, "database")
            alarms = [line for line in logs if line["event"] == "ALARM: balances are read from PostgreSQL"]
            return number >= 5 and says in str(alarms)

        # It is asked now and then: it failed a moment ago.
        await until(said)
    assert "SECRET" not in str(logs)


@pytest.mark.slow
@pytest.mark.parametrize("program", ALL)
async def test_a_password(ledger_with: At, program: Program, tmp_path: Path) -> None:
    with CacheServer(program, tmp_path / "server", "requirepass SECRET%") as server:
        host = f"127.0.0.1:{server.port}"
        async with ledger_with(f"valkey://:SECRET%25@{host}/3") as ledger:
            await works(ledger)
        server.log_in(None, "SECRET%")
        assert server.client.dbsize() == 0
        for address in (f"valkey://{host}", f"valkey://:SECRETWRONG@{host}", f"valkey://me:SECRET%25@{host}"):
            async with ledger_with(address) as ledger:
                await is_done_without(ledger, "cannot be reached")


@pytest.mark.parametrize("program", ALL)
async def test_a_user_who_may_do_no_more_than_is_documented(
    ledger_with: At, program: Program, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reading-balances.md").read_text()
    (rule,) = [line.strip() for line in page.splitlines() if line.startswith("ACL SETUSER tallystick ")]
    with CacheServer(program, tmp_path / "server") as server:
        command = rule.replace(">password", ">SECRET").split()
        server.client.execute_command(*command)  # type: ignore[no-untyped-call]  # of the driver
        async with ledger_with(f"redis://tallystick:SECRET@127.0.0.1:{server.port}") as ledger:
            await works(ledger)
        server.log_in("tallystick", "SECRET")
        with pytest.raises(redis.exceptions.NoPermissionError):
            server.client.flushall()
        server.log_in("tallystick", "SECRET")
        with pytest.raises(redis.exceptions.NoPermissionError):
            server.client.set("other", "key")


class Encrypted:
    """A Valkey behind TLS, which ends in front of it, and the files with which it is asked."""

    def __init__(self, port: int, ca_path: str, certificate_path: str) -> None:
        self.port = port
        self.ca_path = ca_path
        self.certificate_path = certificate_path


@pytest.fixture
async def encrypted(tmp_path: Path) -> AsyncIterator[Encrypted]:
    """It is for 127.0.0.1, and wants a certificate of whoever asks."""
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    ca.issue_cert("tallystick.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    with CacheServer(VALKEY, tmp_path / "server") as server:

        async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

        terminator = await asyncio.start_server(passing, "127.0.0.1", ssl=context)
        port = terminator.sockets[0].getsockname()[1]
        yield Encrypted(port, str(tmp_path / "ca.pem"), str(tmp_path / "client.pem"))
        terminator.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    except OSError:
        return
    finally:
        writer.close()


@pytest.mark.slow
async def test_tls(ledger_with: At, encrypted: Encrypted, tmp_path: Path) -> None:
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    client = f"ssl_certfile={encrypted.certificate_path}&ssl_keyfile={encrypted.certificate_path}"
    host = f"127.0.0.1:{encrypted.port}"
    async with ledger_with(f"valkeys://{host}/0?ssl_ca_certs={encrypted.ca_path}&{client}") as ledger:
        await works(ledger)
    for wrong in (
        f"valkeys://{host}?{client}",
        f"valkeys://{host}?ssl_ca_certs={tmp_path / 'other.pem'}&{client}",
        f"valkeys://{host}?ssl_ca_certs={encrypted.ca_path}",
        # It is certified by its number, and not by this name.
        f"valkeys://localhost:{encrypted.port}?ssl_ca_certs={encrypted.ca_path}&{client}",
        f"valkey://{host}",
    ):
        async with ledger_with(wrong) as ledger:
            await is_done_without(ledger, "cannot be reached")
    async with ledger_with(
        f"rediss://localhost:{encrypted.port}?ssl_ca_certs={encrypted.ca_path}&ssl_check_hostname=no&{client}"
    ) as ledger:
        await works(ledger)


@pytest.fixture
def loading(tmp_path: Path) -> Iterator[CacheServer]:
    """A server that takes twenty seconds to load what it has saved, unless it is told to hurry."""
    with CacheServer(VALKEY, tmp_path / "server") as server:
        server.client.config_set("rdbcompression", "no")
        server.client.mset({f"other {number}": "x" * 1024 for number in range(4000)})
        server.client.save()
        server.kill()
        server.set("loading-process-events-interval-bytes 1024", "key-load-delay 5000")
        server.start()
        yield server


async def test_it_is_loading(ledger_with: At, loading: CacheServer) -> None:
    async with ledger_with(loading.address) as ledger:
        await is_done_without(ledger, "loading the dataset")
        loading.client.config_set("key-load-delay", 0)
        await until_cached(ledger, *await opened(ledger, "alice", 1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["server", "sentinel", "cluster"])
@pytest.mark.parametrize("program", EACH_REDIS[1:])
async def test_servers_that_know_tls_themselves(
    ledger_with: At, kind: str, program: Program, tmp_path: Path
) -> None:
    """Also where Sentinels and nodes tell of others, who are reached with TLS then."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    port = own_port()
    files = (
        f"tls-cert-file {tmp_path / 'server.pem'}",
        f"tls-key-file {tmp_path / 'server.pem'}",
        f"tls-ca-cert-file {tmp_path / 'ca.pem'}",
        "tls-auth-clients no",
        "tls-replication yes",
    )
    settings = {
        "server": (),
        "sentinel": (f"sentinel monitor main 127.0.0.1 {port} 1",),
        "cluster": ("cluster-enabled yes", "tls-cluster yes", f"cluster-port {own_port()}"),
    }[kind]
    secret = ("requirepass SECRET",)
    with ExitStack() as servers:
        if kind == "sentinel":
            servers.enter_context(CacheServer(program, tmp_path / "master", f"tls-port {port}", *files))
            port = own_port()
        server = servers.enter_context(
            CacheServer(
                program,
                tmp_path / kind,
                f"tls-port {port}",
                *files,
                *settings,
                *secret,
                sentinel=kind == "sentinel",
            )
        )
        server.log_in(None, "SECRET")
        if kind == "cluster":
            server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]  # of the driver
        address = {
            "server": f"valkeys://:SECRET@127.0.0.1:{port}",
            "sentinel": f"valkeys+sentinel://127.0.0.1:{port}/main?sentinel_password=SECRET",
            "cluster": f"valkeys+cluster://:SECRET@127.0.0.1:{port}",
        }[kind]
        joined = "&" if "?" in address else "?"
        async with ledger_with(f"{address}{joined}ssl_ca_certs={tmp_path / 'ca.pem'}") as ledger:
            await works(ledger)
        async with ledger_with(address) as ledger:
            await is_done_without(ledger, "cannot be reached")


async def test_nobody_is_there_or_somebody_else(ledger_with: At, tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{own_port()}"
    with CacheServer(VALKEY, tmp_path / "server", "requirepass SECRET") as server:
        alone = f"127.0.0.1:{server.port}"
        for address, says in (
            (f"valkey://:SECRET@{nobody}", "connect"),
            (f"valkey+sentinel://:SECRET@{nobody}/main?sentinel_password=SECRET", "knows a master 'main'"),
            (f"valkey+sentinel://:SECRET@{alone}/main?sentinel_password=SECRET", "unknown command"),
            (f"valkey+cluster://:SECRET@{nobody},{nobody}", "cannot be connected"),
            (f"valkey+cluster://:SECRET@{alone}", "Cluster mode is not enabled"),
            (f"valkey+cluster://:SECRETWRONG@{alone}", "cannot be connected"),
        ):
            async with ledger_with(address) as ledger:
                await is_done_without(ledger, says)
