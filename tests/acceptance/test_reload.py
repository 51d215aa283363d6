"""A running server follows its configuration file: a node and shards are added while it serves."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.service.configuration import (
    Configuration,
    NodeConfiguration,
    ShardConfiguration,
    ShardState,
    write_configuration,
)
from tests.acceptance.processes import COMMAND, call, environment, free_port, run
from tests.awake import awake_clock
from tests.crash.databases import temporary_server
from tests.waiting import wait_for

NODES = {"north": (1, 2), "south": (3, 4)}


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, EmbeddedPostgres]]:
    """Two servers with empty databases."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(temporary_server()) for name in NODES}


class Installation:
    """A configuration file, and a server that follows it."""

    def __init__(self, folder: Path, nodes: dict[str, EmbeddedPostgres]) -> None:
        self._nodes = nodes
        self.path = folder / "tallystick.toml"
        self.log_path = folder / "server.log"
        self.ready: dict[str, Any] = {"url": f"http://127.0.0.1:{free_port()}"}

    def configure(self, *names: str, **states: ShardState) -> None:
        """Write the file with these nodes, all shards open but for those that `states` names: `_2="full"`."""
        write_configuration(
            self.path,
            Configuration(
                node=[
                    NodeConfiguration(
                        name,
                        [
                            self._shard(name, number, states.get(f"_{number}", "open"))
                            for number in NODES[name]
                        ],
                    )
                    for name in names
                ]
            ),
        )

    def _shard(self, node: str, number: int, state: ShardState) -> ShardConfiguration:
        server, database = self._nodes[node], f"shard_{number}"
        return ShardConfiguration(number, server.dsn(database, role=LOGIN_ROLE), server.dsn(database), state)

    def migrate(self) -> None:
        done = run("migrate", "--config", str(self.path))
        assert (done.returncode, done.stderr) == (0, "")

    def start(self) -> subprocess.Popen[bytes]:
        port = self.ready["url"].rsplit(":", 1)[1]
        made = run("keys", "create", "--name", "test", "--scope", "all", "--config", str(self.path))
        self.ready["api_key"] = next(word for word in made.stdout.split() if word.startswith("tally_"))
        with self.log_path.open("wb") as log:
            process = subprocess.Popen(
                [*COMMAND, "serve", "--config", str(self.path), "--port", port, "--workers", "2"],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: b'"event": "serving"' in self.log_path.read_bytes(), "the server listens")
        wait_for(self._is_ready, "the server is ready")
        return process

    def _is_ready(self) -> bool:
        try:
            return call(self.ready, "GET", "/readyz?all")[0] == 200
        except OSError:
            return False

    def logged(self, words: str) -> bool:
        return words in self.log_path.read_text()

    def shards(self) -> set[int]:
        _, health = call(self.ready, "GET", "/readyz")
        return {one["shard"] for one in health["shards"]}

    def open(self, owner: str, asset: str = "USD") -> str:
        status, account = call(self.ready, "POST", "/v1/accounts", {"owner": owner, "asset": asset})
        assert status == 201, account
        return str(account["id"])


@pytest.fixture
def installation(nodes: dict[str, EmbeddedPostgres], tmp_path: Path) -> Iterator[Installation]:
    for name, numbers in NODES.items():
        for number in numbers:
            nodes[name].create_database(f"shard_{number}")
    yield Installation(tmp_path, nodes)
    for name, numbers in NODES.items():
        for number in numbers:
            nodes[name].drop_database(f"shard_{number}")


def shard(account: str) -> int:
    return shard_of(parse_identifier(Prefix.ACCOUNT, account))


