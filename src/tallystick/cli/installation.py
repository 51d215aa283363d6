"""An installation in one data folder: the database servers, their shards, the cache and the API."""

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tallystick.cli.api_process import ApiProcess
from tallystick.cli.data_folder import make_data_folder
from tallystick.cli.demonstration import DemonstrationAccounts, demonstration_accounts
from tallystick.cli.layout import Layout, layout_of
from tallystick.cli.nodes import Nodes
from tallystick.cli.own_api import OwnApi
from tallystick.cli.own_cache import OwnCache
from tallystick.cli.ports import METRICS_PORT_ABOVE, METRICS_PORT_OPTION, reserve_next_free_port
from tallystick.cli.session import open_engine, open_owners_directory
from tallystick.cli.stop_signals import StopSignals
from tallystick.cli.trial import kept_api_key, write_shell
from tallystick.domain.hosts import PORT_MAX
from tallystick.embedded.lock import DataFolderLock
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.ledger.errors import UnavailableError
from tallystick.service.authentication import DEFAULT_TENANT
from tallystick.service.configuration import (
    Configuration,
    NodeConfiguration,
    ShardConfiguration,
    write_configuration,
)
from tallystick.service.engine import Engine
from tallystick.service.migration import migrate_shard, unite_shards
from tallystick.service.webhooks.key_file import add_key
from tallystick.service.webhooks.key_rotation import rotate_keys

HOST: Final = "127.0.0.1"
_CACHE_KEY_BYTES: Final = 32
API_KEY_NAME: Final = "made by tallystick up"
WATCH_INTERVAL_SECONDS: Final = 0.1
PORT_WAIT_SECONDS: Final = 5.0
"""How long the API of a killed run may take to free its port."""

Say = Callable[[str], None]


class RunningInstallation(NamedTuple):
    """What an operator needs to use a running installation.

    `metrics_url` is for operators; `shell_path` is a file that sets the other values in a shell. `cache` is the
    address of the cache, if there is one. `databases` are the data directories of the nodes.
    """

    url: str
    metrics_url: str
    api_key: str
    configuration_path: Path
    shell_path: Path
    accounts: DemonstrationAccounts
    cache: str | None
    databases: list[Path]


