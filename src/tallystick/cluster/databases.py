"""The roles and the databases of shards, made on the primary as docs/existing-postgres.md says."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import psycopg
from psycopg import sql

from tallystick.cluster.errors import ClusterError
from tallystick.cluster.plan import POSTGRES_PORT, Plan
from tallystick.cluster.record import Passwords
from tallystick.cluster.settings.patroni import SUPERUSER

OWNER_ROLE: Final = "tallystick_owner"
LOGIN_ROLE: Final = "tallystick_login"
SERVER_ROLE: Final = "tallystick_server"
READER_ROLE: Final = "tallystick_reader"
_CONNECT_TIMEOUT_SECONDS: Final = 3


def shard_dsn(plan: Plan, passwords: Passwords, shard: int, role: str = LOGIN_ROLE) -> str:
    """The address of a shard's database: all of its machines, of which the primary is looked for."""
    password = {OWNER_ROLE: passwords.owner, LOGIN_ROLE: passwords.login}[role]
    return _dsn(plan, shard, role, password, f"shard_{shard}")


def prepare_database(plan: Plan, passwords: Passwords, shard: int) -> None:
    """Make the roles and the database of a shard. Harmless if they exist.

    Raises:
        ClusterError: the primary cannot be reached, or refuses.
    """
    dsn = _dsn(plan, shard, SUPERUSER, passwords.superuser, "postgres")
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_SECONDS) as connection:
            _make_roles(connection, {OWNER_ROLE: passwords.owner, LOGIN_ROLE: passwords.login})
            _make_database(connection, f"shard_{shard}")
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise ClusterError(f"the database of shard {shard} cannot be made ({said}): start again") from error


def _dsn(plan: Plan, shard: int, role: str, password: str, database: str) -> str:
    hosts = ",".join(machine.at(POSTGRES_PORT) for machine in plan.databases[shard])
    return (
        f"postgresql://{role}:{quote(password, safe='')}@{hosts}/{database}?target_session_attrs=read-write"
    )


def _make_roles(connection: psycopg.Connection, logins: Mapping[str, str]) -> None:
    for role in (SERVER_ROLE, READER_ROLE, *logins):
        exists = "SELECT 1 FROM pg_roles WHERE rolname = %s"
        if connection.execute(exists, [role]).fetchone() is None:
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    for role, password in logins.items():
        # Only the verifier is sent, so that no log can contain the password.
        verifier = connection.pgconn.encrypt_password(
            password.encode("ascii"), role.encode("ascii"), b"scram-sha-256"
        )
        connection.execute(
            sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(verifier.decode("ascii"))
            )
        )
    connection.execute(
        sql.SQL("GRANT {} TO {}").format(sql.Identifier(SERVER_ROLE), sql.Identifier(LOGIN_ROLE))
    )


def _make_database(connection: psycopg.Connection, name: str) -> None:
    exists = "SELECT 1 FROM pg_database WHERE datname = %s"
    if connection.execute(exists, [name]).fetchone() is None:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'").format(
                sql.Identifier(name), sql.Identifier(OWNER_ROLE)
            )
        )
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    connection.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(LOGIN_ROLE))
    )
