"""`tallystick up`: everything on this machine, from nothing to a payment."""

import json
import os
import shlex
import sys
from pathlib import Path

import click

from tallystick.cli.as_owner import can_run, ordinary_owner, run_as
from tallystick.cli.demonstration import ASSET
from tallystick.cli.errors import CommandError
from tallystick.cli.installation import Installation, RunningInstallation
from tallystick.cli.layout import NODE_COUNT_DEFAULT, SHARD_COUNT_DEFAULT
from tallystick.cli.options import json_option
from tallystick.cli.own_process import prepare_process
from tallystick.cli.ports import METRICS_PORT_ABOVE, METRICS_PORT_OPTION
from tallystick.cli.stop_signals import StopRequestedError, StopSignals
from tallystick.cli.trial import curl_line
from tallystick.domain import limits
from tallystick.domain.hosts import PORT_MAX
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of


@click.command(epilog="Example: tallystick up --data .data --port 8000")
@click.option("--data", metavar="DIR", default=".data", show_default=True, help="The data folder.")
@click.option(
    "--port",
    type=click.IntRange(1, PORT_MAX),
    default=8000,
    show_default=True,
    help="The port of the API; if it is taken, the next free one.",
)
@click.option(
    METRICS_PORT_OPTION,
    type=click.IntRange(1, PORT_MAX),
    help="The operators' port, with metrics for Prometheus; if it is taken, the next free one. "
    f"Default: {METRICS_PORT_ABOVE} above that of the API.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, limits.EMBEDDED_SHARDS_MAX),
    help=f"The number of shards. Default: as before, at first {SHARD_COUNT_DEFAULT}.",
)
@click.option(
    "--nodes",
    type=click.IntRange(1, limits.EMBEDDED_NODES_MAX),
    help=f"The number of PostgreSQL servers that carry them. Default: as before, at first {NODE_COUNT_DEFAULT}.",
)
@click.option(
    "--cache/--no-cache",
    "with_cache",
    default=True,
    show_default=True,
    help="Whether balances are read from a Valkey of its own.",
)
@json_option
def up(
    *,
    data: str,
    port: int,
    metrics_port: int | None,
    shards: int | None,
    nodes: int | None,
    with_cache: bool,
    as_json: bool,
) -> None:
    """Start everything on this machine, until Ctrl-C.

    Starts PostgreSQL servers and a Valkey of its own, migrates, opens demonstration accounts on the first start,
    and serves the API. All data stay in one folder, for the next start; shards and nodes may be added then, but not
    removed.
    """
    folder = Path(data).absolute()
    _as_owner_of(folder)
    prepare_process(_say)
    installation = Installation(
        folder, port, metrics_port, shards=shards, nodes=nodes, with_cache=with_cache, say=_say
    )
    with StopSignals() as stop:
        try:
            ready = installation.start(stop)
            click.echo(_as_json(ready) if as_json else _as_text(ready))
            installation.watch(stop)
        except StopRequestedError:
            pass
        except CommandError:
            for line in installation.api_log_tail():
                click.echo(f"  {line}", err=True)
            raise
        finally:
            installation.stop()


def _as_owner_of(folder: Path) -> None:
    """If root starts `up` in the folder of an ordinary user, go on as that user, who can start it again."""
    owner = ordinary_owner(folder)
    if owner is None:
        return
    program = [sys.executable, "-P", "-m", "tallystick.cli"]
    if can_run(owner, [*program, "--version"]):
        _say(f"Running as {owner.pw_name}, who can go on with what is kept in {folder}, and not as root")
        run_as(owner, [*program, *sys.argv[1:]])
    _say(
        f"{folder} is in a folder of {owner.pw_name}, who cannot run {sys.executable}: running as root, and what is "
        f"made is root's; for books that {owner.pw_name} can go on with, install Tallystick as {owner.pw_name}"
    )


def _say(step: str) -> None:
    click.echo(step, err=True)


def _as_json(ready: RunningInstallation) -> str:
    return json.dumps(
        {
            "url": ready.url,
            "api_key": ready.api_key,
            "docs": f"{ready.url}/docs",
            "metrics": ready.metrics_url,
            "config": str(ready.configuration_path),
            "shell": str(ready.shell_path),
            "accounts": ready.accounts._asdict(),
            "asset": ASSET,
            "cache": ready.cache,
            "databases": [str(path) for path in ready.databases],
            "pid": os.getpid(),
        }
    )


def _as_text(ready: RunningInstallation) -> str:
    accounts = ready.accounts
    crossing = ""
    if _shard(accounts.carol) != _shard(accounts.alice):
        crossing = f"""
And to carol, whose account is on another shard:

{curl_line(ready.url, ready.api_key, accounts.alice, accounts.carol)}
"""
    return f"""
Tallystick is ready.

  API      {ready.url}
  API key  {ready.api_key}
  Docs     {ready.url}/docs
  Metrics  {ready.metrics_url}, for operators
  Cache    {ready.cache or "none: balances are read from PostgreSQL"}

Move 12.50 {ASSET} from alice to bob; the same line again has the same answer, and a new payment takes a new key:

{curl_line(ready.url, ready.api_key, accounts.alice, accounts.bob)}
{crossing}
For the lines of the README, in another terminal: . {shlex.quote(str(ready.shell_path))}
Ctrl-C stops everything; the data stay in {_places(ready)}
"""


def _places(ready: RunningInstallation) -> str:
    folder = ready.configuration_path.parent
    elsewhere = [path for path in ready.databases if not path.is_relative_to(folder.resolve())]
    if not elsewhere:
        return str(folder)
    return f"""{folder},
and those of PostgreSQL, whose user cannot enter it, in {" and ".join(map(str, elsewhere))}"""


def _shard(account: str) -> int:
    return shard_of(parse_identifier(Prefix.ACCOUNT, account))
