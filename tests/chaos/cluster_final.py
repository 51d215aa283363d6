"""What is checked of a cluster's databases at the end of a run, beside its books."""

import time
from typing import Final

import psycopg
from psycopg import sql

from tallystick.cluster.plan import Machine, Plan
from tallystick.cluster.record import Passwords
from tallystick.cluster.state import ask_database, shard_state
from tests.chaos.cluster_commits import superuser_dsn

EQUAL_SECONDS_MAX: Final = 60.0
_TABLES: Final = "SELECT schemaname, relname FROM pg_stat_user_tables ORDER BY schemaname, relname"

Contents = dict[str, tuple[int, str]]
"""By table: the number of its rows, and a sum of hashes of them."""


def wrong_with_databases(plan: Plan, passwords: Passwords) -> str:
    """What is wrong: standbys that differ from their primary, and transactions that are prepared. In words."""
    found: list[str] = []
    for shard, machines in plan.databases.items():
        primary = shard_state(shard, [ask_database(machine) for machine in machines]).primary
        if primary is None:
            found.append(f"shard {shard} has no primary")
            continue
        found += _of_shard(shard, plan.machine(primary), machines, passwords)
    return "\n".join(found)


def _of_shard(shard: int, primary: Machine, machines: tuple[Machine, ...], passwords: Passwords) -> list[str]:
    deadline = time.monotonic() + EQUAL_SECONDS_MAX
    while True:
        found = [
            f"shard {shard} has {count} prepared transactions" for count in _prepared(primary, passwords)
        ]
        wanted = _contents(shard, primary, passwords)
        for standby in machines:
            contents = _contents(shard, standby, passwords)
            differing = sorted(name for name in wanted if wanted[name] != contents.get(name))
            if differing:
                found.append(f"{standby.name} differs from {primary.name} in {', '.join(differing)}")
        # What a standby has not applied yet comes within a moment.
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(1.0)


def _prepared(primary: Machine, passwords: Passwords) -> list[int]:
    with psycopg.connect(superuser_dsn(primary, passwords), autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM pg_prepared_xacts").fetchone()
    assert row is not None
    return [row[0]] if row[0] else []


def _contents(shard: int, machine: Machine, passwords: Passwords) -> Contents:
    found: Contents = {}
    with psycopg.connect(superuser_dsn(machine, passwords, f"shard_{shard}")) as connection:
        for schema, table in connection.execute(_TABLES).fetchall():
            query = sql.SQL(
                "SELECT count(*), coalesce(sum(hashtextextended(row::text, 0)), 0)::text FROM {} AS row"
            ).format(sql.Identifier(schema, table))
            row = connection.execute(query).fetchone()
            assert row is not None
            found[f"{schema}.{table}"] = (row[0], row[1])
    if not found:
        raise AssertionError(f"no tables on {machine.name}")
    return found
