"""The commands of `tallystick cluster`.

Their help needs no extra: what they do is in `actions`, which is imported only when one of them runs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tallystick.cli.options import json_option
from tallystick.cluster.plan import FOLDER_DEFAULT, NETWORK_DEFAULT
from tallystick.extras import CLUSTER, require_extra

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class _Command(click.Command):
    """A command that needs the extra, but only when it runs."""

    def invoke(self, ctx: click.Context) -> object:
        """Run it.

        Raises:
            MissingExtraError: a package of the extra is not installed.
        """
        require_extra(CLUSTER, "tallystick cluster")
        return super().invoke(ctx)


class _Commands(click.Group):
    """A group of such commands."""

    command_class = _Command


def _data_option(command: Decorated) -> Decorated:
    return click.option(
        "--data",
        metavar="DIR",
        default=FOLDER_DEFAULT,
        show_default=True,
        type=click.Path(path_type=Path),
        callback=lambda _context, _option, folder: folder.absolute(),
        help="The folder of the cluster.",
    )(command)


@click.group(
    cls=_Commands,
    epilog="Begin with: tallystick cluster up. In another terminal: tallystick cluster status, and then "
    "tallystick cluster off shard1-a",
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
    from tallystick.cli.cluster import actions  # noqa: PLC0415 - an extra

    actions.run(data, network, as_json=as_json)


@cluster.command(epilog="Example: tallystick cluster status --json")
@_data_option
@json_option
def status(*, data: Path, as_json: bool) -> int:
    """Show how every machine is, as its programs say now.

    The exit status is 0 if everything runs, so that any machine may be lost, and 1 if not.
    """
    from tallystick.cli.cluster import actions  # noqa: PLC0415 - an extra

    return 0 if actions.print_status(data, as_json=as_json) else 1


@cluster.command(epilog="Example: tallystick cluster down")
@_data_option
def down(*, data: Path) -> None:
    """Stop the cluster of a folder, also what a killed run left.

    The data stay.
    """
    from tallystick.cli.cluster import actions  # noqa: PLC0415 - an extra

    actions.stop(data)


def _machine_command(name: str, summary: str) -> None:
    """Add a command that does something to machines."""

    def run(*, data: Path, machines: tuple[str, ...]) -> None:
        from tallystick.cli.cluster import actions  # noqa: PLC0415 - an extra

        actions.change_machines(name, data, machines)

    run.__doc__ = summary
    decorated = click.argument("machines", metavar="MACHINE...", nargs=-1, required=True)(_data_option(run))
    cluster.command(name, epilog=f"Example: tallystick cluster {name} shard1-a")(decorated)


_machine_command(
    "off", "Switch machines off.\n\nAll of their programs are killed at once, and stay away until `on`."
)
_machine_command("on", "Switch machines on again, with the data that they had.")
_machine_command(
    "freeze",
    "Stop all programs of machines where they are.\n\nThey keep their connections, and do not answer.",
)
_machine_command("thaw", "Let frozen machines go on.")


@cluster.command("cut", epilog="Example: tallystick cluster cut shard1-a etcd-1 etcd-2 etcd-3")
@_data_option
@click.option("--both", is_flag=True, help="Lose what they send to it, too.")
@click.argument("sender", metavar="MACHINE")
@click.argument("receivers", metavar="[RECEIVER]...", nargs=-1)
def cut_network(*, data: Path, both: bool, sender: str, receivers: tuple[str, ...]) -> None:
    """Lose what a machine sends to others: to all of them by default.

    The machine is not told. Only for a cluster whose machines are network namespaces (`up --network 10.77.0`).
    """
    from tallystick.cli.cluster import actions  # noqa: PLC0415 - an extra

    actions.cut_network(data, sender, receivers, both=both)


@cluster.command("mend", epilog="Example: tallystick cluster mend")
@_data_option
def mend_network(*, data: Path) -> None:
    """Let all that machines send arrive again, after `cut`."""
    from tallystick.cli.cluster import actions  # noqa: PLC0415 - an extra

    actions.mend_network(data)
