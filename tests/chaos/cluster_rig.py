"""A whole cluster as what a run strikes: machines in a network of their own, and databases on disks of their own."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tallystick.cluster.plan import API_PORT
from tallystick.cluster.record import read_record
from tests.acceptance.processes import run_anew
from tests.chaos.cluster_disks import move_to_own_disk, take_disk_away
from tests.chaos.cluster_faults import ClusterFaults
from tests.chaos.cluster_final import wrong_with_databases
from tests.chaos.run import RunSettings, Verdict, run
from tests.chaos.strikes import Running
from tests.cluster.running import Cluster, running_cluster

NETWORK: Final = "10.77.0"
TENANT: Final = "chaos"
CLIENTS: Final = 240
"""So many that those that wait for one shard leave the others at their rate."""
VERIFY_SECONDS_MAX: Final = 900.0
FAULT_SECONDS: Final = 60.0
"""A machine that is silent is missed after 20 s, and must be whole again."""


def run_cluster(folder: Path, settings: RunSettings) -> Verdict:
    """Run in a folder, with a cluster of its own. This process must be in namespaces of its own."""
    with _cluster_on_disks() as cluster:
        plan, passwords = read_record(cluster.data)
        faults = ClusterFaults(plan, passwords)

        def verify() -> str:
            configuration = str(cluster.data / "tallystick.toml")
            done = run_anew("verify", "--json", "--config", configuration, timeout_seconds=VERIFY_SECONDS_MAX)
            wrong = "" if done.returncode == 0 else done.stdout + done.stderr
            return wrong + wrong_with_databases(plan, passwords)

        balanced = plan.url
        running = Running(
            # Half of the requests through the balancer.
            [balanced, *(f"http://{one.at(API_PORT)}" for one in plan.servers), balanced],
            _own_api_key(cluster),
            faults.strikes(),
            [],
            verify,
            [balanced],
            FAULT_SECONDS,
        )
        verdict = asyncio.run(run(folder, running, settings))
        (folder / "cluster.log").write_bytes(cluster.said.read_bytes())
        return verdict


def _own_api_key(cluster: Cluster) -> str:
    """A key of a tenant that has nothing: what `cluster up` has posted is not in the history."""
    done = run_anew(
        "keys",
        "create",
        "--name",
        TENANT,
        "--tenant",
        TENANT,
        "--scope",
        "all",
        "--json",
        "--config",
        _file(cluster),
    )
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["key"])


def _file(cluster: Cluster) -> str:
    return str(cluster.data / "tallystick.toml")


@contextmanager
def _cluster_on_disks() -> Iterator[Cluster]:
    """A running cluster. It is started twice: the first time makes the folders that become disks."""
    with running_cluster(NETWORK) as cluster:
        plan, _ = read_record(cluster.data)
        os.kill(cluster.pid, signal.SIGINT)
        assert cluster.wait_for_end() == 0, cluster.said.read_text()
        folders = [plan.work_of(machine) for machines in plan.databases.values() for machine in machines]
        for folder in folders:
            move_to_own_disk(folder)
        try:
            cluster.start()
            cluster.wait_until_healthy()
            yield cluster
        finally:
            cluster.end()
            for folder in folders:
                take_disk_away(folder)