class Payments:
    """Pays on and on, and counts what was not answered as it should be."""

    def __init__(self, installation: Installation) -> None:
        self._ready = dict(installation.ready)
        bank = call(self._ready, "POST", "/v1/accounts", {"owner": "bank", "asset": "USD", "kind": "system"})[
            1
        ]["id"]
        other = next(
            account
            for number in range(100)
            if shard(account := installation.open(f"payee {number}")) == shard(bank)
        )
        self._body = {"source": bank, "destination": other, "amount": "1", "asset": "USD"}
        self._stop = threading.Event()
        self.slowest_seconds = 0.0
        self._stack = ExitStack()
        self.statuses: list[int] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._clock = self._stack.enter_context(awake_clock())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._stack.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            started = self._clock.seconds
            key = f"payment {len(self.statuses)}"
            self.statuses.append(call(self._ready, "POST", "/v1/transfers", self._body, key=key)[0])
            self.slowest_seconds = max(self.slowest_seconds, self._clock.seconds - started)


def test_a_node_is_added_while_the_server_pays_on(installation: Installation) -> None:
    installation.configure("north")
    installation.migrate()
    process = installation.start()
    try:
        homes = {owner: installation.open(owner) for owner in (f"early {number}" for number in range(20))}
        with Payments(installation) as payments:
            installation.configure("north", "south")
            wait_for(lambda: installation.logged("run `tallystick migrate`"), "it says what to do")
            assert installation.shards() == {1, 2}
            installation.migrate()
            process.send_signal(signal.SIGHUP)
            # Both workers answer, one after the other.
            wait_for(
                lambda: all(installation.shards() == {1, 2, 3, 4} for _ in range(10)),
                "the new shards are served",
            )
            new = [installation.open(f"new {number}") for number in range(40)]
            assert {shard(account) for account in new} == {1, 2, 3, 4}
            for owner, account in homes.items():
                assert shard(installation.open(owner, "EUR")) == shard(account)
        assert set(payments.statuses) == {201}
        assert payments.slowest_seconds < 5
        assert not installation.logged("Traceback")
        assert (
            installation.log_path.read_text().count("not taken over") <= 2 * 3
        )  # once for each worker and reason
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_states_take_effect_and_what_is_wrong_is_logged_and_ignored(installation: Installation) -> None:
    installation.configure("north")
    installation.migrate()
    process = installation.start()
    try:
        right = installation.path.read_text()
        for text, words in (
            ("[[node]", "not taken over"),
            (right.replace("number = 2", "number = 3"), "shard 2 is missing: it is still served"),
            (right.replace("/shard_2?", "/shard_9?"), "the dsn of shard 2 was changed"),
            (f"saga_wait_seconds = 1.0\n{right}", "saga_wait_seconds was changed"),
            (f"webhooks_allow_private = true\n{right}", "webhooks_allow_private was changed"),
        ):
            installation.path.write_text(text)
            wait_for(lambda said=words: installation.logged(said), words)  # type: ignore[misc]  # of a default in a lambda
            assert installation.shards() == {1, 2}
            installation.open(f"owner beside {words}")
        installation.path.unlink()
        wait_for(lambda: installation.logged("there is no configuration file"), "a missing file is said")
        installation.configure("north", _1="full")
        installation.migrate()
        wait_for(
            lambda: {shard(installation.open(f"new {time.monotonic_ns()}")) for _ in range(10)} == {2},
            "new owners go to the other shard",
        )
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_nothing_is_served_with_a_configuration_that_does_not_fit(installation: Installation) -> None:
    installation.configure("north", "south")
    installation.migrate()
    text = installation.path.read_text()

    def refused(changed: str) -> str:
        installation.path.write_text(changed)
        done = run("serve", "--config", str(installation.path), "--port", str(free_port()))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        return done.stderr

    installation.configure("north")
    assert "shard 3 is missing" in refused(installation.path.read_text())
    assert "is that of shard 4" in refused(
        text.replace("/shard_3?", "/shard_x?")
        .replace("/shard_4?", "/shard_3?")
        .replace("/shard_x?", "/shard_4?")
    )
    assert "shard 4 is listed twice" in refused(text.replace("number = 3", "number = 4"))
    assert "configured for shard 5 is that of shard 4" in refused(text.replace("number = 4", "number = 5"))
    assert "the database is missing" in refused(text.replace("/shard_4?", "/nowhere?"))
    assert "same database" in refused(text.replace("/shard_4?", "/shard_3?"))
