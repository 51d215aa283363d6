"""The state of a cluster: each program is asked how it is, all at once."""

import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from tallystick.cluster.asking import ask_json, ask_text, ask_valkey
from tallystick.cluster.machines import Power, power_of
from tallystick.cluster.plan import (
    API_PORT,
    ETCD_PORT,
    PATRONI_PORT,
    PROXY_STATISTICS_PORT,
    SENTINEL_PORT,
    VALKEY_PORT,
    Machine,
    Plan,
)
from tallystick.cluster.record import Passwords
from tallystick.cluster.settings.haproxy import BACKEND
from tallystick.embedded.processes import RunningProcess, processes_below

_UNREACHABLE: Final = "unreachable"


class ProcessState(msgspec.Struct, frozen=True):
    """A process of a machine."""

    pid: int
    name: str
    stopped: bool


class MachineState(msgspec.Struct, frozen=True):
    """A machine: whether it is on, off or frozen, and what runs on it."""

    machine: str
    address: str
    power: Power
    processes: list[ProcessState]


class DatabaseState(msgspec.Struct, frozen=True):
    """PostgreSQL on one machine of a shard, as Patroni there says.

    `synchronous`: a commit may wait for this standby. `position` is where its log ends, in bytes; `behind_bytes` is
    how much of the primary's log it lacks.
    """

    machine: str
    state: str
    role: str | None
    timeline: int | None
    synchronous: bool
    position: int | None
    behind_bytes: int | None


class ShardState(msgspec.Struct, frozen=True):
    """A shard. `writable`: it has a primary, and a standby that confirms its commits."""

    shard: int
    writable: bool
    primary: str | None
    databases: list[DatabaseState]


class CoordinatorState(msgspec.Struct, frozen=True):
    """A machine with etcd and a Sentinel. `master` is the address of the cache's master that the Sentinel knows."""

    machine: str
    etcd: str
    leader: bool
    sentinel: str
    master: str | None


class CacheState(msgspec.Struct, frozen=True):
    """A Valkey. `linked`: the replica has its connection to the master."""

    machine: str
    state: str
    role: str | None
    linked: bool | None


class ServerState(msgspec.Struct, frozen=True):
    """An API server: what its `/readyz` says, and whether HAProxy sends it requests."""

    machine: str
    state: str
    in_rotation: bool


class ClusterState(msgspec.Struct, frozen=True):
    """A cluster. `healthy`: everything runs, and another machine may be lost."""

    healthy: bool
    url: str
    shards: list[ShardState]
    coordinators: list[CoordinatorState]
    caches: list[CacheState]
    servers: list[ServerState]
    proxy: str
    machines: list[MachineState]


def ask_state(plan: Plan, passwords: Passwords) -> ClusterState:
    """Ask all programs at once. What does not answer within a second is `unreachable`."""
    with ThreadPoolExecutor(max_workers=len(plan.machines)) as threads:
        # All are asked before the first answer is waited for.
        shards = [
            (number, threads.map(ask_database, machines)) for number, machines in plan.databases.items()
        ]
        coordinators = threads.map(lambda one: _coordinator(one, passwords), plan.coordinators)
        caches = threads.map(lambda one: _cache(one, passwords), plan.caches)
        rotation = _rotation(plan)
        servers = threads.map(lambda one: _server(one, rotation or {}), plan.servers)
        state = ClusterState(
            healthy=True,
            url=plan.url,
            shards=[shard_state(number, list(answers)) for number, answers in shards],
            coordinators=list(coordinators),
            caches=list(caches),
            servers=list(servers),
            proxy="up" if rotation is not None else _UNREACHABLE,
            machines=_machines(plan),
        )
    return msgspec.structs.replace(state, healthy=_is_healthy(state))


def ask_database(machine: Machine) -> dict[str, Any]:
    """What Patroni on a machine says, with the name of the machine."""
    answer = ask_json(f"http://{machine.at(PATRONI_PORT)}/patroni") or {"state": _UNREACHABLE}
    return {**answer, "machine": machine.name}


def shard_state(number: int, answers: Sequence[Mapping[str, Any]]) -> ShardState:
    """The state of a shard, from what Patroni says on each of its machines."""
    primary = next((one for one in answers if _is_primary(one)), None)
    end = None if primary is None else _position(primary)
    confirming = [] if primary is None else primary.get("replication", [])
    return ShardState(
        shard=number,
        writable=any(one.get("sync_state") in {"quorum", "sync"} for one in confirming),
        primary=None if primary is None else primary["machine"],
        databases=[_database(one, end) for one in answers],
    )


