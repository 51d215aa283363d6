"""The settings of one member of etcd."""

import json

from tallystick.cluster.plan import ETCD_PEER_PORT, ETCD_PORT, Machine, Plan


def etcd_settings(plan: Plan, machine: Machine) -> str:
    """The file for `etcd --config-file`. It is YAML, of which JSON is a part."""
    client, peer = f"http://{machine.at(ETCD_PORT)}", f"http://{machine.at(ETCD_PEER_PORT)}"
    members = [f"{one.name}=http://{one.at(ETCD_PEER_PORT)}" for one in plan.coordinators]
    settings = {
        "name": machine.name,
        "data-dir": str(plan.work_of(machine) / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": ",".join(members),
        "initial-cluster-state": "new",
        "initial-cluster-token": "tallystick",
        # Patroni speaks to it through this gateway, which etcd 3.4 leaves out if it reads a file.
        "enable-grpc-gateway": True,
        # Patroni writes every second, so old revisions would fill the store.
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "1h",
        "logger": "zap",
        "log-level": "warn",
    }
    return json.dumps(settings, indent=2) + "\n"
