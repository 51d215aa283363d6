"""The cluster of `tallystick cluster up`: its machines, and a ledger on them with something to try."""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tallystick.cli.data_folder import make_data_folder
from tallystick.cli.demonstration import DemonstrationAccounts, demonstration_accounts
from tallystick.cli.session import open_engine, open_owners_directory
from tallystick.cli.stop_signals import StopSignals
from tallystick.cli.trial import kept_api_key, write_shell
from tallystick.cluster.databases import OWNER_ROLE, prepare_database, shard_dsn
from tallystick.cluster.plan import NETWORK_DEFAULT, Plan
from tallystick.cluster.record import Passwords, make_record
from tallystick.cluster.running import RunningCluster
from tallystick.cluster.settings.valkey import cache_address
from tallystick.service.authentication import DEFAULT_TENANT
from tallystick.service.configuration import (
    Configuration,
    NodeConfiguration,
    ShardConfiguration,
    read_configuration,
    write_configuration,
)
from tallystick.service.migration import migrate_shard, unite_shards
from tallystick.service.webhooks.key_file import add_key

API_KEY_NAME: Final = "made by tallystick cluster up"
WATCH_INTERVAL_SECONDS: Final = 0.1
_CACHE_KEY_BYTES: Final = 32


class ReadyCluster(NamedTuple):
    """What people need to try a running cluster."""

    url: str
    api_key: str
    configuration_path: Path
    shell_path: Path
    accounts: DemonstrationAccounts


class OwnCluster:
    """A cluster in a folder. `start`, `watch` and `stop` are called in this order."""

    def __init__(
        self, folder: Path, network: str | None, *, say: Callable[[str], None], stop: StopSignals
    ) -> None:
        """`say` is called with each step, in words for people. `stop` ends a start, too."""
        self._folder = folder
        self._network = network
        self._say = say
        self._stop = stop
        self._running: RunningCluster | None = None
        self._configuration_path = folder / "tallystick.toml"

    def start(self) -> ReadyCluster:
        """Start all machines, make the ledger, and wait until it is served through HAProxy."""
        make_data_folder(self._folder)
        plan, passwords = make_record(self._folder, self._network, NETWORK_DEFAULT)
        running = self._running = RunningCluster(
            plan, passwords, say=self._say, check_stop=self._stop.raise_if_requested
        )
        running.prepare(self._configuration_path)
        running.start_databases()
        configuration = self._migrate(plan, passwords)
        self._stop.raise_if_requested()
        api_key, accounts = asyncio.run(self._prepare(configuration))
        running.start_servers()
        shell_path = self._folder / "shell"
        write_shell(shell_path, plan.url, api_key, accounts)
        return ReadyCluster(plan.url, api_key, self._configuration_path, shell_path, accounts)

    def watch(self) -> None:
        """Wait for a request to stop. A program that ends by itself is started again."""
        while not self._stop.requested:
            if self._running is not None:
                self._running.look()
            time.sleep(WATCH_INTERVAL_SECONDS)

    def stop(self) -> None:
        """Stop all machines. Harmless if nothing was started."""
        if self._running is not None:
            self._running.stop()

    def _migrate(self, plan: Plan, passwords: Passwords) -> Configuration:
        """Make the databases, write the configuration files, and migrate every shard to this version."""
        for shard in plan.databases:
            prepare_database(plan, passwords, shard)
        configuration = Configuration(
            node=[
                NodeConfiguration(
                    f"shard_{shard}",
                    [
                        ShardConfiguration(
                            shard,
                            shard_dsn(plan, passwords, shard),
                            shard_dsn(plan, passwords, shard, OWNER_ROLE),
                        )
                    ],
                )
                for shard in plan.databases
            ],
            cache=cache_address(plan, passwords.cache),
            cache_key=self._cache_key(),
            webhooks_key_file=str(self._webhook_keys()),
        )
        for one in configuration.shards:
            if applied := migrate_shard(one.number, one.owner):
                self._say(f"Migrated shard {one.number}: {', '.join(applied)}")
        unite_shards(configuration)
        write_configuration(self._configuration_path, configuration)
        return configuration

    def _cache_key(self) -> str:
        if self._configuration_path.exists():
            before = read_configuration(self._configuration_path).cache_key
            if before is not None:
                return before
        return secrets.token_hex(_CACHE_KEY_BYTES)

    def _webhook_keys(self) -> Path:
        path = self._folder / "webhook_keys"
        if not path.exists():
            add_key(path)
        return path

    async def _prepare(self, configuration: Configuration) -> tuple[str, DemonstrationAccounts]:
        async with open_engine(configuration) as engine, open_owners_directory(configuration) as directory:
            tenant = await directory.make_tenant(DEFAULT_TENANT)
            accounts = await demonstration_accounts(engine, tenant, self._folder / "demonstration.json")
            return await kept_api_key(directory, self._folder / "api_key", API_KEY_NAME), accounts
