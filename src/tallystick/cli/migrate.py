"""`tallystick migrate`: bring every shard's database to this version."""

from pathlib import Path

import click

from tallystick.cli.options import configuration_option, json_option
from tallystick.cli.output import print_json
from tallystick.service.configuration import read_configuration
from tallystick.service.logging import configure_logging
from tallystick.service.migration import migrate_shard, unite_shards


@click.command(epilog="Example: tallystick migrate --config tallystick.toml")
@configuration_option
@json_option
def migrate(configuration_path: Path, as_json: bool) -> None:
    """Bring the databases of all shards to this version, as their owner, and add those that are new.

    Also after a shard was added to the file or its state was changed, while servers run: they follow by themselves.
    Doing it again is harmless.
    """
    configure_logging(default_level="warning", for_people=True)
    configuration = read_configuration(configuration_path)
    done = []
    for shard in configuration.shards:
        applied = migrate_shard(shard.number, shard.owner)
        done.append({"shard": shard.number, "applied": applied})
        if not as_json:
            click.echo(f"shard {shard.number}: {', '.join(applied) or 'nothing to do'}")
    unite_shards(configuration)
    if as_json:
        print_json({"shards": done})
