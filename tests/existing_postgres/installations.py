"""An installation of one shard on a PostgreSQL that others run, and what its messages tell to do."""

import asyncio
import json
import re
import uuid
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Final

from tallystick import Ledger, Refused
from tallystick.service.configuration import (
    OWNER_FILE,
    Configuration,
    ShardConfiguration,
    write_configuration,
)
from tallystick.service.migration import (
    check_own_sessions,
    check_shards,
    migrate_shard,
    risks_of_serving,
    unite_shards,
)
from tests.acceptance.processes import run
from tests.existing_postgres.servers import ExistingPostgres

OWNER: Final = "app_owner"
LOGIN: Final = "app login"
"""With a space: names are quoted wherever they stand."""
OWNER_PASSWORD: Final = "the owner's"
LOGIN_PASSWORD: Final = "the password in dsn"
DATABASE: Final = "Ledger"


class Installation:
    """A shard whose database belongs to an ordinary role, with another one for servers."""

    def __init__(self, server: ExistingPostgres, database: str = DATABASE, number: int = 1) -> None:
        self.server = server
        self.database = database
        self.number = number

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.database, LOGIN, LOGIN_PASSWORD)

    @property
    def owner_dsn(self) -> str:
        return self.server.dsn(self.database, OWNER, OWNER_PASSWORD)

    @property
    def configuration(self) -> Configuration:
        return Configuration([ShardConfiguration(self.number, self.dsn, self.owner_dsn)])

    def make_owner(self, *options: str) -> None:
        self.server.execute(
            f"CREATE ROLE {OWNER} LOGIN {' '.join(options)} PASSWORD '{OWNER_PASSWORD.replace(chr(39), 2 * chr(39))}'"
        )

    def make_database(self, how: str = "") -> None:
        self.server.execute(f'CREATE DATABASE "{self.database}" OWNER {OWNER} {how}')

    def make_login(self) -> None:
        self.server.execute(f"CREATE ROLE \"{LOGIN}\" LOGIN PASSWORD '{LOGIN_PASSWORD}'")

    def prepare(self) -> None:
        """Everything that an administrator does, but for the rights of this page's last lines."""
        self.make_owner()
        self.make_login()
        self.server.execute("CREATE ROLE tallystick_server", f'GRANT tallystick_server TO "{LOGIN}"')
        self.make_database()

    def migrate(self) -> list[str]:
        applied = migrate_shard(self.number, self.owner_dsn, self.dsn)
        unite_shards(self.configuration)
        return applied

    def check(self) -> None:
        """What `serve` does before it serves."""
        assert check_shards(self.configuration) == {}
        asyncio.run(check_own_sessions(self.configuration, ()))

    def risks(self) -> list[str]:
        return risks_of_serving(Configuration([ShardConfiguration(self.number, self.dsn)]), ())

    def execute(self, *statements: str) -> None:
        """As the superuser, in the database."""
        self.server.execute(*statements, database=self.database)

    def relations(self) -> list[str]:
        """All that was made in the database."""
        made = (
            "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY relname"
        )
        with self.server.connect(self.database) as connection:
            return [name for (name,) in connection.execute(made)]

    def command(self, folder: Path, *arguments: str, dsn: str | None = None) -> CompletedProcess[str]:
        """Run the command line with this configuration, or with another `dsn` alone."""
        (folder / OWNER_FILE).unlink(missing_ok=True)
        shard = ShardConfiguration(self.number, dsn) if dsn else self.configuration.shards[0]
        write_configuration(folder / "tallystick.toml", Configuration([shard]))
        return run(*arguments, folder=folder)


def told_statements(message: str) -> list[str]:
    """The SQL statements that a message says to run."""
    found = re.search(r"[Rr]un[^:]*: (.*?;)(?: \(see docs/existing-postgres\.md\)|$)", message)
    assert found is not None, message
    return [f"{statement};" for statement in re.split(r"; ?", found.group(1)) if statement]


def move_money(dsn: str) -> None:
    """Open two accounts and pay from one to the other, as an application does."""
    asyncio.run(_move_money(dsn))


async def _move_money(dsn: str) -> None:
    async with Ledger.connect(dsn) as ledger:
        key = str(uuid.uuid4())
        bank = await ledger.open_account(f"bänk {key}", "USD", kind="system")
        alice = await ledger.open_account(f"älice {key}", "USD")
        assert not isinstance(bank, Refused)
        assert not isinstance(alice, Refused)
        paid = await ledger.transfer(
            bank.id, alice.id, 1250, "USD", idempotency_key=key, description="grüße ✓"
        )
        assert not isinstance(paid, Refused)
        assert paid.description == "grüße ✓"


def said_json(done: CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, (done.stdout, done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
