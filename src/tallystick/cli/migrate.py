"""`tallystick migrate`: bring every shard's database to this version."""

from pathlib import Path

import click
import psycopg

from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option
from tallystick.cli.output import print_json
from tallystick.cli.session import unreachable
from tallystick.service.configuration import read_configuration
from tallystick.service.logging import configure_logging
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.migrate import migrate as migrate_shard


@click.command(epilog="Example: tallystick migrate --config tallystick.toml")
@configuration_option
@json_option
def migrate(configuration_path: Path, as_json: bool) -> None:
    """Bring the databases of all shards to this version, as their owner. Doing it again is harmless."""
    configure_logging(default_level="warning", for_people=True)
    done = []
    for shard in read_configuration(configuration_path).shard:
        try:
            applied = migrate_shard(shard.owner_dsn or shard.dsn, shard.number)
        except ShardUnavailableError as error:
            raise CommandError(unreachable(shard.number, error)) from error
        except psycopg.Error as error:
            raise CommandError(
                f"shard {shard.number} cannot be migrated ({error}): the user of owner_dsn, or of dsn, "
                f"must own the database"
            ) from error
        done.append({"shard": shard.number, "applied": applied})
        if not as_json:
            click.echo(f"shard {shard.number}: {', '.join(applied) or 'nothing to do'}")
    if as_json:
        print_json({"shards": done})
