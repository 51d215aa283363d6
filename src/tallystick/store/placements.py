"""The placement of owners as the shards' databases know it: read with every look-up, recorded by `migrate`.

It stands as the comment of the table `shard`: a text that only the ledger understands.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import psycopg
from psycopg import sql

from tallystick.domain import limits
from tallystick.store.connection import Database
from tallystick.store.errors import translated
from tallystick.store.queries import query


class OwnerLookup(NamedTuple):
    """What a shard knows of an owner, as of one moment: whether it has accounts, and the placement it was told of.

    `placed_on` is where an owner lives that was placed beside another.
    """

    has_accounts: bool
    placed_on: int | None
    placement: str | None


class ShardLookup(NamedTuple):
    """Whether a shard has any account, and the placement that it was told of."""

    has_accounts: bool
    placement: str | None


async def look_up_owners(database: Database, owners: Sequence[tuple[int, str]]) -> list[OwnerLookup]:
    """Ask a shard about owners, each a tenant and a name. Raises what `database.rows` raises."""
    tenants, names = [tenant for tenant, _ in owners], [name for _, name in owners]
    return [OwnerLookup(*row) for row in await database.rows("look_up_owners", tenants, names)]


async def record_owner_home(database: Database, tenant: int, owner: str, shard: int) -> None:
    """Say where an owner lives that is placed beside another. Raises what `database.rows` raises."""
    await database.rows("record_owner_home", tenant, owner, shard)


async def recorded_placement(database: Database) -> str | None:
    """The placement that a shard was told of. Raises what `database.rows` raises."""
    (row,) = await database.rows("look_up_shard")
    return ShardLookup(*row).placement


def placement_of(dsn: str) -> str | None:
    """The placement that a shard was told of. Raises ShardUnavailableError."""
    with translated(), psycopg.connect(dsn, connect_timeout=limits.CONNECT_TIMEOUT_SECONDS) as connection:
        return _look_up(connection).placement


def change_placement(dsns: Mapping[int, str], change: Callable[[Mapping[int, ShardLookup]], str]) -> None:
    """Record a placement in all shards, as their owner, while nobody places an owner on any of them.

    Args:
        dsns: the owner's connection string of each shard, by number.
        change: makes the new placement from what the shards say, by number.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    with translated(), ExitStack() as transactions:
        connections = {}
        # By number, so that two who do this at once wait for each other in the same order.
        for number, dsn in sorted(dsns.items()):
            connection = psycopg.connect(dsn, connect_timeout=limits.CONNECT_TIMEOUT_SECONDS)
            connections[number] = transactions.enter_context(connection)
            connection.execute(query("change_placement"))
        told = {number: _look_up(connection) for number, connection in connections.items()}
        placement = change(told)
        for number, connection in connections.items():
            if told[number].placement != placement:
                connection.execute(sql.SQL(query("record_placement")).format(sql.Literal(placement)))


def _look_up(connection: psycopg.Connection) -> ShardLookup:
    row = connection.execute(query("look_up_shard")).fetchone()
    return ShardLookup(False, None) if row is None else ShardLookup(*row)
