"""Addresses of databases: connection strings of libpq, also for a library that understands only a part of them."""

import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tallystick.domain import limits

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
_SERVER: Final = ("host", "hostaddr", "port")
# What a server must be if several are named, and the other word for it that a connection string may ask for.
_WRITABLE: Final = "read-write"
_PRIMARY: Final = "primary"
_STANDBY: Final = "standby"

_PORT: Final = 5432
_SYSTEM: Final = "system"
"""The value of `sslrootcert` that stands for the certificates of the machine."""


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


def servers_of(dsn: str) -> list[str]:
    """A connection string for each server that one names, in the same order, and only once.

    If it names several, each of these asks for a server that can be written to.

    Raises:
        ProgrammingError: it is not a connection string, or it has not one port for each host.
    """
    parts = conninfo_to_dict(dsn)
    if len(_servers(parts)) == 1:
        return [dsn]
    return _each(dsn, _PRIMARY if parts.get("target_session_attrs") == _PRIMARY else _WRITABLE)


def standbys_of(dsn: str) -> list[str]:
    """The same servers as `servers_of` in the same order. Each connection string asks for a standby.

    Empty if only one server is named, which is then the primary.
    """
    servers = _each(dsn, _STANDBY)
    return servers if len(servers) > 1 else []


def _each(dsn: str, wanted: str) -> list[str]:
    """A connection string for each server that one names, which asks for a server of a sort."""
    parts = conninfo_to_dict(dsn)
    return [
        make_conninfo(
            dsn,
            target_session_attrs=wanted,
            **{name: value for name, value in zip(_SERVER, server, strict=True) if parts.get(name)},
        )
        for server in dict.fromkeys(_servers(parts))
    ]


def flaw_of(dsn: str) -> str | None:
    """What libpq or the ledger cannot use in a connection string; None if nothing.

    The words follow the name of the connection string, and have no part of it, as it may have a password. That a
    server answers is another question.
    """
    try:
        parts = conninfo_to_dict(dsn)
    except ProgrammingError:
        return "is no libpq connection string"
    try:
        _servers(parts)
    except ProgrammingError:
        return "has not one port for all hosts, nor one for each: correct port"
    try:
        connect_seconds(dsn)
    except ProgrammingError:
        return "has a connect_timeout that is no whole number of seconds: write it like connect_timeout=5"
    # libpq would use a database with the name of the user.
    if database_name(dsn) is None and "service" not in parts:
        return "names no database: add dbname"
    return None


def database_places(dsn: str) -> frozenset[tuple[str, ...]]:
    """The places of the database of a connection string: one on each server that it names, in any order.

    Two connection strings that have a place in common lead to the same database. Raises like `servers_of`.
    """
    parts = conninfo_to_dict(dsn)
    servers = _servers(parts)
    # libpq's defaults for missing parts may differ between users, but not between shards.
    service, database = str(parts.get("service", "")), str(parts.get("dbname", ""))
    return frozenset((service, *server, database) for server in servers)


def is_same_address(one: str, other: str) -> bool:
    """Whether two connection strings say the same, whatever the order of their servers and of their options."""
    return _said(one) == _said(other)


def _said(dsn: str) -> tuple[Any, ...]:
    parts = conninfo_to_dict(dsn)
    others = {name: value for name, value in parts.items() if name not in _SERVER}
    return sorted(_servers(parts)), others


def _servers(parts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The host, address and port of each server. One port is the port of all of them."""
    lists = [str(parts.get(name) or "").split(",") for name in _SERVER]
    count = max(map(len, lists))
    try:
        return list(zip(*(one * count if len(one) == 1 else one for one in lists), strict=True))
    except ValueError:
        raise ProgrammingError("a connection string needs one port for all hosts, or one for each") from None


def connect_seconds(dsn: str) -> int:
    """How long to wait for a connection to one server: as the connection string says, but not for too long.

    Raises:
        ProgrammingError: it has no number as `connect_timeout`.
    """
    asked = str(conninfo_to_dict(dsn).get("connect_timeout") or 0)
    try:
        seconds = int(asked)
    except ValueError:
        raise ProgrammingError(f"connect_timeout is a number of seconds, not {asked!r}") from None
    return min(seconds, limits.CONNECT_TIMEOUT_SECONDS) if seconds > 0 else limits.CONNECT_TIMEOUT_SECONDS


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


def with_password(dsn: str, password: str) -> str:
    """A connection string with this password, unless it has one, or a file of passwords. A wrong string stays."""
    try:
        parts = conninfo_to_dict(dsn)
    except ProgrammingError:
        return dsn
    return dsn if parts.get("password") or parts.get("passfile") else make_conninfo(dsn, password=password)


class TlsOfDatabase(NamedTuple):
    """The hosts that may speak TLS, and files of certificates that are used with them."""

    hosts: tuple[tuple[str, int], ...]
    files: tuple[str, ...]


def tls_of(dsn: str) -> TlsOfDatabase | None:
    """What a connection string says about TLS; None if it forbids TLS, or names only sockets of this machine."""
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    if parts.get("sslmode") == "disable":
        return None
    hosts = [
        (host or address, int(port or _PORT))
        for host, address, port in _servers(parts)
        if (host or address) and (host or address)[0] not in "/@"
    ]
    files = [parts[name] for name in ("sslrootcert", "sslcert") if parts.get(name, _SYSTEM) != _SYSTEM]
    return TlsOfDatabase(tuple(hosts), tuple(files)) if hosts else None


def _part(dsn: str, name: str, variable: str) -> str | None:
    found = conninfo_to_dict(dsn).get(name)
    return str(found) if found else os.environ.get(variable) or None
