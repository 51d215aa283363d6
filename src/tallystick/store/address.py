"""Addresses of databases: whatever libpq understands, written as the one URI that every library understands."""

from urllib.parse import quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict


def database_uri(dsn: str, scheme: str = "postgresql") -> str:
    """The same database as a URI. `dsn` is a libpq connection string of either form."""
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    database = parts.pop("dbname", "")
    user, password = parts.pop("user", ""), parts.pop("password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    return f"{scheme}://{login}/{quote(database, safe='')}?{urlencode(parts)}"


def database_place(dsn: str) -> tuple[str, ...] | None:
    """Which database a connection string leads to, to tell two apart; None when it is not a connection string."""
    try:
        parts = conninfo_to_dict(dsn)
    except ProgrammingError:
        return None
    # What libpq takes for a part that is missing may differ from user to user, but not from shard to shard.
    return tuple(str(parts.get(name, "")) for name in ("service", "host", "hostaddr", "port", "dbname"))
