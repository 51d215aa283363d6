"""Addresses of databases: whatever libpq understands, written as the one URI that every library understands."""

from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict


def database_uri(dsn: str, scheme: str = "postgresql") -> str:
    """The same database as a URI. `dsn` is a libpq connection string of either form."""
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    database = parts.pop("dbname", "")
    user, password = parts.pop("user", ""), parts.pop("password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    return f"{scheme}://{login}/{quote(database, safe='')}?{urlencode(parts)}"
