"""Checks that a database and its roles are prepared: what is missing, and the statements that repair it.

docs/existing-postgres.md says the same, for administrators who prepare databases beforehand.
"""

from collections.abc import Sequence
from typing import Final, LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from tallystick.domain import limits
from tallystick.store.errors import PreparationError, ShardUnavailableError
from tallystick.store.queries import query

SERVER_ROLE: Final = sql.Identifier("tallystick_server")
"""The group that the migrations grant rights to; the role that servers connect as is a member of it."""

_PAGE: Final = "docs/existing-postgres.md"
_VERSION_OF_INHERITING_MEMBERSHIPS: Final = 160_000
_NAMED_RELATIONS_MAX: Final = 3


class Inspection(NamedTuple):
    """The state of a database, and of the role that servers connect as (`login`), as a session sees it."""

    database: str
    database_owner: str
    version: int
    """PostgreSQL's own number, such as 150018."""
    encoding: str
    read_only: bool
    role: str
    is_superuser: bool
    may_create_roles: bool
    search_path: str
    schema: str | None
    """The first schema of the search path that exists and that the role may use: new tables are made there."""
    may_create_tables: bool
    relations: list[str]
    """The objects in the schema, without those of extensions and of the migration library."""
    ledger_schemas: list[str]
    ledger_owner: str | None
    """The owner of the ledger in the schema, if there is one."""
    has_rights_of_owner: bool
    server_role_exists: bool
    login: str
    login_exists: bool
    login_is_member: bool
    login_inherits: bool
    login_may_connect: bool
    login_may_use_schema: bool
    login_may_read: bool
    other_logins: list[str]
    """Other members of the same group that may connect only because every role may."""


class Missing(NamedTuple):
    """A missing thing, and the statements that repair it."""

    what: str
    statements: tuple[sql.Composable, ...] = ()
    """None if no statement repairs it; `what` then says what to do."""


def inspect(connection: psycopg.Connection, login: str | None = None) -> Inspection:
    """Inspect the database of a connection. `login`: the role of servers; None for the connection's own role.

    Raises:
        PreparationError: PostgreSQL is too old, or the database's encoding is not UTF8.
    """
    expect_version(connection.info.dbname, connection.info.server_version)
    with connection.cursor(row_factory=class_row(Inspection)) as cursor:
        found = cursor.execute(query("inspect_database"), {"login": login}).fetchone()
    if found is None:
        raise ShardUnavailableError("the database was dropped")
    if found.encoding != "UTF8":
        # The ledger hashes texts as UTF-8, and must read the same bytes again.
        anew = _remedy([_create_database(found.database, found.database_owner)])
        raise PreparationError(
            f"database {found.database} has the encoding {found.encoding}, and the ledger needs UTF8: "
            f"drop it and {anew}"
        )
    return found


def expect_version(database: str, version: int) -> None:
    """Refuse a server that is too old. `version` is PostgreSQL's own number, such as 150018.

    Raises:
        PreparationError: it is older than the oldest version that is supported.
    """
    major, minor = divmod(version, 10_000)
    if major < limits.POSTGRESQL_VERSION_MIN:
        raise PreparationError(
            f"database {database} is on PostgreSQL {major}.{minor}, and the ledger needs "
            f"{limits.POSTGRESQL_VERSION_MIN} or newer: upgrade the server (see {_PAGE})"
        )


def expect_ready_to_migrate(found: Inspection, *, login_is_known: bool) -> None:
    """Check that the role of `found` can create or change the ledger here, and that servers can use it afterwards.

    `login_is_known`: whether `found.login` is the role of servers on this PostgreSQL server.

    Raises:
        PreparationError: something is missing, or the schema is another application's.
        ShardUnavailableError: the database is read-only now.
    """
    _expect_writable(found)
    missing = _missing_for_owner(found)
    if not missing:
        _expect_no_strangers(found)
    if login_is_known and found.login != found.role:
        missing += [one for one in _missing_for_login(found) if one not in missing]
    _expect_nothing(missing, f"database {found.database} is not prepared")


