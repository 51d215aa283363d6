"""Everything on this machine, in one data folder: the database servers, their shards, the API."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tallystick.cli.api_process import ApiProcess
from tallystick.cli.demonstration import DemonstrationAccounts, demonstration_accounts
from tallystick.cli.errors import CommandError
from tallystick.cli.layout import Layout, layout_of
from tallystick.cli.nodes import Nodes
from tallystick.cli.own_cache import OwnCache
from tallystick.cli.ports import reserve_next_free_port
from tallystick.cli.session import open_engine
from tallystick.cli.stop_signals import StopSignals
from tallystick.embedded import DataFolderLock
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.service.authentication import DEFAULT_TENANT
from tallystick.service.configuration import (
    Configuration,
    NodeConfiguration,
    ShardConfiguration,
    write_configuration,
)
from tallystick.service.engine import Engine
from tallystick.service.errors import AuthenticationError
from tallystick.service.migration import migrate_shard, unite_shards

HOST: Final = "127.0.0.1"
API_KEY_NAME: Final = "made by tallystick up"
WATCH_INTERVAL_SECONDS: Final = 0.1
PORT_WAIT_SECONDS: Final = 5.0
"""How long the API of a run that was killed may take to give its port back."""

Say = Callable[[str], None]


class Ready(NamedTuple):
    """What somebody needs to know to use a running installation; `cache` is where its cache is, if it has one."""

    url: str
    api_key: str
    configuration_path: Path
    accounts: DemonstrationAccounts
    cache: str | None


class Installation:
    """A data folder with everything in it. `start`, `watch` and `stop` are called in this order, by `up`."""

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        shards: int | None = None,
        nodes: int | None = None,
        with_cache: bool = True,
        say: Say,
    ) -> None:
        """Take the folder; `say` is called with each step, in words for people.

        `shards` and `nodes` are how many there are to be; None leaves them as they are. `with_cache`: start a cache.
        """
        self._folder = folder
        self._first_port = port
        self._say = say
        self._configuration_path = folder / "tallystick.toml"
        self._api_key_path = folder / "api_key"
        # There while we run: found at the start, it tells that the last run was killed.
        self._running_path = folder / "running"
        self._wanted_shards = shards
        self._wanted_nodes = nodes
        self._with_cache = with_cache
        self._cache: OwnCache | None = None
        self._nodes: Nodes | None = None
        self._api: ApiProcess | None = None
        self._started = ExitStack()

    def start(self, stop: StopSignals) -> Ready:
        """Start everything and wait until it serves. What was started is stopped by `stop`, in any case."""
        self._make_folder()
        self._started.enter_context(DataFolderLock(self._folder))
        port = self._reserve_port()
        layout = layout_of(
            self._folder, self._configuration_path, shards=self._wanted_shards, nodes=self._wanted_nodes
        )
        self._say(
            f"Starting PostgreSQL in {' and '.join(str(self._folder / name) for name in layout.nodes)} ..."
        )
        nodes = self._nodes = Nodes(
            {self._folder / name: len(carried) for name, carried in layout.nodes.items()}, say=self._say
        )
        self._started.callback(self._stop_nodes, nodes)
        with stop.interrupting():  # a database that repeats what its log holds may take minutes
            nodes.start()
        if self._with_cache:
            self._cache = OwnCache(self._folder / "valkey", say=self._say)
            self._started.callback(self._cache.stop)
            self._cache.start()
        configuration = self._migrate(layout, nodes)
        stop.raise_if_requested()
        self._say("Starting the API ...")
        self._api = ApiProcess(self._configuration_path, HOST, port, self._folder / "api.log")
        self._started.callback(self._stop_api, self._api)
        self._api.start()
        # While the API starts, which takes as long.
        api_key, accounts = asyncio.run(self._prepare(configuration))
        self._api.wait_until_ready(stop)
        return Ready(self._api.url, api_key, self._configuration_path, accounts, configuration.cache)

    def watch(self, stop: StopSignals) -> None:
        """Wait until somebody asks us to stop; a server that ends by itself is started again.

        Raises:
            CommandError: the API ended by itself.
        """
        while not stop.requested:
            if self._api is not None and not self._api.running:
                raise CommandError(self._api.why_it_ended())
            if self._nodes is not None:
                self._nodes.look()
            if self._cache is not None:
                self._cache.look()
            time.sleep(WATCH_INTERVAL_SECONDS)

    def stop(self) -> None:
        """Stop what was started, the last first; harmless when nothing was."""
        self._started.close()

    def api_log_tail(self) -> list[str]:
        """The last lines of the API's log, when it has ended by itself."""
        return [] if self._api is None or self._api.running else self._api.log_tail()

    # Starting

    def _make_folder(self) -> None:
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True)
                # The user of the database server may pass through; every secret in it is closed by itself.
                self._folder.chmod(0o711)
        except OSError as error:
            raise CommandError(
                f"cannot make the data folder {self._folder} ({error.strerror}): choose another with --data"
            ) from None

    def _reserve_port(self) -> int:
        was_killed = self._running_path.exists()
        holder, port = reserve_next_free_port(
            HOST, self._first_port, wait_seconds=PORT_WAIT_SECONDS if was_killed else 0.0
        )
        self._started.enter_context(holder)
        if port != self._first_port:
            self._say(f"Port {self._first_port} is taken: using {port}")
        self._running_path.write_text(f"{os.getpid()}\n", encoding="ascii")
        self._started.callback(self._running_path.unlink, missing_ok=True)
        return port

    def _migrate(self, layout: Layout, nodes: Nodes) -> Configuration:
        """Bring every shard's database to this version, and write down where they are."""
        before = {shard.number: shard for shard in layout.before.shards}
        carried = {
            name: [self._shard(nodes, name, number, before.get(number)) for number in numbers]
            for name, numbers in layout.nodes.items()
        }
        own = [NodeConfiguration(name, shards) for name, shards in carried.items()]
        others = [node for node in layout.before.node if node.name not in carried]
        cache = None if self._cache is None else self._cache.address
        configuration = msgspec.structs.replace(layout.before, shard=[], node=[*own, *others], cache=cache)
        for shard in configuration.shards:
            if applied := migrate_shard(shard.number, shard.owner):
                self._say(f"Migrated shard {shard.number}: {', '.join(applied)}")
        unite_shards(configuration)
        write_configuration(self._configuration_path, configuration)
        return configuration

    def _shard(
        self, nodes: Nodes, name: str, number: int, before: ShardConfiguration | None
    ) -> ShardConfiguration:
        """One of our shards: its database on its node, and otherwise as it was."""
        server, database = nodes.server(name), f"shard_{number}"
        server.create_database(database)
        return ShardConfiguration(
            number,
            server.dsn(database, role=LOGIN_ROLE),
            server.dsn(database),
            "open" if before is None else before.state,
        )

    async def _prepare(self, configuration: Configuration) -> tuple[str, DemonstrationAccounts]:
        async with open_engine(configuration) as engine:
            tenant = await engine.directory.make_tenant(DEFAULT_TENANT)
            accounts = await demonstration_accounts(engine, tenant, self._folder / "demonstration.json")
            return await self._api_key(engine), accounts

    async def _api_key(self, engine: Engine) -> str:
        """The key of the last start, or a new one when there is none in force."""
        with suppress(FileNotFoundError, UnicodeDecodeError, AuthenticationError):
            key = self._api_key_path.read_text(encoding="ascii").strip()
            await engine.api_keys.tenant_of(key)
            return key
        key = (await engine.api_keys.create(API_KEY_NAME)).key
        partial = self._api_key_path.with_name("api_key.partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{key}\n")
        partial.replace(self._api_key_path)
        return key

    # Stopping

    def _stop_api(self, api: ApiProcess) -> None:
        self._say("Stopping the API ...")
        api.stop()

    def _stop_nodes(self, nodes: Nodes) -> None:
        self._say("Stopping PostgreSQL ...")
        nodes.stop()
