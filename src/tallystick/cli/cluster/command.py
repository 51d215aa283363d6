"""The commands of `tallystick cluster`."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tallystick.cli.cluster.own_cluster import OwnCluster, ReadyCluster
from tallystick.cli.cluster.screen import print_state
from tallystick.cli.demonstration import ASSET
from tallystick.cli.options import json_option
from tallystick.cli.output import print_json
from tallystick.cli.own_process import prepare_process
from tallystick.cli.stop_signals import StopRequestedError, StopSignals
from tallystick.cli.trial import curl_line
from tallystick.cluster.machines import freeze, switch_off, switch_on, thaw
from tallystick.cluster.namespaces import cut, mend
from tallystick.cluster.plan import NETWORK_DEFAULT, Machine, Plan
from tallystick.cluster.record import read_record
from tallystick.cluster.state import ask_state
from tallystick.cluster.stopping import stop_cluster

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_FOLDER_DEFAULT: Final = ".cluster"


def _data_option(command: Decorated) -> Decorated:
    return click.option(
        "--data",
        metavar="DIR",
        default=_FOLDER_DEFAULT,
        show_default=True,
        type=click.Path(path_type=Path),
        callback=lambda _context, _option, folder: folder.absolute(),
        help="The folder of the cluster.",
    )(command)


@click.group(
    epilog="Begin with: tallystick cluster up. In another terminal: tallystick cluster status, and then "
    "tallystick cluster off shard1-a"
)
def cluster() -> None:
    """Run a cluster that survives the loss of any machine, on this Linux machine.

    Two shards, each with a primary and two standbys of PostgreSQL under Patroni; etcd on three machines; two API
    servers behind HAProxy; Valkey with a replica and three Sentinels. Each machine of the cluster is an address
    such as 127.77.0.111 and a folder. It is for trying failures out, and other users of this machine can reach it:
    docs/operations has the same for real machines.
    """


@cluster.command(epilog="Example: tallystick cluster up --data .cluster")
@_data_option
@click.option(
    "--network",
    metavar="ADDRESS",
    help="The first three numbers of all addresses. Outside of 127.0.0.0/8 each machine is a network namespace, and "
    f"this takes root. Default: as before, at first {NETWORK_DEFAULT}.",
)
@json_option
def up(*, data: Path, network: str | None, as_json: bool) -> None:
    """Start the cluster, until Ctrl-C or `tallystick cluster down`.

    A program that ends by itself is started again, unless its machine was switched off. All data stay in the
    folder, for the next start. Needs the programs etcd and haproxy of the system.
    """
    prepare_process(_say)
    with StopSignals() as stop:
        own = OwnCluster(data, network, say=_say, stop=stop)
        try:
            ready = own.start()
            click.echo(_as_json(ready) if as_json else _as_text(ready))
            own.watch()
        except StopRequestedError:
            pass
        finally:
            own.stop()


@cluster.command(epilog="Example: tallystick cluster status --json")
@_data_option
@json_option
def status(*, data: Path, as_json: bool) -> int:
    """Show how every machine is, as its programs say now.

    The exit status is 0 if everything runs, so that any machine may be lost, and 1 if not.
    """
    state = ask_state(*read_record(data))
    if as_json:
        print_json(state)
    else:
        print_state(state)
    return 0 if state.healthy else 1


@cluster.command(epilog="Example: tallystick cluster down")
@_data_option
def down(*, data: Path) -> None:
    """Stop the cluster of a folder, also what a killed run left.

    The data stay.
    """
    plan, _ = read_record(data)
    click.echo(stop_cluster(plan))


def _machine_command(
    name: str, summary: str, example: str, act: Callable[[Plan, Machine], object], done: str
) -> None:
    """Add a command that does something to machines."""

    def run(*, data: Path, machines: tuple[str, ...]) -> None:
        plan, _ = read_record(data)
        for machine in [plan.machine(one) for one in machines]:
            act(plan, machine)
            click.echo(f"{machine.name} {done}")

    run.__doc__ = summary
    decorated = click.argument("machines", metavar="MACHINE...", nargs=-1, required=True)(_data_option(run))
    cluster.command(name, epilog=f"Example: tallystick cluster {example}")(decorated)


_machine_command(
    "off",
    "Switch machines off.\n\nAll of their programs are killed at once, and stay away until `on`.",
    "off shard1-a",
    switch_off,
    "is off",
)
_machine_command(
    "on", "Switch machines on again, with the data that they had.", "on shard1-a", switch_on, "is on"
)
_machine_command(
    "freeze",
    "Stop all programs of machines where they are.\n\nThey keep their connections, and do not answer.",
    "freeze shard1-a",
    freeze,
    "is frozen",
)
_machine_command("thaw", "Let frozen machines go on.", "thaw shard1-a", thaw, "goes on")


@cluster.command("cut", epilog="Example: tallystick cluster cut shard1-a etcd-1 etcd-2 etcd-3")
@_data_option
@click.option("--both", is_flag=True, help="Lose what they send to it, too.")
@click.argument("sender", metavar="MACHINE")
@click.argument("receivers", metavar="[RECEIVER]...", nargs=-1)
def cut_network(*, data: Path, both: bool, sender: str, receivers: tuple[str, ...]) -> None:
    """Lose what a machine sends to others: to all of them by default.

    The machine is not told. Only for a cluster whose machines are network namespaces (`up --network 10.77.0`).
    """
    plan, _ = read_record(data)
    machine = plan.machine(sender)
    others = [plan.machine(one) for one in receivers] or [one for one in plan.machines if one != machine]
    cut(plan, machine, others)
    if both:
        for other in others:
            cut(plan, other, [machine])
    click.echo(f"what {machine.name} sends to {', '.join(one.name for one in others)} is lost")


@cluster.command("mend", epilog="Example: tallystick cluster mend")
@_data_option
def mend_network(*, data: Path) -> None:
    """Let all that machines send arrive again, after `cut`."""
    plan, _ = read_record(data)
    mend(plan)
    click.echo("everything arrives again")


def _say(step: str) -> None:
    click.echo(step, err=True)


def _as_json(ready: ReadyCluster) -> str:
    return json.dumps(
        {
            "url": ready.url,
            "api_key": ready.api_key,
            "docs": f"{ready.url}/docs",
            "config": str(ready.configuration_path),
            "shell": str(ready.shell_path),
            "accounts": ready.accounts._asdict(),
            "asset": ASSET,
            "pid": os.getpid(),
        }
    )


def _as_text(ready: ReadyCluster) -> str:
    folder = ready.configuration_path.parent
    here = "" if folder == Path(_FOLDER_DEFAULT).absolute() else f" --data {shlex.quote(str(folder))}"
    command = f"{_program()} cluster"
    return f"""
The cluster is ready.

  API      {ready.url}
  API key  {ready.api_key}
  Docs     {ready.url}/docs

Move 12.50 {ASSET} from alice to bob; the same line again has the same answer, and a new payment takes a new key:

{curl_line(ready.url, ready.api_key, ready.accounts.alice, ready.accounts.bob)}

In another terminal:

  {command} status{here}
  {command} off shard1-a{here}
  {command} on shard1-a{here}

The first shows how every machine is, the second switches one off. Then pay again.

Ctrl-C stops everything; the data stay in {folder}
"""


def _program() -> str:
    """The command as it was called, unless a shell finds it by its name."""
    return "tallystick" if shutil.which("tallystick") else shlex.quote(sys.argv[0])
