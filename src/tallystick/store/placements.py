"""The recorded placement of owners in each shard's database: read with every look-up, written by `migrate`.

It is stored as the comment of the table `shard`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import psycopg
from psycopg import sql

from tallystick.store.connection import Database
from tallystick.store.errors import translated
from tallystick.store.once import rows_once
from tallystick.store.primary import connect_once
from tallystick.store.queries import query


class OwnerLookup(NamedTuple):
    """What a shard knows about an owner at one moment: whether it has accounts, and the recorded placement.

    `placed_on` is the shard of an owner that was placed beside another owner.
    """

    has_accounts: bool
    placed_on: int | None
    placement: str | None


class ShardLookup(NamedTuple):
    """Whether a shard has any account, and its recorded placement."""

    has_accounts: bool
    placement: str | None


async def look_up_owners(database: Database, owners: Sequence[tuple[int, str]]) -> list[OwnerLookup]:
    """Look up owners on a shard, each a tenant and a name. Raises what `database.rows` raises."""
    tenants, names = [tenant for tenant, _ in owners], [name for _, name in owners]
    return [OwnerLookup(*row) for row in await database.rows("look_up_owners", tenants, names)]


async def record_owner_home(database: Database, tenant: int, owner: str, shard: int) -> None:
    """Record the shard of an owner that is placed beside another owner. Raises what `database.write` raises."""
    await database.write("record_owner_home", tenant, owner, shard)


async def recorded_placement(database: Database) -> str | None:
    """The recorded placement of a shard. Raises what `database.rows` raises."""
    (row,) = await database.rows("look_up_shard")
    return ShardLookup(*row).placement


def placement_of(dsn: str) -> str | None:
    """The recorded placement of a shard. Raises ShardUnavailableError."""
    (row,) = rows_once(dsn, query("look_up_shard"))
    return ShardLookup(*row).placement


def change_placement(dsns: Mapping[int, str], change: Callable[[Mapping[int, ShardLookup]], str]) -> None:
    """Record a placement in all shards, as the owner of the tables, while no server places an owner on any of them.

    Args:
        dsns: the owner's connection string of each shard, by number.
        change: makes the new placement from the recorded ones, by number of the shard.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    with translated(), ExitStack() as transactions:
        connections = {}
        # In the order of their numbers, so that two of these commands cannot wait for each other in a circle.
        for number, dsn in sorted(dsns.items()):
            connection = transactions.enter_context(connect_once(dsn))
            connections[number] = connection
            connection.execute(query("change_placement"))
        lookups = {number: _look_up(connection) for number, connection in connections.items()}
        placement = change(lookups)
        for number, connection in connections.items():
            if lookups[number].placement != placement:
                connection.execute(sql.SQL(query("record_placement")).format(sql.Literal(placement)))


def _look_up(connection: psycopg.Connection) -> ShardLookup:
    row = connection.execute(query("look_up_shard")).fetchone()
    return ShardLookup(False, None) if row is None else ShardLookup(*row)
