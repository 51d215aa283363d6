"""Ends commits that wait for a standby, as an impatient operator does."""

import time
from enum import StrEnum

import psycopg

from tallystick.cluster.plan import POSTGRES_PORT, Machine
from tallystick.cluster.record import Passwords
from tallystick.cluster.settings.patroni import SUPERUSER

CONNECT_SECONDS_MAX = 3
ENDED_SECONDS_MAX = 60.0


class Ending(StrEnum):
    """How a waiting commit is ended: the function of PostgreSQL that does it."""

    CANCEL = "pg_cancel_backend"
    """The commit takes effect on the primary alone, and returns with a warning."""
    TERMINATE = "pg_terminate_backend"
    """The same, and the connection is lost."""


def superuser_dsn(machine: Machine, passwords: Passwords, database: str = "postgres") -> str:
    """The address of PostgreSQL on a machine, as its superuser."""
    return psycopg.conninfo.make_conninfo(
        host=machine.address,
        port=POSTGRES_PORT,
        user=SUPERUSER,
        password=passwords.superuser,
        dbname=database,
        connect_timeout=CONNECT_SECONDS_MAX,
    )


def end_waiting_commits(primary: Machine, passwords: Passwords, ending: Ending, seconds: float) -> int:
    """End every commit of a server that is seen waiting for a standby; how many there were.

    It goes on for some time, and then until there was one: on a slow machine few are seen.
    """
    query = (
        f"SELECT count(*) FILTER (WHERE {ending.value}(pid)) FROM pg_stat_activity"
        " WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'"
    )
    ended = 0
    began = time.monotonic()
    with psycopg.connect(superuser_dsn(primary, passwords), autocommit=True) as connection:
        while time.monotonic() < began + (seconds if ended else ENDED_SECONDS_MAX):
            row = connection.execute(query).fetchone()
            assert row is not None
            ended += row[0]
            time.sleep(0.001)
    return ended
