"""Environments made from the wheel: the core alone, the server, everything.

Run by `make installed`, and by nothing else: it fetches packages, and takes a minute or two.
"""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tests.ports import own_port

ROOT = Path(__file__).parents[2]
CORE_BYTES_MAX = 80_000_000
START_SECONDS_MAX = 60

PAYMENT = """
import asyncio
import sys

from tallystick import Ledger

async def main():
    async with Ledger.connect(sys.argv[1]) as ledger:
        alice = await ledger.open_account("alice", "USD", min_balance=None, idempotency_key="a")
        bob = await ledger.open_account("bob", "USD", near=alice.id, idempotency_key="b")
        await ledger.transfer(alice.id, bob.id, 1250, "USD", idempotency_key="order-17")
        print((await ledger.balance(bob.id)).balance)

asyncio.run(main())
"""

Install = Callable[[str], Path]


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Make an environment with the wheel and an extra ("": the core); the folder of its programs."""
    folder = tmp_path_factory.mktemp("installed")
    uv = Path(sys.executable).with_name("uv")
    run(uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    made: dict[str, Path] = {}

    def make(extra: str) -> Path:
        if extra not in made:
            environment = folder / (extra or "core")
            run(sys.executable, "-m", "venv", "--without-pip", environment)
            python = environment / "bin" / "python"
            run(uv, "pip", "install", "--quiet", "--python", python, f"{wheel}[{extra}]" if extra else wheel)
            made[extra] = environment / "bin"
        return made[extra]

    return make


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data", durable=False) as server:
        yield server


@pytest.fixture
def configuration(postgres: EmbeddedPostgres, tmp_path: Path) -> Path:
    """A configuration of one shard, whose database is new and empty."""
    name = f"shard_{time.monotonic_ns()}"
    postgres.create_database(name)
    path = tmp_path / "tallystick.toml"
    path.write_text(f"[[shard]]\nnumber = 1\ndsn = {json.dumps(postgres.dsn(name, role=LOGIN_ROLE))}\n")
    owner = f"[[shard]]\nnumber = 1\nowner_dsn = {json.dumps(postgres.dsn(name))}\n"
    (tmp_path / "owner.toml").write_text(owner)
    (tmp_path / "owner.toml").chmod(0o600)
    return path


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def error_of(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    (line,) = done.stderr.splitlines()
    return line


def test_the_core_is_small(install: Install) -> None:
    packages = next((install("").parent / "lib").glob("python*")) / "site-packages"
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())
    sys.stderr.write(f"the core takes {size / 1e6:.0f} MB\n")
    assert size <= CORE_BYTES_MAX
    assert not list(packages.glob("tallystick_bench*"))


def test_the_core_migrates_pays_and_verifies(install: Install, configuration: Path) -> None:
    programs = install("")
    command = programs / "tallystick"
    migrated = run(command, "migrate", "--config", configuration)
    assert "shard 1: 0001.log" in migrated
    dsn = configuration.read_text().partition("dsn = ")[2].strip()
    assert run(programs / "python", "-c", PAYMENT, json.loads(dsn)) == "1250\n"
    assert json.loads(run(command, "verify", "--config", configuration, "--json"))["ok"]
    wanted = ("--name", "till", "--scope", "all", "--json")
    key = json.loads(run(command, "keys", "create", "--config", configuration, *wanted))
    assert key["key"]


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["serve"], 'pip install "tallystick[server]"'),
        (["webhooks", "list"], 'pip install "tallystick[webhooks]"'),
        (["up"], 'pip install "tallystick[all]"'),
        (["bench"], "run `make bench` in a clone of the repository"),
    ],
)
def test_the_core_says_what_a_command_needs(install: Install, arguments: list[str], remedy: str) -> None:
    assert error_of(install("") / "tallystick", *arguments).endswith(remedy)


def test_the_server_serves_without_what_starts_servers(install: Install, configuration: Path) -> None:
    command = install("server") / "tallystick"
    run(command, "migrate", "--config", configuration)
    port = own_port()
    serving = [str(command), "serve", "--config", str(configuration), "--port", str(port)]
    with subprocess.Popen(serving, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            assert b"openapi" in fetched(f"http://127.0.0.1:{port}/openapi.json")
            assert b"swagger" in fetched(f"http://127.0.0.1:{port}/docs/swagger-ui.css")
        finally:
            server.send_signal(signal.SIGTERM)
    assert server.returncode == 0


def test_a_cache_needs_its_client(install: Install, configuration: Path) -> None:
    command = install("server") / "tallystick"
    run(command, "migrate", "--config", configuration)
    cached = 'cache = "valkey://127.0.0.1:1"\n' + configuration.read_text()
    configuration.write_text(cached)
    dsn_free = "import asyncio, sys; from tallystick import Ledger\n"
    program = dsn_free + (
        "async def main():\n async with Ledger.connect(configuration=sys.argv[1]): pass\n"
        "try: asyncio.run(main())\n"
        "except Exception as error: sys.exit(str(error))"
    )
    said = error_of(install("server") / "python", "-c", program, configuration)
    assert said == 'a cache needs what is not installed (redis): pip install "tallystick[cache]"'


def test_everything_starts_on_one_machine(install: Install, tmp_path: Path) -> None:
    command = [str(install("all") / "tallystick"), "up", "--json", "--data", str(tmp_path / "data")]
    command += ["--port", str(own_port()), "--shards", "1", "--nodes", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            ready = json.loads(started.stdout.readline())
            assert ready["cache"]
            assert fetched(f"{ready['url']}/healthz")
        finally:
            started.send_signal(signal.SIGTERM)
    assert started.returncode == 0


def fetched(url: str) -> bytes:
    """What is served there, as soon as it is."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                body: bytes = answer.read()
                return body
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
