"""Addresses of databases: connection strings of libpq, also for a library that understands only a part of them."""

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

# Options that only libpq understands, and options that the ledger sets itself: time limits, and names of connections.
_LEFT_OUT: Final = frozenset(
    {
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "application_name",
        "fallback_application_name",
        "client_encoding",
    }
)


def database_uri(dsn: str) -> str:
    """The same database as a URI for the server's driver. `dsn` is a libpq connection string of either form."""
    parts = {
        name: str(value)
        for name, value in conninfo_to_dict(dsn).items()
        if value is not None and name not in _LEFT_OUT
    }
    database = parts.pop("dbname", "")
    user, password = parts.pop("user", ""), parts.pop("password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    return f"postgresql://{login}/{quote(database, safe='')}?{urlencode(parts)}"


def database_place(dsn: str) -> tuple[str, ...] | None:
    """The database of a connection string, in a form that can be compared; None if it is not a connection string."""
    try:
        parts = conninfo_to_dict(dsn)
    except ProgrammingError:
        return None
    # libpq's defaults for missing parts may differ between users, but not between shards.
    return tuple(str(parts.get(name, "")) for name in ("service", "host", "hostaddr", "port", "dbname"))


def options_of(dsn: str, settings: Mapping[str, str]) -> str:
    """The options of a connection string, followed by settings of the ledger.

    Libpq alone would use only one of both.
    """
    own = str(conninfo_to_dict(dsn).get("options") or "")
    return " ".join([own, *(f"-c {name}={value}" for name, value in settings.items())]).strip()


def database_name(dsn: str) -> str | None:
    """The database that a connection string names, itself or through the environment."""
    return _part(dsn, "dbname", "PGDATABASE")


def user_name(dsn: str) -> str | None:
    """The role that a connection string names, itself or through the environment."""
    return _part(dsn, "user", "PGUSER")


def names_database(dsn: str) -> bool:
    """Whether a connection string names a database. libpq would use one with the name of the user."""
    return database_name(dsn) is not None or "service" in conninfo_to_dict(dsn)


def _part(dsn: str, name: str, variable: str) -> str | None:
    found = conninfo_to_dict(dsn).get(name)
    return str(found) if found else os.environ.get(variable) or None
