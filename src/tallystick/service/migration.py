"""Migrate all shards of an installation to this version, and refuse shards that do not fit it."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress

from tallystick.ledger.crossing.ways import way_of
from tallystick.ledger.placement import NOTHING_PLACED, Placement, following, read_placement, write_placement
from tallystick.service.configuration import OWNER_FILE, Configuration, ConfigurationError
from tallystick.store.directory_copy import copy_directory
from tallystick.store.errors import PreparationError, ShardUnavailableError
from tallystick.store.migrate import check_schema, migrate, schema_notes, serving_risks
from tallystick.store.placements import ShardLookup, change_placement, placement_of
from tallystick.store.schema_version import Half
from tallystick.store.sessions import check_sessions


class ShardUnreachableError(ShardUnavailableError):
    """A shard cannot be reached. The message names it and says what to do."""

    def __init__(self, shard: int, error: ShardUnavailableError) -> None:
        super().__init__(
            f"shard {shard} cannot be reached ({error}): start its database, or correct the configuration"
        )


def migrate_shard(
    number: int, owner_dsn: str, server_dsn: str | None = None, half: Half | None = None
) -> list[str]:
    """Migrate one shard to this version. Returns the migrations that were applied.

    Args:
        number: the shard's number.
        owner_dsn: the connection string of its owner.
        server_dsn: the connection string of servers. Their rights are checked, too.
        half: apply only the migrations before the servers of this version, or only those after them.

    Raises:
        ShardUnreachableError: it cannot be reached.
        SchemaError: the database is not prepared, belongs to another shard, is newer, or cannot be changed, or
            servers of an earlier version use what would be taken away.
    """
    try:
        return migrate(owner_dsn, number, server_dsn, half=half)
    except ShardUnavailableError as error:
        raise ShardUnreachableError(number, error) from error


def unite_shards(configuration: Configuration) -> None:
    """Make the directories of all shards equal, and record which shards take new owners. All must be migrated before.

    It may run while servers run, and delays requests only for a moment.

    Raises:
        ShardUnavailableError: a shard cannot be reached.
        DirectoryConflictError: two shards have different data about a tenant, a key or an asset.
        ConfigurationError: a shard that was recorded is missing from the file.
    """

    def change(found: Mapping[int, ShardLookup]) -> str:
        recorded = {number: read_placement(shard.placement) for number, shard in found.items()}
        _expect_all(configuration, _newest(recorded))
        with_accounts = [number for number, shard in found.items() if shard.has_accounts]
        return write_placement(following(recorded, with_accounts, configuration.open_shards))

    copy_directory(configuration.owner_dsns)
    change_placement(configuration.owner_dsns, change)


def check_shards(configuration: Configuration) -> dict[int, ShardUnreachableError]:
    """Check that the shards are those that were migrated together. Returns the shards that cannot be reached.

    Raises:
        SchemaError: a database has another version, belongs to another shard, or is not prepared for servers or for
            the way of crossing shards that the file asks for.
        ConfigurationError: a shard is missing in the file, or was added and not migrated.
    """
    unreachable = {}
    recorded: dict[int, Placement] = {}
    for shard in configuration.shards:
        try:
            check_schema(shard.dsn, shard.number, to_serve=True)
            recorded[shard.number] = read_placement(placement_of(shard.dsn))
        except ShardUnavailableError as error:
            unreachable[shard.number] = ShardUnreachableError(shard.number, error)
    newest = _newest(recorded)
    if newest.version:
        _expect_all(configuration, newest)
        for number in configuration.dsns:
            if number not in newest.shards:
                raise ConfigurationError(
                    f"shard {number} was added: run `tallystick migrate` before it is served"
                )
    way_of(configuration.cross_shard).check(configuration.dsns)
    return unreachable


async def check_own_sessions(configuration: Configuration, unreachable: Collection[int]) -> None:
    """Check that no connection pooler breaks what servers rely on, for all shards but `unreachable` ones.

    Raises:
        PreparationError: a pooler does.
    """

    async def check(number: int, dsn: str) -> None:
        try:
            with suppress(ShardUnavailableError):  # lost meanwhile
                await check_sessions(dsn)
        except PreparationError as error:
            raise PreparationError(f"shard {number}: {error}") from error

    await asyncio.gather(
        *(check(number, dsn) for number, dsn in configuration.dsns.items() if number not in unreachable)
    )


def risks_of_serving(configuration: Configuration, unreachable: Collection[int]) -> list[str]:
    """Warnings about shards whose log is less protected than it could be, or whose schema is another version's.

    Each says what to do.
    """
    risks = [
        f"the file that servers read has the owner_dsn of shard {shard.number}, and an attacker on a server "
        f"gets it, too: move it to a file of its own, {OWNER_FILE} (see docs/existing-postgres.md)"
        for shard in configuration.shards
        if shard.owner_dsn is not None
    ]
    for number, dsn in configuration.dsns.items():
        if number not in unreachable:
            with suppress(ShardUnavailableError):
                risks += [*serving_risks(dsn), *(f"shard {number}: {note}" for note in schema_notes(dsn))]
    return risks


def _newest(recorded: Mapping[int, Placement]) -> Placement:
    return max(recorded.values(), key=lambda placement: placement.version, default=NOTHING_PLACED)


def _expect_all(configuration: Configuration, recorded: Placement) -> None:
    for number in recorded.shards:
        if number not in configuration.dsns:
            raise ConfigurationError(
                f"shard {number} is missing: accounts live on it, so name its database, too (as full in the "
                f"configuration file, if it takes no new owners)"
            )