def _is_primary(answer: Mapping[str, Any]) -> bool:
    return answer["state"] == "running" and answer.get("role") in {"primary", "master"}


def _database(answer: Mapping[str, Any], end: int | None) -> DatabaseState:
    position = _position(answer)
    known = position is not None and end is not None
    return DatabaseState(
        machine=answer["machine"],
        state=answer["state"],
        role=answer.get("role"),
        timeline=answer.get("timeline"),
        synchronous=bool(answer.get("quorum_standby") or answer.get("sync_standby")),
        position=position,
        behind_bytes=max(0, (end or 0) - (position or 0)) if known else None,
    )


def _position(answer: Mapping[str, Any]) -> int | None:
    places = answer.get("xlog", {})
    found = [
        places[name] for name in ("location", "received_location", "replayed_location") if places.get(name)
    ]
    return max(found) if found else None


def _coordinator(machine: Machine, passwords: Passwords) -> CoordinatorState:
    url = f"http://{machine.at(ETCD_PORT)}"
    health = ask_json(f"{url}/health")
    status = ask_json(f"{url}/v3/maintenance/status", {}) or {}
    sentinel = ask_valkey(machine.address, SENTINEL_PORT, passwords.cache, "sentinel")
    known = dict(part.partition("=")[::2] for part in (sentinel or {}).get("master0", "").split(","))
    return CoordinatorState(
        machine=machine.name,
        etcd=_UNREACHABLE if health is None else "healthy" if health.get("health") == "true" else "unhealthy",
        leader="leader" in status and status["leader"] == status.get("header", {}).get("member_id"),
        sentinel=_UNREACHABLE if sentinel is None else known.get("status", "unknown"),
        master=known.get("address"),
    )


def _cache(machine: Machine, passwords: Passwords) -> CacheState:
    answer = ask_valkey(machine.address, VALKEY_PORT, passwords.cache, "replication")
    if answer is None:
        return CacheState(machine.name, _UNREACHABLE, None, None)
    role = {"master": "master", "slave": "replica"}.get(answer.get("role", ""))
    return CacheState(
        machine.name, "up", role, answer.get("master_link_status") == "up" if role == "replica" else None
    )


def _server(machine: Machine, rotation: Mapping[str, str]) -> ServerState:
    ready = ask_json(f"http://{machine.at(API_PORT)}/readyz")
    state = _UNREACHABLE if ready is None else str(ready.get("status", "unknown"))
    return ServerState(machine.name, state, rotation.get(machine.name, "").startswith("UP"))


def _rotation(plan: Plan) -> dict[str, str] | None:
    """What HAProxy says of each API server; None if it does not answer."""
    text = ask_text(f"http://{plan.proxy.at(PROXY_STATISTICS_PORT)}/;csv")
    if text is None:
        return None
    rows = csv.DictReader(text.removeprefix("# ").splitlines())
    return {row["svname"]: row["status"] for row in rows if row["pxname"] == BACKEND}


def _machines(plan: Plan) -> list[MachineState]:
    everything = processes_below(plan.machines_folder)

    def state(machine: Machine) -> MachineState:
        work = plan.work_of(machine).resolve()
        own: list[RunningProcess] = [one for one in everything if one.folder.is_relative_to(work)]
        return MachineState(
            machine.name,
            machine.address,
            power_of(plan, machine, own),
            [ProcessState(one.pid, one.name, one.stopped) for one in own],
        )

    return [state(machine) for machine in plan.machines]


def _is_healthy(state: ClusterState) -> bool:
    return (
        state.proxy == "up"
        and all(one.in_rotation and one.state == "ok" for one in state.servers)
        and all(one.etcd == "healthy" and one.sentinel == "ok" for one in state.coordinators)
        and any(one.leader for one in state.coordinators)
        and all(one.state == "up" and one.linked is not False for one in state.caches)
        and all(is_whole(shard) for shard in state.shards)
    )


def is_whole(shard: ShardState) -> bool:
    """Whether a shard is writable, and each of its standbys runs and may confirm commits."""
    return shard.writable and all(
        one.machine == shard.primary or (one.state in {"running", "streaming"} and one.synchronous)
        for one in shard.databases
    )
