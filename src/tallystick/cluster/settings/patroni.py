"""The settings of Patroni on one machine, which starts PostgreSQL there and decides with the others who is primary.

docs/operations/patroni.md says what each setting protects from.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tallystick.cluster.plan import ETCD_PORT, PATRONI_PORT, POSTGRES_PORT, Machine, Plan
from tallystick.cluster.record import Passwords

NAMESPACE: Final = "/tallystick/"
SUPERUSER: Final = "postgres"
_REPLICATION_ROLE: Final = "replicator"
_REWIND_ROLE: Final = "rewinder"
_PATRONI_USER: Final = "patroni"

# Kept in etcd and the same for all machines of a shard: what is acknowledged is on two machines, and the time that a
# failover takes.
SHARED: Final[Mapping[str, Any]] = {
    "ttl": 20,
    "loop_wait": 1,
    "retry_timeout": 3,
    "primary_start_timeout": 0,
    "failsafe_mode": True,
    "synchronous_mode": "quorum",
    "synchronous_mode_strict": True,
    "synchronous_node_count": 1,
}

PARAMETERS: Final[Mapping[str, str]] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "password_encryption": "scram-sha-256",  # nosec B105  # the name of a method
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
    "max_prepared_transactions": "16",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
}
"""What PostgreSQL needs on any machine."""

_SMALL: Final[Mapping[str, str]] = {
    # Six servers share one machine.
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "jit": "off",
    "log_checkpoints": "off",
    "unix_socket_directories": "",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}

INITDB: Final = (
    {"encoding": "UTF8"},
    {"locale": "C"},
    {"locale-provider": "builtin"},
    {"builtin-locale": "C.UTF-8"},
    "data-checksums",
)


def scope_of(shard: int) -> str:
    """The name of a shard in etcd."""
    return f"shard-{shard}"


def patroni_settings(
    plan: Plan, shard: int, machine: Machine, passwords: Passwords, programs_folder: Path
) -> str:
    """The file of Patroni. It is YAML, of which JSON is a part."""
    settings = {
        "scope": scope_of(shard),
        "namespace": NAMESPACE,
        "name": machine.name,
        "log": {"level": "INFO", "format": "%(asctime)s %(levelname)s: %(message)s"},
        "restapi": {
            "listen": machine.at(PATRONI_PORT),
            "connect_address": machine.at(PATRONI_PORT),
            "authentication": {"username": _PATRONI_USER, "password": passwords.patroni},
        },
        "ctl": {"authentication": {"username": _PATRONI_USER, "password": passwords.patroni}},
        "etcd3": {"hosts": [one.at(ETCD_PORT) for one in plan.coordinators]},
        "bootstrap": {
            "dcs": {
                **SHARED,
                "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": dict(PARAMETERS)},
            },
            "initdb": list(INITDB),
        },
        "postgresql": {
            "listen": machine.at(POSTGRES_PORT),
            "connect_address": machine.at(POSTGRES_PORT),
            "data_dir": str(plan.work_of(machine) / "postgres"),
            "bin_dir": str(programs_folder),
            "pgpass": str(plan.work_of(machine) / "pgpass"),
            "authentication": {
                "superuser": {"username": SUPERUSER, "password": passwords.superuser},
                "replication": {"username": _REPLICATION_ROLE, "password": passwords.replication},
                "rewind": {"username": _REWIND_ROLE, "password": passwords.rewind},
            },
            "pg_hba": [
                f"host replication {_REPLICATION_ROLE} {plan.clients} scram-sha-256",
                f"host all all {plan.clients} scram-sha-256",
            ],
            "parameters": dict(_SMALL),
            "basebackup": {"checkpoint": "fast"},
            "remove_data_directory_on_rewind_failure": True,
            "remove_data_directory_on_diverged_timelines": True,
        },
        "watchdog": {"mode": "off"},
    }
    return json.dumps(settings, indent=2) + "\n"
