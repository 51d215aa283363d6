"""`python -m tests.chaos`: a run of any length, whose history and final state stay in a folder."""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.chaos.cluster_rig import CLIENTS as CLUSTER_CLIENTS
from tests.chaos.cluster_rig import run_cluster
from tests.chaos.faults import run_embedded
from tests.chaos.load import LoadSettings
from tests.chaos.published import VERDICT
from tests.chaos.rig import backends, two_nodes
from tests.chaos.run import RunSettings, Verdict
from tests.cluster.network import enter_own_namespaces


def main() -> int:
    """Run once, and say what has come of it; 0 if it is good."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long there is load")
    parser.add_argument("--seed", type=int, default=None, help="repeats the sequences of clients and faults")
    parser.add_argument("--clients", type=int, default=None)
    parser.add_argument(
        "--requests-per-second", type=float, default=LoadSettings._field_defaults["requests_per_second"]
    )
    parser.add_argument("--folder", type=Path, default=None, help="where the history goes; a new folder")
    parser.add_argument(
        "--cluster", action="store_true", help="strike a whole cluster, which takes root, etcd and HAProxy"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="KIND", help="a kind of fault; by default all happen"
    )
    arguments = parser.parse_args()
    if arguments.cluster:
        if os.geteuid() != 0:
            parser.error("--cluster makes network namespaces and disks: run it as root")
        enter_own_namespaces()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="tallystick-chaos-", dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"seed {seed}, {arguments.seconds:.0f} s, in {folder}\n")
    clients = CLUSTER_CLIENTS if arguments.cluster else LoadSettings._field_defaults["clients"]
    load = LoadSettings(seed, arguments.seconds, arguments.clients or clients, arguments.requests_per_second)
    settings = RunSettings(load, tuple(arguments.only))
    run = run_cluster if arguments.cluster else _run_servers
    verdict = run(folder, settings)
    (folder / VERDICT).write_bytes(msgspec.json.format(msgspec.json.encode(verdict._asdict())))
    sys.stdout.write(f"{verdict.text()}\nseed {seed}, in {folder}\n")
    return 0 if verdict.good else 1


def _run_servers(folder: Path, settings: RunSettings) -> Verdict:
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-chaos-servers-") as servers,
        two_nodes() as nodes,
        backends(Path(servers), nodes) as started,
    ):
        return asyncio.run(run_embedded(folder, started, settings))


if __name__ == "__main__":
    sys.exit(main())
