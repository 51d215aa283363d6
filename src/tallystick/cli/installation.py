"""Everything on this machine, in one data folder: the database server, its shards, the API."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

import psycopg

from tallystick.cli.api_process import ApiProcess
from tallystick.cli.demonstration import DemonstrationAccounts, open_demonstration_accounts
from tallystick.cli.errors import CommandError
from tallystick.cli.ports import reserve_next_free_port
from tallystick.cli.session import open_engine
from tallystick.cli.stop_signals import StopSignals
from tallystick.domain.limits import SHARD_NUMBER_MIN
from tallystick.embedded import DataFolderLock, EmbeddedPostgres
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.service.authentication import DEFAULT_TENANT
from tallystick.service.configuration import Configuration, ShardConfiguration, write_configuration
from tallystick.service.engine import Engine
from tallystick.service.errors import AuthenticationError
from tallystick.service.ledger import Ledger
from tallystick.store.directory import Directory
from tallystick.store.migrate import migrate

HOST: Final = "127.0.0.1"
SHARD_COUNT: Final = 1
API_KEY_NAME: Final = "made by tallystick up"
WATCH_INTERVAL_SECONDS: Final = 0.1
PORT_WAIT_SECONDS: Final = 5.0
"""How long the API of a run that was killed may take to give its port back."""

Say = Callable[[str], None]


class Ready(NamedTuple):
    """What somebody needs to know to use a running installation."""

    url: str
    api_key: str
    configuration_path: Path
    accounts: DemonstrationAccounts


class Installation:
    """A data folder with everything in it. `start`, `watch` and `stop` are called in this order, by `up`."""

    def __init__(self, folder: Path, port: int, *, say: Say) -> None:
        """Take the folder; `say` is called with each step, in words for people."""
        self._folder = folder
        self._first_port = port
        self._say = say
        self._configuration_path = folder / "tallystick.toml"
        self._api_key_path = folder / "api_key"
        # There while we run: found at the start, it tells that the last run was killed.
        self._running_path = folder / "running"
        self._postgres = EmbeddedPostgres(folder / "postgres")
        self._api: ApiProcess | None = None
        self._started = ExitStack()

    def start(self, stop: StopSignals) -> Ready:
        """Start everything and wait until it serves. What was started is stopped by `stop`, in any case."""
        self._make_folder()
        self._started.enter_context(DataFolderLock(self._folder))
        port = self._reserve_port()
        self._say(f"Starting PostgreSQL in {self._folder / 'postgres'} ...")
        self._started.callback(self._stop_postgres)
        with stop.interrupting():  # a database that repeats what its log holds may take minutes
            self._postgres.start()
        configuration = self._migrate()
        stop.raise_if_requested()
        self._say("Starting the API ...")
        self._api = ApiProcess(self._configuration_path, HOST, port, self._folder / "api.log")
        self._started.callback(self._stop_api, self._api)
        self._api.start()
        # While the API starts, which takes as long.
        api_key, accounts = asyncio.run(self._prepare(configuration))
        self._api.wait_until_ready(stop)
        return Ready(self._api.url, api_key, self._configuration_path, accounts)

    def watch(self, stop: StopSignals) -> None:
        """Wait until somebody asks us to stop; raise `CommandError` when a part of it ends by itself."""
        while not stop.requested:
            if self._api is not None and not self._api.running:
                raise CommandError(self._api.why_it_ended())
            if not self._postgres.running():
                raise CommandError(
                    f"PostgreSQL ended by itself: see {self._postgres.log_path}, and start again"
                )
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

    def _migrate(self) -> Configuration:
        """Bring every shard's database to this version, and write down where they are."""
        shards = []
        for number in range(SHARD_NUMBER_MIN, SHARD_NUMBER_MIN + SHARD_COUNT):
            database = f"shard_{number}"
            self._postgres.create_database(database)
            owner_dsn = self._postgres.dsn(database)
            try:
                applied = migrate(owner_dsn, number)
            except psycopg.Error as error:
                raise CommandError(f"shard {number} cannot be migrated ({error}): correct this") from error
            if applied:
                self._say(f"Migrated shard {number}: {', '.join(applied)}")
            shards.append(
                ShardConfiguration(number, self._postgres.dsn(database, role=LOGIN_ROLE), owner_dsn)
            )
        configuration = Configuration(shards)
        write_configuration(self._configuration_path, configuration)
        return configuration

    async def _prepare(self, configuration: Configuration) -> tuple[str, DemonstrationAccounts]:
        async with open_engine(configuration) as engine:
            tenant = await Directory(engine.router.shards[0].database).tenant(DEFAULT_TENANT, create=True)
            accounts = await open_demonstration_accounts(Ledger(engine, tenant or 1))
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

    def _stop_postgres(self) -> None:
        self._say("Stopping PostgreSQL ...")
        self._postgres.stop()
        if self._postgres.running():  # a signal came in the moment between its start and our knowing of it
            self._postgres.kill()
