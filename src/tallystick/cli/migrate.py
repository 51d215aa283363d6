"""`tallystick migrate`: bring every shard's database to this version."""

import asyncio
from pathlib import Path

import click

from tallystick.cli.options import configuration_option, json_option, owner_option
from tallystick.cli.output import print_json
from tallystick.extras import MissingExtraError
from tallystick.service.configuration import ConfigurationError, read_configuration, read_owner_configuration
from tallystick.service.logging import configure_logging
from tallystick.service.migration import (
    check_own_sessions,
    check_shards,
    migrate_shard,
    risks_of_serving,
    unite_shards,
)
from tallystick.service.webhooks.key_risks import risks_of_secrets
from tallystick.store.schema_version import Half


@click.command(epilog="Example: tallystick migrate --config tallystick.toml")
@configuration_option
@owner_option
@click.option(
    "--before",
    "is_before",
    is_flag=True,
    help="Only what servers of the version before can live with. Then replace them one by one.",
)
@click.option(
    "--after",
    "is_after",
    is_flag=True,
    help="What is left when no server of the version before runs any more.",
)
@json_option
def migrate(
    configuration_path: Path, owner_path: Path | None, is_before: bool, is_after: bool, as_json: bool
) -> None:
    """Migrate the databases of all shards to this version, as their owner, and add new shards.

    Run it also after a shard was added to the file or its state was changed. Servers may run, and follow by
    themselves. If something must not be done while servers of the version before run, and they do, it changes
    nothing and says so. It is harmless to repeat.
    """
    if is_before and is_after:
        raise click.UsageError("--before and --after exclude each other; without them everything is done")
    half = Half.BEFORE if is_before else Half.AFTER if is_after else None
    configure_logging(default_level="warning", for_people=True)
    configuration = read_owner_configuration(configuration_path, owner_path)
    done = []
    for shard in configuration.shards:
        applied = migrate_shard(shard.number, shard.owner, shard.dsn, half)
        done.append({"shard": shard.number, "applied": applied})
        if not as_json:
            click.echo(f"shard {shard.number}: {', '.join(applied) or 'nothing to do'}")
    unite_shards(configuration)
    if as_json:
        print_json({"shards": done})
    # The databases are as they should be. Now check whether servers can use them, as servers do when they start.
    configuration = read_configuration(configuration_path)
    unreachable = check_shards(configuration)
    asyncio.run(check_own_sessions(configuration, unreachable))
    warnings = [*map(str, unreachable.values()), *risks_of_serving(configuration, unreachable)]
    try:
        warnings += risks_of_secrets(configuration, unreachable)
    except (ConfigurationError, MissingExtraError) as error:
        # Servers need the file of keys, and migrating does not. The owner of the tables may have no right to read it,
        # or may have installed the core alone.
        warnings.append(str(error))
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
