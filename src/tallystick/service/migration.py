"""Bringing all shards of an installation to this version and to the configuration file, and refusing all others."""

from collections.abc import Mapping

from tallystick.ledger.placement import NOTHING_PLACED, Placement, following, read_placement, write_placement
from tallystick.service.configuration import Configuration, ConfigurationError
from tallystick.store.directory_copy import copy_directory
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.migrate import check_schema, migrate
from tallystick.store.placements import ShardLookup, change_placement, placement_of
from tallystick.store.two_phase import check_prepared_transactions


class ShardUnreachableError(ShardUnavailableError):
    """A shard cannot be reached; the message names it and says what to do."""

    def __init__(self, shard: int, error: ShardUnavailableError) -> None:
        super().__init__(
            f"shard {shard} cannot be reached ({error}): start its database, or correct the configuration"
        )


def migrate_shard(number: int, owner_dsn: str) -> list[str]:
    """Bring one shard to this version, and say which migrations that took.

    Raises:
        ShardUnreachableError: it cannot be reached.
        SchemaError: the database is another shard's, newer, or cannot be changed.
    """
    try:
        return migrate(owner_dsn, number)
    except ShardUnavailableError as error:
        raise ShardUnreachableError(number, error) from error


def unite_shards(configuration: Configuration) -> None:
    """Make the directories of shards equal, and record which take new owners; after all of them were migrated.

    Done while servers run, it makes nobody wait for more than a moment.

    Raises:
        ShardUnavailableError: a shard cannot be reached.
        DirectoryConflictError: two shards say different things about a tenant, a key or an asset.
        ConfigurationError: a shard that was recorded is missing from the file.
    """

    def change(found: Mapping[int, ShardLookup]) -> str:
        told = {number: read_placement(shard.placement) for number, shard in found.items()}
        _expect_all(configuration, _newest(told))
        with_accounts = [number for number, shard in found.items() if shard.has_accounts]
        return write_placement(following(told, with_accounts, configuration.open_shards))

    copy_directory(configuration.owner_dsns)
    change_placement(configuration.owner_dsns, change)


def check_shards(configuration: Configuration) -> dict[int, ShardUnreachableError]:
    """Make sure that the shards are those that were migrated together; return those that cannot be reached.

    Raises:
        SchemaError: a shard has the schema of another version, or is another shard's.
        ConfigurationError: a shard is missing from the file, or was added and not migrated.
        PreparedTransactionsError: a server is not set up for two-phase commit, which the file asks for.
    """
    unreachable = {}
    told: dict[int, Placement] = {}
    for shard in configuration.shards:
        try:
            check_schema(shard.dsn, shard.number)
            told[shard.number] = read_placement(placement_of(shard.dsn))
        except ShardUnavailableError as error:
            unreachable[shard.number] = ShardUnreachableError(shard.number, error)
    newest = _newest(told)
    if newest.version:
        _expect_all(configuration, newest)
        for number in configuration.dsns:
            if number not in newest.shards:
                raise ConfigurationError(
                    f"shard {number} was added: run `tallystick migrate` before it is served"
                )
    if configuration.cross_shard == "two_phase":
        check_prepared_transactions(configuration.dsns)
    return unreachable


def _newest(told: Mapping[int, Placement]) -> Placement:
    return max(told.values(), key=lambda placement: placement.version, default=NOTHING_PLACED)


def _expect_all(configuration: Configuration, recorded: Placement) -> None:
    for number in recorded.shards:
        if number not in configuration.dsns:
            raise ConfigurationError(
                f"shard {number} is missing: accounts live on it, so list it, as full if it takes no new owners"
            )
