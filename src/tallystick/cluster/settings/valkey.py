"""The settings of the cache: Valkey with a replica, and the Sentinels that choose the master."""

from collections.abc import Iterable
from typing import Final

from tallystick.cluster.plan import SENTINEL_PORT, VALKEY_PORT, Machine, Plan

MASTER: Final = "tallystick"
"""The name under which Sentinels know the master."""

_SILENT_MS: Final = 2_000
"""After this time without an answer a Sentinel takes a server for lost."""
_FAILOVER_MS: Final = 10_000
_MEMORY_MAX: Final = "64mb"


def valkey_settings(plan: Plan, machine: Machine, password: str) -> str:
    """The file of one Valkey. The first machine begins as the master."""
    master = plan.caches[0]
    lines = [
        f"bind {machine.address}",
        f"port {VALKEY_PORT}",
        # Linux may choose another loopback address for connections to others.
        f"replica-announce-ip {machine.address}",
        f"dir {_quoted(str(plan.work_of(machine)))}",
        # A cache: nothing in it is worth keeping.
        'save ""',
        "appendonly no",
        f"maxmemory {_MEMORY_MAX}",
        "maxmemory-policy allkeys-lru",
        f"requirepass {password}",
        f"masterauth {password}",
    ]
    if machine != master:
        lines.append(f"replicaof {master.address} {VALKEY_PORT}")
    return _text(lines)


def sentinel_settings(plan: Plan, machine: Machine, password: str) -> str:
    """The file of one Sentinel, which changes it while it runs."""
    majority = len(plan.coordinators) // 2 + 1
    return _text(
        [
            f"bind {machine.address}",
            f"port {SENTINEL_PORT}",
            f"sentinel announce-ip {machine.address}",
            f"dir {_quoted(str(plan.work_of(machine)))}",
            f"requirepass {password}",
            f"sentinel monitor {MASTER} {plan.caches[0].address} {VALKEY_PORT} {majority}",
            f"sentinel auth-pass {MASTER} {password}",
            f"sentinel down-after-milliseconds {MASTER} {_SILENT_MS}",
            f"sentinel failover-timeout {MASTER} {_FAILOVER_MS}",
        ]
    )


def cache_address(plan: Plan, password: str) -> str:
    """The address of the cache for the configuration of API servers."""
    sentinels = ",".join(machine.at(SENTINEL_PORT) for machine in plan.coordinators)
    return f"valkey+sentinel://:{password}@{sentinels}/{MASTER}?sentinel_password={password}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
