"""Who reads the views for people, on a PostgreSQL that others run, as docs/on-call.md says."""

import re
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tests.existing_postgres.installations import DATABASE, LOGIN, OWNER, Installation, move_money
from tests.existing_postgres.servers import ExistingPostgres

READER: Final = "on_call"
PASSWORD: Final = "choose one"
BALANCES: Final = "SELECT count(*) FROM {}readable_accounts WHERE account_number = {}readable_number(account)"
_PAGE: Final = Path(__file__).parents[2] / "docs" / "on-call.md"


def statements_of_page() -> list[str]:
    """What an administrator runs, for the database of this installation."""
    found = re.search(r"^```sql\n(CREATE ROLE.*?)^```$", _PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1).replace("shard_1", f'"{DATABASE}"').splitlines()


@pytest.fixture
def installation(server: ExistingPostgres) -> Installation:
    installation = Installation(server)
    installation.prepare()
    return installation


def may_read(server: ExistingPostgres, schema: str = "") -> None:
    """The accounts that money was moved between are there, and nothing else may be read."""
    with server.connect(DATABASE, READER, PASSWORD) as connection:
        assert connection.execute(BALANCES.format(schema, schema).encode()).fetchone() == (2,)
        for secret in ("api_keys", "webhook_endpoints", "account_key"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT count(*) FROM {schema}{secret}".encode())


def test_an_owner_who_may_make_no_roles_leaves_the_reader_to_an_administrator(
    installation: Installation,
) -> None:
    """The ledger is whole without it. Then `migrate` grants its rights, and takes away one too many."""
    installation.migrate()
    installation.check()
    move_money(installation.dsn)
    installation.execute(*statements_of_page())
    installation.check()
    with (
        installation.server.connect(DATABASE, READER, PASSWORD) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT count(*) FROM readable_accounts")
    assert installation.migrate() == []
    installation.check()
    may_read(installation.server)
    installation.execute("GRANT SELECT ON api_keys TO tallystick_reader")
    assert installation.migrate() == [
        "mended: the right of tallystick_reader to api_keys should not be there (SELECT)"
    ]
    may_read(installation.server)


def test_an_owner_who_may_make_roles_makes_it(server: ExistingPostgres) -> None:
    installation = Installation(server)
    installation.make_owner("CREATEROLE")
    installation.make_login()
    installation.make_database()
    server.execute("CREATE ROLE tallystick_server", f'GRANT tallystick_server TO "{LOGIN}"')
    installation.migrate()
    move_money(installation.dsn)
    installation.execute(*statements_of_page()[1:])
    may_read(server)


def test_in_a_schema_of_its_own(installation: Installation) -> None:
    """By its full name a view is read without the schema in the search path."""
    installation.execute(
        f"CREATE SCHEMA books AUTHORIZATION {OWNER}",
        *(f'ALTER ROLE "{role}" IN DATABASE "{DATABASE}" SET search_path = books' for role in (OWNER, LOGIN)),
        *statements_of_page(),
    )
    installation.migrate()
    move_money(installation.dsn)
    may_read(installation.server, "books.")
