"""The plan of a cluster: its machines, their addresses and their ports. It follows from three values."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tallystick.cluster.errors import ClusterError

FOLDER_DEFAULT: Final = ".cluster"
NETWORK_DEFAULT: Final = "127.77.0"
"""The first three numbers of all addresses. Linux has the whole of 127.0.0.0/8, and few programs use this part."""
SHARD_COUNT: Final = 2

# The usual ports plus 10,000: a server of this machine that listens on all addresses has the usual one.
POSTGRES_PORT: Final = 15432
PATRONI_PORT: Final = 18008
ETCD_PORT: Final = 12379
ETCD_PEER_PORT: Final = 12380
VALKEY_PORT: Final = 16379
SENTINEL_PORT: Final = 16380
API_PORT: Final = 18000
METRICS_PORT: Final = 19000
PROXY_PORT: Final = 18000
PROXY_STATISTICS_PORT: Final = 18404


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of a cluster. `ports` are those that its programs listen on."""

    name: str
    address: str
    ports: tuple[int, ...]

    def at(self, port: int) -> str:
        """The address of one of its programs."""
        return f"{self.address}:{port}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The machines of a cluster.

    `coordinators` run etcd, which decides who is the primary, and the Sentinels, which do so for the cache.
    `databases` has the machines of each shard.
    """

    folder: Path
    network: str
    coordinators: tuple[Machine, ...]
    databases: Mapping[int, tuple[Machine, ...]]
    caches: tuple[Machine, ...]
    servers: tuple[Machine, ...]
    proxy: Machine

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All machines."""
        databases = [machine for machines in self.databases.values() for machine in machines]
        return (*self.coordinators, *databases, *self.caches, *self.servers, self.proxy)

    @property
    def is_loopback(self) -> bool:
        """Whether all machines are loopback addresses. If not, each is a network namespace."""
        return ipaddress.IPv4Address(self.proxy.address).is_loopback

    @property
    def clients(self) -> str:
        """The addresses that the machines send from."""
        return "127.0.0.0/8" if self.is_loopback else f"{self.network}.0/24"

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"http://{self.proxy.at(PROXY_PORT)}"

    @property
    def machines_folder(self) -> Path:
        """The folder with the folders of the machines."""
        return self.folder / "machines"

    def folder_of(self, machine: Machine) -> Path:
        """The folder of a machine: settings and logs."""
        return self.machines_folder / machine.name

    def work_of(self, machine: Machine) -> Path:
        """The folder with a machine's data. All programs of the machine work there or below; nothing else does."""
        return self.folder_of(machine) / "work"

    def shard_of(self, machine: Machine) -> int | None:
        """The shard that has its data on a machine; None if the machine has no database."""
        return next((shard for shard, machines in self.databases.items() if machine in machines), None)

    def machine(self, name: str) -> Machine:
        """The machine with a name.

        Raises:
            ClusterError: there is none.
        """
        for machine in self.machines:
            if machine.name == name:
                return machine
        known = ", ".join(machine.name for machine in self.machines)
        raise ClusterError(f"there is no machine {name!r}: name one of {known}")


def plan_of(folder: Path, *, network: str = NETWORK_DEFAULT, shard_count: int = SHARD_COUNT) -> Plan:
    """The plan of a cluster in a folder.

    Raises:
        ClusterError: the network is not the beginning of a loopback or private address.
    """
    try:
        is_private = ipaddress.IPv4Address(f"{network}.0").is_private
    except ValueError:
        is_private = False
    if not is_private:
        raise ClusterError(
            f"{network!r} is not the beginning of loopback or private addresses: name one like {NETWORK_DEFAULT}"
        )

    def machines(prefix: str, first: int, names: str, *ports: int) -> tuple[Machine, ...]:
        return tuple(
            Machine(f"{prefix}-{name}", f"{network}.{first + number}", ports)
            for number, name in enumerate(names)
        )

    return Plan(
        folder=folder,
        network=network,
        coordinators=machines("etcd", 31, "123", ETCD_PORT, ETCD_PEER_PORT, SENTINEL_PORT),
        databases={
            number: machines(f"shard{number}", 100 + 10 * number + 1, "abc", POSTGRES_PORT, PATRONI_PORT)
            for number in range(1, shard_count + 1)
        },
        caches=machines("cache", 21, "12", VALKEY_PORT),
        servers=machines("api", 11, "12", API_PORT, METRICS_PORT),
        proxy=Machine("proxy", f"{network}.10", (PROXY_PORT, PROXY_STATISTICS_PORT)),
    )
