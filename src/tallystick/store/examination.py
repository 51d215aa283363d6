"""What a PostgreSQL server says about itself: its version, the settings that matter to a ledger, and its clock."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from psycopg.rows import class_row

from tallystick.store.errors import ShardUnavailableError, translated
from tallystick.store.once import rows_once
from tallystick.store.primary import connect_once
from tallystick.store.queries import query


class Examination(NamedTuple):
    """A server, as a session of one role in one database sees it."""

    version: str
    system_identifier: int
    """What distinguishes it from other servers. Its standbys have the same."""
    settings: Mapping[str, str]
    """Settings for new sessions, in PostgreSQL's own units. A role does not see all of them."""
    role_connections_max: int
    """How many sessions the role may have; -1 for any number."""
    database_connections_max: int
    """How many sessions the database may have; -1 for any number."""
    clock_us: int
    """Its clock, in microseconds."""


def examine(dsn: str) -> Examination:
    """Examine the server of a connection string.

    Raises:
        ShardUnavailableError: it cannot be reached.
    """
    with (
        translated(),
        connect_once(dsn) as connection,
        connection.cursor(row_factory=class_row(Examination)) as cursor,
    ):
        found = cursor.execute(query("examine_server")).fetchone()
    if found is None:
        raise ShardUnavailableError("the server said nothing about itself")
    return found


def head_time_us(dsn: str) -> int:
    """The time of the newest batch of a shard, in microseconds; 0 if there is none. Raises ShardUnavailableError."""
    ((found,),) = rows_once(dsn, query("head_time"))
    return int(found)


def data_folder_here(dsn: str) -> Path | None:
    """The data folder of a server on this machine; None if the server is elsewhere, or does not tell the role.

    Raises:
        ShardUnavailableError: it cannot be reached.
    """
    with translated(), connect_once(dsn) as connection:
        is_here = connection.info.host.startswith("/") or _is_loopback(connection.info.hostaddr)
        found = connection.execute(query("data_folder")).fetchone()
    if found is None or not is_here:
        return None
    return Path(found[0])


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
