"""The screen of a cluster's state."""

import click

from tallystick.cli.output import print_rows
from tallystick.cluster.state import ClusterState, ShardState


def print_state(state: ClusterState) -> None:
    """Print a table for each kind of machine."""
    if not any(one.processes for one in state.machines):
        click.echo("The cluster does not run: start it with tallystick cluster up")
        return
    power = {one.machine: one.power for one in state.machines}
    for shard in state.shards:
        click.echo(f"Shard {shard.shard}: {_in_words(shard)}")
        print_rows(
            ["machine", "power", "state", "role", "timeline", "behind_bytes"],
            [
                [
                    one.machine,
                    power[one.machine],
                    one.state,
                    "synchronous standby" if one.synchronous else one.role,
                    one.timeline,
                    one.behind_bytes,
                ]
                for one in shard.databases
            ],
            numbers=["timeline", "behind_bytes"],
        )
        click.echo()
    print_rows(
        ["machine", "power", "etcd", "sentinel", "master of the cache"],
        [
            [
                one.machine,
                power[one.machine],
                f"{one.etcd}, leader" if one.leader else one.etcd,
                one.sentinel,
                one.master,
            ]
            for one in state.coordinators
        ],
    )
    click.echo()
    print_rows(
        ["machine", "power", "valkey", "role"],
        [
            [
                one.machine,
                power[one.machine],
                one.state,
                f"{one.role}, not linked" if one.linked is False else one.role,
            ]
            for one in state.caches
        ],
    )
    click.echo()
    print_rows(
        ["machine", "power", "shards", "gets requests"],
        [
            [one.machine, power[one.machine], one.state, "yes" if one.in_rotation else "no"]
            for one in state.servers
        ],
    )
    click.echo()
    click.echo(f"HAProxy at {state.url}: {state.proxy}")
    click.echo(
        "Healthy: any machine may be lost"
        if state.healthy
        else "Not healthy: not everything runs that should"
    )


def _in_words(shard: ShardState) -> str:
    if shard.primary is None:
        return "no primary"
    if not shard.writable:
        return f"the primary {shard.primary} waits for a standby"
    return f"writable, the primary is {shard.primary}"