class Installation:
    """A data folder with everything in it. `start`, `watch` and `stop` are called in this order, by `up`."""

    def __init__(
        self,
        folder: Path,
        port: int,
        metrics_port: int | None,
        *,
        shards: int | None = None,
        nodes: int | None = None,
        with_cache: bool = True,
        say: Say,
    ) -> None:
        """`say` is called with each step, in words for people.

        `shards` and `nodes` are the numbers wanted; None leaves them as they are. `with_cache`: start a cache.
        """
        self._folder = folder
        self._first_port = port
        self._first_metrics_port = metrics_port
        self._was_killed = False
        self._say = say
        self._configuration_path = folder / "tallystick.toml"
        self._api_key_path = folder / "api_key"
        self._shell_path = folder / "shell"
        self._webhook_keys_path = folder / "webhook_keys"
        # This file exists during a run. If it exists at the start, the last run was killed.
        self._running_path = folder / "running"
        self._wanted_shards = shards
        self._wanted_nodes = nodes
        self._with_cache = with_cache
        self._cache: OwnCache | None = None
        self._nodes: Nodes | None = None
        self._api: OwnApi | None = None
        self._started = ExitStack()

    def start(self, stop: StopSignals) -> RunningInstallation:
        """Start everything and wait until it serves. `stop` stops what was started, also after an error."""
        make_data_folder(self._folder)
        self._started.enter_context(DataFolderLock(self._folder))
        self._was_killed = self._running_path.exists()
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
        with stop.interrupting():  # the recovery of a database may take minutes
            nodes.start()
        if self._with_cache:
            self._cache = OwnCache(self._folder / "valkey", say=self._say)
            self._started.callback(self._cache.stop)
            self._cache.start()
        configuration = self._migrate(layout, nodes)
        stop.raise_if_requested()
        self._say("Starting the API ...")
        metrics_port = self._free_metrics_port(port)
        process = ApiProcess(self._configuration_path, HOST, port, metrics_port, self._folder / "api.log")
        api = self._api = OwnApi(process, say=self._say)
        self._started.callback(self._stop_api, api)
        api.start()
        # This takes about as long as the start of the API, and runs meanwhile.
        api_key, accounts = asyncio.run(self._prepare(configuration))
        api.wait_until_ready(stop)
        write_shell(self._shell_path, process.url, api_key, accounts)
        return RunningInstallation(
            process.url,
            process.metrics_url,
            api_key,
            self._configuration_path,
            self._shell_path,
            accounts,
            configuration.cache,
            nodes.databases,
        )

    def watch(self, stop: StopSignals) -> None:
        """Wait for a request to stop. A server that ends by itself is started again.

        Raises:
            CommandError: the API ended by itself several times in a row.
        """
        while not stop.requested:
            for started in (self._nodes, self._cache, self._api):
                if started is not None:
                    started.look()
            time.sleep(WATCH_INTERVAL_SECONDS)

    def stop(self) -> None:
        """Stop what was started, in reverse order. Harmless if nothing was started."""
        self._started.close()

    def api_log_tail(self) -> list[str]:
        """The last lines of the API's log, if it has ended by itself."""
        return [] if self._api is None else self._api.log_tail()

    # Starting

    def _reserve_port(self) -> int:
        holder, port = reserve_next_free_port(
            HOST, self._first_port, wait_seconds=PORT_WAIT_SECONDS if self._was_killed else 0.0
        )
        self._started.enter_context(holder)
        if port != self._first_port:
            self._say(f"Port {self._first_port} is taken: using {port}")
        self._running_path.write_text(f"{os.getpid()}\n", encoding="ascii")
        self._started.callback(self._running_path.unlink, missing_ok=True)
        return port

    def _free_metrics_port(self, port: int) -> int:
        """A port for operators. It is not reserved; by default it follows from the port of the API, which is."""
        above = port + METRICS_PORT_ABOVE
        first = self._first_metrics_port or (above if above <= PORT_MAX else port - METRICS_PORT_ABOVE)
        holder, found = reserve_next_free_port(
            HOST, first, METRICS_PORT_OPTION, wait_seconds=PORT_WAIT_SECONDS if self._was_killed else 0.0
        )
        holder.close()
        return found

    def _migrate(self, layout: Layout, nodes: Nodes) -> Configuration:
        """Migrate every shard's database to this version, and write the configuration file."""
        before = {shard.number: shard for shard in layout.before.shards}
        carried = {
            name: [self._shard(nodes, name, number, before.get(number)) for number in numbers]
            for name, numbers in layout.nodes.items()
        }
        own = [NodeConfiguration(name, shards) for name, shards in carried.items()]
        others = [node for node in layout.before.node if node.name not in carried]
        cache = None if self._cache is None else self._cache.address
        configuration = msgspec.structs.replace(
            layout.before,
            shard=[],
            node=[*own, *others],
            cache=cache,
            cache_key=layout.before.cache_key or secrets.token_hex(_CACHE_KEY_BYTES),
            webhooks_key_file=str(self._webhook_keys(layout.before.webhooks_key_file)),
        )
        for shard in configuration.shards:
            if applied := migrate_shard(shard.number, shard.owner):
                self._say(f"Migrated shard {shard.number}: {', '.join(applied)}")
        unite_shards(configuration)
        write_configuration(self._configuration_path, configuration)
        return configuration

    def _webhook_keys(self, before: str | None) -> Path:
        """The file with the keys that encrypt secrets of webhooks. It is made if there is none."""
        if before is not None and Path(before).exists():
            return Path(before)
        # The data folder may have been moved.
        if not self._webhook_keys_path.exists():
            add_key(self._webhook_keys_path)
            if before is not None:
                self._say(
                    f"{before} is missing: a new key was made, which cannot decrypt earlier secrets of webhooks"
                )
        return self._webhook_keys_path

    def _shard(
        self, nodes: Nodes, name: str, number: int, before: ShardConfiguration | None
    ) -> ShardConfiguration:
        """The configuration of a shard: its database on its node, and the rest as before."""
        server, database = nodes.server(name), f"shard_{number}"
        server.create_database(database)
        return ShardConfiguration(
            number,
            server.dsn(database, role=LOGIN_ROLE),
            server.dsn(database),
            "open" if before is None else before.state,
        )

    async def _prepare(self, configuration: Configuration) -> tuple[str, DemonstrationAccounts]:
        async with open_engine(configuration) as engine, open_owners_directory(configuration) as directory:
            tenant = await directory.make_tenant(DEFAULT_TENANT)
            await self._encrypt_secrets(engine)
            accounts = await demonstration_accounts(engine, tenant, self._folder / "demonstration.json")
            return await kept_api_key(directory, self._api_key_path, API_KEY_NAME), accounts

    async def _encrypt_secrets(self, engine: Engine) -> None:
        """Encrypt secrets that are not encrypted, or with an earlier key. A failure stops nothing else."""
        try:
            done = await rotate_keys(engine, lambda *_: None)
        except UnavailableError as error:
            self._say(f"The secrets of webhooks were not changed: {error}")
            return
        if done.changed:
            self._say(f"Encrypted the secrets of {done.changed} webhook endpoints with key {done.key}")
        for why in done.unreadable.values():
            self._say(why)

    # Stopping

    def _stop_api(self, api: OwnApi) -> None:
        self._say("Stopping the API ...")
        api.stop()

    def _stop_nodes(self, nodes: Nodes) -> None:
        self._say("Stopping PostgreSQL ...")
        nodes.stop()
