"""What the commands of `tallystick cluster` do. It needs the extra, so it is imported only when one of them runs."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from tallystick.cli.cluster.own_cluster import OwnCluster, ReadyCluster
from tallystick.cli.cluster.screen import print_state
from tallystick.cli.demonstration import ASSET
from tallystick.cli.output import print_json
from tallystick.cli.own_process import prepare_process
from tallystick.cli.stop_signals import StopRequestedError, StopSignals
from tallystick.cli.trial import curl_line
from tallystick.cluster.machines import freeze, switch_off, switch_on, thaw
from tallystick.cluster.namespaces import cut, mend
from tallystick.cluster.plan import FOLDER_DEFAULT, Machine, Plan
from tallystick.cluster.record import read_record
from tallystick.cluster.state import ask_state
from tallystick.cluster.stopping import stop_cluster

_CHANGES: Final[Mapping[str, tuple[Callable[[Plan, Machine], object], str]]] = {
    "off": (switch_off, "is off"),
    "on": (switch_on, "is on"),
    "freeze": (freeze, "is frozen"),
    "thaw": (thaw, "goes on"),
}
"""What a command does to a machine, and how the machine is then."""


def run(data: Path, network: str | None, *, as_json: bool) -> None:
    """Run a cluster until a request to stop, and print how to try it when it is ready."""
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


def print_status(data: Path, *, as_json: bool) -> bool:
    """Print how every machine is. Returns whether everything runs."""
    state = ask_state(*read_record(data))
    if as_json:
        print_json(state)
    else:
        print_state(state)
    return state.healthy


def stop(data: Path) -> None:
    """Stop the cluster of a folder, also what a killed run left."""
    plan, _ = read_record(data)
    click.echo(stop_cluster(plan))


def change_machines(command: str, data: Path, machines: Sequence[str]) -> None:
    """Do to machines what the command with this name does."""
    plan, _ = read_record(data)
    change, done = _CHANGES[command]
    for machine in [plan.machine(one) for one in machines]:
        change(plan, machine)
        click.echo(f"{machine.name} {done}")


def cut_network(data: Path, sender: str, receivers: Sequence[str], *, both: bool) -> None:
    """Lose what a machine sends to others, or to all of them; with `both` also what they send to it."""
    plan, _ = read_record(data)
    machine = plan.machine(sender)
    others = [plan.machine(one) for one in receivers] or [one for one in plan.machines if one != machine]
    cut(plan, machine, others)
    if both:
        for other in others:
            cut(plan, other, [machine])
    click.echo(f"what {machine.name} sends to {', '.join(one.name for one in others)} is lost")


def mend_network(data: Path) -> None:
    """Let all that machines send arrive again."""
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
    here = "" if folder == Path(FOLDER_DEFAULT).absolute() else f" --data {shlex.quote(str(folder))}"
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