def expect_ready_to_use(found: Inspection, *, to_serve: bool) -> None:
    """Check that the ledger exists, and that the role of `found` finds it first and may read it.

    `to_serve`: also check the rights of servers.

    Raises:
        PreparationError: the database is empty, or something is missing.
        ShardUnavailableError: a server is to use it, and the database is read-only now.
    """
    if not found.ledger_schemas:
        raise PreparationError(f"database {found.database} is empty: run `tallystick migrate`")
    missing = [] if found.schema in found.ledger_schemas else _missing_for_finding(found)
    if to_serve:
        _expect_writable(found)
        if not missing and not found.has_rights_of_owner:
            missing += _missing_for_login(found)
    if not missing and not found.login_may_read:
        missing.append(_missing_right_to_read(found))
    _expect_nothing(
        missing, f"role {found.role} cannot {'serve' if to_serve else 'read'} database {found.database}"
    )


def risks_of_serving(found: Inspection) -> list[str]:
    """Warnings about a ledger that is less protected than it could be. Each says what to do."""
    risks = []
    if found.is_superuser or found.has_rights_of_owner:
        owns = f"has the rights of {found.ledger_owner}, who owns the tables,"
        what = "is a superuser" if found.is_superuser else owns
        risks.append(
            f"servers connect to database {found.database} as role {found.role}, which {what} and could take away "
            f"what protects the log: let dsn name a role of its own, and owner_dsn this one (see {_PAGE})"
        )
    if found.other_logins:
        revoke = _statement("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", found.database)
        remedy = _remedy([revoke, _grant_connect(found.database, found.login)])
        risks.append(
            f"role {', '.join(found.other_logins)} may read and append to database {found.database} too, as a member "
            f"of tallystick_server: unless it serves this ledger, {remedy}"
        )
    return risks


def database_is_missing(database: str, role: str) -> PreparationError:
    """The error for a missing database."""
    return PreparationError(
        f"the database is missing: correct the configuration, or {_remedy([_create_database(database, role)])}"
    )


def role_may_not_connect(database: str, role: str) -> PreparationError:
    """The error for a role that may not connect to a database."""
    return PreparationError(
        f"role {role} may not connect to database {database}: {_remedy([_grant_connect(database, role)])}"
    )


def _expect_writable(found: Inspection) -> None:
    if found.read_only:
        raise ShardUnavailableError(
            f"database {found.database} is read-only, as on a standby: name the primary, "
            f"or turn default_transaction_read_only off"
        )


def _missing_for_owner(found: Inspection) -> list[Missing]:
    missing = []
    is_there = found.ledger_owner is not None
    if is_there and not found.has_rights_of_owner:
        missing.append(
            Missing(f"its ledger belongs to role {found.ledger_owner}: let owner_dsn connect as that role")
        )
    elif not is_there and found.ledger_schemas:
        missing += _missing_for_finding(found)
    elif not is_there and found.schema is None:
        missing.append(_missing_schema(found))
    elif not is_there and not found.may_create_tables:
        missing.append(_missing_right_to_create(found))
    if not found.server_role_exists and (is_there or not found.may_create_roles):
        missing.append(_MISSING_SERVER_ROLE)
    return missing


_MISSING_SERVER_ROLE: Final = Missing(
    "role tallystick_server is missing", (sql.SQL("CREATE ROLE {} NOLOGIN").format(SERVER_ROLE),)
)


def _missing_schema(found: Inspection) -> Missing:
    names = (name.strip().strip('"') for name in found.search_path.split(","))
    schema = next((name for name in names if name and name != "$user"), "public")
    return Missing(
        f"role {found.role} finds no schema to make tables in (its search_path is {found.search_path or 'empty'})",
        (
            _statement("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}", schema, found.role),
            _statement("GRANT USAGE, CREATE ON SCHEMA {} TO {}", schema, found.role),
        ),
    )


def _missing_right_to_create(found: Inspection) -> Missing:
    what = f"role {found.role} may not make tables in schema {found.schema}"
    if found.role == found.login and found.role != found.database_owner:
        return Missing(
            f"{what}: let owner_dsn connect as {found.database_owner}, the owner of the database, and "
            f"leave dsn to the servers"
        )
    return Missing(what, (_statement("GRANT CREATE ON SCHEMA {} TO {}", found.schema, found.role),))


