"""`tallystick restored`: continue the log of a shard that was restored to an earlier moment."""

import asyncio
import sys
from pathlib import Path

import click

from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option, owner_option
from tallystick.cli.output import print_json
from tallystick.domain import limits
from tallystick.domain.times import time_of
from tallystick.service.configuration import read_owner_configuration
from tallystick.service.logging import configure_logging
from tallystick.service.restoration import Restoration, continue_restored


@click.command(epilog='Example: tallystick restored --shard 1 --reason "disk of node 1 lost"')
@configuration_option
@owner_option
@click.option("--shard", "number", metavar="N", type=int, required=True, help="The shard that was restored.")
@click.option("--reason", required=True, help="Why it was restored; kept in its database, for people.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def restored(
    *, configuration_path: Path, owner_path: Path | None, number: int, reason: str, yes: bool, as_json: bool
) -> None:
    """Continue the log of a shard that was restored to an earlier moment, before it is served again.

    Clients were told of positions that the restored log does not have. None of them is used again: the log goes on
    far beyond them. Run it once after each restore, also if perhaps nothing was lost, and then `tallystick verify`.
    """
    configure_logging(default_level="error", for_people=True)
    reason = _one_line(reason)
    shards = {
        shard.number: shard for shard in read_owner_configuration(configuration_path, owner_path).shards
    }
    if number not in shards:
        known = ", ".join(map(str, sorted(shards)))
        raise CommandError(f"there is no shard {number} in the configuration: choose from {known}")
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError("this asks before it acts: answer in a terminal, or add --yes")
        click.confirm(f"Was shard {number} restored, and does no server use it?", abort=True, err=True)
    done = asyncio.run(continue_restored(number, shards[number].owner, reason))
    if as_json:
        print_json(_fields(done))
    else:
        _print(done)


def _one_line(reason: str) -> str:
    text = " ".join(reason.split())
    if not text or len(text) > limits.RESTORATION_REASON_CHARACTERS_MAX or not text.isprintable():
        raise CommandError(
            f"--reason: expected 1 to {limits.RESTORATION_REASON_CHARACTERS_MAX} printable characters"
        )
    return text


def _print(done: Restoration) -> None:
    click.echo(
        f"shard {done.shard}: the log ended at position {done.lost_after:,}, recorded at "
        f"{time_of(done.restored_to_us).isoformat()}\n"
        f"positions {done.lost_after + 1:,} to {done.lost_through:,} are not used again (batch {done.batch:,})\n"
        f"next: tallystick verify"
    )


def _fields(done: Restoration) -> dict[str, object]:
    return {
        "shard": done.shard,
        "batch": done.batch,
        "restored_to": time_of(done.restored_to_us).isoformat(),
        "lost_after": done.lost_after,
        "lost_through": done.lost_through,
    }
