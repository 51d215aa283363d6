"""A real server process, as `tallystick serve` runs it, and clients that write down what they were told."""

import http.client
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

import psutil

from tallystick.service.configuration import Configuration, ShardConfiguration, write_configuration
from tests.crash.databases import SHARD, ShardDatabase
from tests.forked import Forked, run_forked
from tests.keys import with_keys
from tests.ports import HOST, own_port
from tests.waiting import wait_for
from tests.webhook_keys import key_file

PROGRAM = "tallystick.cli"
READY_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 60.0
PAGE_ROWS = 500
LOG_CHARACTERS_SHOWN = 4_000


class Answer(NamedTuple):
    """What a client was told: the status, the body byte by byte, and when to come back if that was said."""

    status: int
    body: bytes
    retry_after: str | None = None

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class ApiServer:
    """`tallystick serve` for some shards, on a port of its own; it can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        *databases: ShardDatabase,
        settings: Mapping[str, Any] | None = None,
        program: str = PROGRAM,
        options: Sequence[str] = (),
        anew: bool = False,
        limits: Mapping[str, float] | None = None,
        package: Path | None = None,
    ) -> None:
        """Serve the databases of shard 1, of shard 2, and so on.

        `settings` are others of the configuration file, `options` more of the command. `program` is the module that
        is run: another one is for bugs that are planted. `anew`: it is started as a user starts it, and not forked.
        `limits` are bounds of the product that are others in it: only in one that is forked. `package` is a folder
        with another version of the package, which is served from the next start on.
        """
        self.package = package
        self._options = options
        self._limits = limits
        self.configuration_path = folder / "tallystick.toml"
        shards = [
            ShardConfiguration(number, database.server_dsn, database.owner_dsn)
            for number, database in enumerate(databases, SHARD)
        ]
        told = {"webhooks_key_file": key_file(folder), **(settings or {})}
        write_configuration(self.configuration_path, Configuration(shards, **told))
        self._program = program
        self._anew = anew or program != PROGRAM
        assert not (self._anew and limits)
        self.log_path = folder / "api.log"
        self.port = own_port()
        self.metrics_port = own_port()
        self._process: subprocess.Popen[bytes] | Forked | None = None
        owner_dsns = {number: database.owner_dsn for number, database in enumerate(databases, SHARD)}
        self.api_key = (
            with_keys(owner_dsns, lambda keys: keys.create("crash test")).key
            if package is None
            else self._key_of_version()
        )

    @property
    def address(self) -> str:
        """The address of the API."""
        return f"http://{HOST}:{self.port}"

    def _environment(self) -> dict[str, str]:
        """The environment of its processes, which import its version of the package."""
        paths = filter(None, [str(self.package or ""), os.environ.get("PYTHONPATH")])
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def _key_of_version(self) -> str:
        """A key that its version of the package has made, in a schema that this one may not know."""
        command = [sys.executable, "-m", PROGRAM, "keys", "create", "--name", "crash test", "--json"]
        command += ["--config", str(self.configuration_path)]
        # Versions from before keys had scopes have no such option, and say so.
        for scopes in (["--scope", "all"], []):
            done = subprocess.run(
                [*command, *scopes], env=self._environment(), capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return str(json.loads(done.stdout)["key"])
        raise AssertionError(done.stderr)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the product on the same shard."""
        return run_forked([*arguments, "--config", str(self.configuration_path)], timeout=ANSWER_SECONDS_MAX)

    def start(self, probe: str = "/readyz?all") -> None:
        """Start it and wait until it can serve all shards, or what else the probe asks for."""
        arguments = ["serve", "--port", str(self.port), "--config", str(self.configuration_path)]
        arguments += ["--metrics-port", str(self.metrics_port), *self._options]
        with self.log_path.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            if self._anew or self.package is not None:
                command = [sys.executable, "-m", self._program, *arguments]
                self._process = subprocess.Popen(
                    command,
                    stdin=nothing,
                    stdout=log,
                    stderr=log,
                    env=self._environment(),
                    start_new_session=True,
                )
            else:
                self._process = Forked(
                    arguments,
                    stdin=nothing,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    limits=self._limits,
                )
        self.wait_until_ready(probe)

    def wait_until_ready(self, probe: str = "/readyz?all") -> None:
        """Wait until it says that it can serve."""
        try:
            wait_for(lambda: self.ready(probe), "the server is ready", READY_SECONDS_MAX)
        except AssertionError:
            sys.stdout.write(self.log_path.read_text(encoding="utf-8")[-LOG_CHARACTERS_SHOWN:])
            raise

    def ready(self, probe: str = "/readyz?all") -> bool:
        """Whether it says that it can serve."""
        client = Client(self)
        try:
            return client.ask("GET", probe).status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            client.close()

    def processes(self) -> list[psutil.Process]:
        """The process that was started, and those that it has started."""
        if self._process is None or self._process.poll() is not None:
            return []
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def resident_bytes(self) -> int:
        """How much memory the server has."""
        return sum(process.memory_info().rss for process in self.processes())

    def kill(self) -> None:
        """Kill all of it, as a machine that dies does."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ask_to_stop(self) -> None:
        """Ask it to end, and do not wait."""
        assert self._process is not None
        self._process.terminate()

    def wait_for_end(self) -> int:
        """Wait until it has ended by itself; its status."""
        assert self._process is not None
        return self._process.wait(READY_SECONDS_MAX)

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
                raise


class Address(Protocol):
    """A server, or a proxy in front of servers."""

    @property
    def port(self) -> int: ...

    @property
    def api_key(self) -> str: ...


class Client:
    """One client with one connection, which it opens again when it was lost.

    As proxies and pools of connections do, it sends nothing on a connection that the server closed while it was idle.
    """

    def __init__(self, server: Address) -> None:
        self._server = server
        self._connection = http.client.HTTPConnection(HOST, server.port, timeout=ANSWER_SECONDS_MAX)

    def ask(
        self, method: str, path: str, document: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Answer:
        """One request. Raises OSError or HTTPException when it was not answered."""
        headers = {"Authorization": f"Bearer {self._server.api_key}", "Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        self._forget_closed()
        try:
            self._connection.request(method, path, json.dumps(document or {}), headers)
            response = self._connection.getresponse()
            return Answer(response.status, response.read(), response.headers["Retry-After"])
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def _forget_closed(self) -> None:
        """Forget a connection that the server has closed: an idle one has nothing else to read."""
        if (connected := self._connection.sock) is not None:
            look = select.poll()
            look.register(connected, select.POLLIN)
            if look.poll(0):
                self._connection.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def open_account(self, owner: str, kind: str = "wallet") -> str:
        """A new account's identifier."""
        answer = self.ask("POST", "/v1/accounts", {"owner": owner, "asset": "USD", "kind": kind}, uuid4().hex)
        assert answer.status == 201, answer
        return str(answer.document["id"])

    def balance(self, account: str) -> int:
        """An account's balance."""
        answer = self.ask("GET", f"/v1/accounts/{account}/balance")
        assert answer.status == 200, answer
        return int(answer.document["balance"])

    def history(self, account: str) -> Iterator[dict[str, Any]]:
        """All entries of an account, newest first."""
        cursor = ""
        while True:
            path = f"/v1/accounts/{account}/entries?limit={PAGE_ROWS}{cursor}"
            answer = self.ask("GET", path)
            assert answer.status == 200, answer
            page = answer.document
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            cursor = f"&cursor={page['next_cursor']}"
