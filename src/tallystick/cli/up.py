"""`tallystick up`: everything on this machine, from nothing to a payment."""

import json
import os
from pathlib import Path

import click

from tallystick.cli.demonstration import ASSET
from tallystick.cli.errors import CommandError
from tallystick.cli.installation import Installation, Ready
from tallystick.cli.layout import NODE_COUNT_DEFAULT, SHARD_COUNT_DEFAULT
from tallystick.cli.options import json_option
from tallystick.cli.ports import PORT_MAX
from tallystick.cli.stop_signals import StopRequestedError, StopSignals
from tallystick.domain import limits
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.service.logging import configure_logging

CURL_MINOR_UNITS = 1250


@click.command(epilog="Example: tallystick up --data .data --port 8000")
@click.option("--data", metavar="DIR", default=".data", show_default=True, help="Where everything is kept.")
@click.option(
    "--port",
    type=click.IntRange(1, PORT_MAX),
    default=8000,
    show_default=True,
    help="The port of the API; when it is taken, the next one that is free.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, limits.EMBEDDED_SHARDS_MAX),
    help=f"How many shards there are. Default: as many as there were, at first {SHARD_COUNT_DEFAULT}.",
)
@click.option(
    "--nodes",
    type=click.IntRange(1, limits.EMBEDDED_NODES_MAX),
    help=f"How many PostgreSQL servers carry them. Default: as many as there were, at first {NODE_COUNT_DEFAULT}.",
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
    *, data: str, port: int, shards: int | None, nodes: int | None, with_cache: bool, as_json: bool
) -> None:
    """Start everything on this machine, until Ctrl-C.

    Starts PostgreSQL servers and a Valkey of its own, migrates, opens demonstration accounts on the first start,
    and serves the API. All data stay in one folder, for the next start; shards and nodes may be added then, but not
    removed.
    """
    configure_logging(default_level="warning", for_people=True)
    installation = Installation(
        Path(data).absolute(), port, shards=shards, nodes=nodes, with_cache=with_cache, say=_say
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


def _say(step: str) -> None:
    click.echo(step, err=True)


def _as_json(ready: Ready) -> str:
    return json.dumps(
        {
            "url": ready.url,
            "api_key": ready.api_key,
            "docs": f"{ready.url}/docs",
            "config": str(ready.configuration_path),
            "accounts": ready.accounts._asdict(),
            "asset": ASSET,
            "cache": ready.cache,
            "pid": os.getpid(),
        }
    )


def _as_text(ready: Ready) -> str:
    accounts = ready.accounts
    crossing = ""
    if _shard(accounts.carol) != _shard(accounts.alice):
        crossing = f"""
And to carol, whose account is on another shard:

{_curl(ready, accounts.alice, accounts.carol)}
"""
    return f"""
Tallystick is ready.

  API      {ready.url}
  API key  {ready.api_key}
  Docs     {ready.url}/docs
  Cache    {ready.cache or "none: balances are read from PostgreSQL"}

Move 12.50 {ASSET} from alice to bob:

{_curl(ready, accounts.alice, accounts.bob)}
{crossing}
Ctrl-C stops everything; the data stay in {ready.configuration_path.parent}
"""


def _curl(ready: Ready, source: str, destination: str) -> str:
    body = json.dumps(
        {"source": source, "destination": destination, "amount": str(CURL_MINOR_UNITS), "asset": ASSET}
    )
    # One line, with an idempotency key of its own each time that it is pasted.
    return (
        f"curl -sS {ready.url}/v1/transfers -H 'Authorization: Bearer {ready.api_key}' "
        f"-H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s%N)\" -d '{body}'"
    )


def _shard(account: str) -> int:
    return shard_of(parse_identifier(Prefix.ACCOUNT, account))
