"""How another service opens the ledger: by connection strings, or by the configuration file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash.two_shards import two_shards

from tallystick import ConfigurationError, Ledger, UnavailableError, views
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.service.configuration import Configuration, ShardConfiguration, write_configuration
from tallystick.service.migration import unite_shards

OWNERS = 12


@pytest.fixture(scope="module")
def configuration(postgres: EmbeddedPostgres) -> Iterator[Configuration]:
    """Two shards that were migrated together."""
    with two_shards(postgres) as databases:
        shards = [
            ShardConfiguration(number, database.server_dsn, database.owner_dsn)
            for number, database in enumerate(databases, 1)
        ]
        found = Configuration(shard=shards)
        unite_shards(found)
        yield found


async def shards_of_new_accounts(ledger: Ledger) -> set[int]:
    opened = [await ledger.open_account(f"owner {number}", "USD") for number in range(OWNERS)]
    assert all(isinstance(one, views.Account) for one in opened)
    return {
        shard_of(parse_identifier(Prefix.ACCOUNT, one.id)) for one in opened if isinstance(one, views.Account)
    }


async def test_the_configuration_file_says_everything(configuration: Configuration, tmp_path: Path) -> None:
    path = tmp_path / "tallystick.toml"
    write_configuration(path, configuration)
    for place in (path, str(path)):
        async with Ledger.connect(configuration=place) as ledger:
            assert await shards_of_new_accounts(ledger) == {1, 2}


async def test_connection_strings_name_all_shards_in_any_order(configuration: Configuration) -> None:
    async with Ledger.connect(configuration.dsns[2], configuration.dsns[1]) as ledger:
        assert await shards_of_new_accounts(ledger) == {1, 2}


async def test_a_shard_that_is_not_named_is_said_before_anything_is_asked(
    configuration: Configuration, tmp_path: Path
) -> None:
    path = tmp_path / "tallystick.toml"
    write_configuration(path, Configuration(shard=configuration.shards[:1]))
    for call in (Ledger.connect(configuration.dsns[1]), Ledger.connect(configuration=path)):
        with pytest.raises(ConfigurationError, match=r"shard 2 is missing: .* name its database"):
            await call.__aenter__()


async def test_what_cannot_be_a_configuration_is_said(configuration: Configuration, tmp_path: Path) -> None:
    dsn = configuration.dsns[1]
    for call, words in (
        (Ledger.connect(), "no database is named"),
        (Ledger.connect(dsn, dsn), "shard 1 is listed twice"),
        (Ledger.connect(dsn, configuration=tmp_path / "tallystick.toml"), "not both"),
        (Ledger.connect(configuration=tmp_path / "tallystick.toml"), "there is no configuration file"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            await call.__aenter__()


async def test_a_file_with_a_shard_that_is_away_is_told_from_a_wrong_one(
    configuration: Configuration, tmp_path: Path
) -> None:
    path = tmp_path / "tallystick.toml"
    away = ShardConfiguration(2, f"host={tmp_path} dbname=nothing")
    write_configuration(path, Configuration(shard=[configuration.shards[0], away]))
    with pytest.raises(UnavailableError, match="shard 2 cannot be reached"):
        await Ledger.connect(configuration=path).__aenter__()