def _missing_for_finding(found: Inspection) -> list[Missing]:
    schema = found.ledger_schemas[0]
    missing = []
    if not found.login_may_use_schema:
        missing.append(_missing_usage(schema))
    missing.append(
        Missing(
            f"its ledger is in schema {schema}, and role {found.role} looks in {found.search_path or 'none'}",
            (
                _statement(
                    "ALTER ROLE {} IN DATABASE {} SET search_path = {}", found.role, found.database, schema
                ),
            ),
        )
    )
    return missing


def _missing_right_to_read(found: Inspection) -> Missing:
    if found.login_is_member:
        return Missing(
            "tallystick_server has no rights to its tables, as when a dump was restored on a server that lacked this "
            "role: restore it again"
        )
    what = f"role {found.role} may not read its tables"
    return Missing(
        what, (_statement("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}", found.schema, found.role),)
    )


def _missing_usage(schema: str) -> Missing:
    return Missing(
        f"tallystick_server may not use schema {schema}",
        (sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), SERVER_ROLE),),
    )


def _missing_for_login(found: Inspection) -> list[Missing]:
    login = found.login
    missing = []
    if not found.server_role_exists:
        missing.append(_MISSING_SERVER_ROLE)
    if not found.login_exists:
        missing.append(
            Missing(
                f"role {login}, as which servers connect, is missing",
                (_statement("CREATE ROLE {} LOGIN PASSWORD 'the password in dsn'", login),),
            )
        )
    grant = sql.SQL("GRANT {} TO {}").format(SERVER_ROLE, sql.Identifier(login))
    if not found.login_is_member:
        missing.append(Missing(f"role {login} is not a member of tallystick_server", (grant,)))
    elif not found.login_inherits:
        # Inheritance of rights is an attribute of the member before PostgreSQL 16, and of the membership since then.
        since_16 = found.version >= _VERSION_OF_INHERITING_MEMBERSHIPS
        mends = (
            grant + sql.SQL(" WITH INHERIT TRUE") if since_16 else _statement("ALTER ROLE {} INHERIT", login)
        )
        missing.append(Missing(f"role {login} does not inherit the rights of tallystick_server", (mends,)))
    if not found.login_may_connect:
        missing.append(
            Missing(f"role {login} may not connect to it", (_grant_connect(found.database, login),))
        )
    if not found.login_may_use_schema:
        missing += [_missing_usage(schema) for schema in found.ledger_schemas[:1]]
    return missing


def _expect_no_strangers(found: Inspection) -> None:
    if found.ledger_owner is not None or not found.relations:
        return
    # Not only tables with the names of the ledger: a later version may need any name.
    named = ", ".join(found.relations[:_NAMED_RELATIONS_MAX])
    more = len(found.relations) - _NAMED_RELATIONS_MAX
    raise PreparationError(
        f"schema {found.schema} of database {found.database} holds tables of another application ({named}"
        f"{f' and {more} more' if more > 0 else ''}): give the ledger a database of its own with "
        f"{_script([_create_database('ledger', found.role)])} or a schema of its own (see {_PAGE})"
    )


def _expect_nothing(missing: Sequence[Missing], otherwise: str) -> None:
    if not missing:
        return
    what = "; ".join(one.what for one in missing)
    statements = [statement for one in missing for statement in one.statements]
    remedy = f": {_remedy(statements, run='run in it')}" if statements else f" (see {_PAGE})"
    raise PreparationError(f"{otherwise}: {what}{remedy}")


def _create_database(name: str, owner: str) -> sql.Composable:
    return _statement(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'", name, owner
    )


def _grant_connect(database: str, role: str) -> sql.Composable:
    return _statement("GRANT CONNECT ON DATABASE {} TO {}", database, role)


def _statement(text: LiteralString, *names: str | None) -> sql.Composed:
    return sql.SQL(text).format(*(sql.Identifier(name or "") for name in names))


def _remedy(statements: Sequence[sql.Composable], *, run: str = "run") -> str:
    return f"{run}, as an administrator: {_script(statements)} (see {_PAGE})"


def _script(statements: Sequence[sql.Composable]) -> str:
    return " ".join(f"{statement.as_string(None)};" for statement in statements)
