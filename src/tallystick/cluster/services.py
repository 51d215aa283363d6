"""All programs of a cluster: their files of settings, written anew at each start, and their commands."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tallystick.cluster.errors import ClusterError
from tallystick.cluster.plan import API_PORT, METRICS_PORT, Machine, Plan
from tallystick.cluster.programs import Programs
from tallystick.cluster.record import Passwords
from tallystick.cluster.service import Service
from tallystick.cluster.settings.etcd import etcd_settings
from tallystick.cluster.settings.haproxy import haproxy_settings
from tallystick.cluster.settings.patroni import patroni_settings
from tallystick.cluster.settings.valkey import sentinel_settings, valkey_settings
from tallystick.embedded.server_account import ServerAccount, own_account
from tallystick.files import reason_of, write_private

_FOLDER_MODE = 0o711


class Services(NamedTuple):
    """The programs of a cluster, in the order in which they start."""

    coordinators: list[Service]
    databases: list[Service]
    caches: list[Service]
    sentinels: list[Service]
    servers: list[Service]
    proxies: list[Service]

    def all(self) -> list[Service]:
        """All of them."""
        return [service for group in self for service in group]


class ServiceMaker:
    """Makes the programs of a plan. `account` is the user of those that may not be root."""

    def __init__(self, plan: Plan, passwords: Passwords, programs: Programs, account: ServerAccount) -> None:
        self._plan = plan
        self._passwords = passwords
        self._programs = programs
        self._account = account

    def make(self, configuration_path: Path) -> Services:
        """Write all files and return all programs. API servers read the configuration file when they start.

        Raises:
            ClusterError: the files cannot be written.
        """
        plan = self._plan
        try:
            self._make_folders()
            return Services(
                coordinators=[self._etcd(machine) for machine in plan.coordinators],
                databases=[
                    self._patroni(shard, machine)
                    for shard, machines in plan.databases.items()
                    for machine in machines
                ],
                caches=[self._valkey(machine) for machine in plan.caches],
                sentinels=[self._sentinel(machine) for machine in plan.coordinators],
                servers=[self._server(machine, configuration_path) for machine in plan.servers],
                proxies=[self._haproxy(plan.proxy)],
            )
        except OSError as error:
            raise ClusterError(
                f"cannot write in {plan.folder} ({reason_of(error, plan.folder)}): open it, or choose another --data"
            ) from None

    def _make_folders(self) -> None:
        for machine in self._plan.machines:
            folder = self._plan.folder_of(machine)
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            # The umask may have removed the right to enter, which the user of the servers needs.
            folder.chmod(_FOLDER_MODE)
            work = self._plan.work_of(machine)
            if not work.is_dir():
                work.mkdir(mode=0o700)
                self._account.give(work)

    def _etcd(self, machine: Machine) -> Service:
        path = self._write(machine, "etcd.yml", etcd_settings(self._plan, machine))
        return self._service("etcd", machine, [self._programs.etcd, "--config-file", path])

    def _patroni(self, shard: int, machine: Machine) -> Service:
        settings = patroni_settings(self._plan, shard, machine, self._passwords, self._programs.postgres)
        path = self._write(machine, "patroni.yml", settings)
        return self._service("patroni", machine, [*self._programs.patroni, path])

    def _valkey(self, machine: Machine) -> Service:
        settings = valkey_settings(self._plan, machine, self._passwords.cache)
        path = self._write(machine, "valkey.conf", settings)
        return self._own_service("valkey", machine, [self._programs.valkey, path])

    def _sentinel(self, machine: Machine) -> Service:
        settings = sentinel_settings(self._plan, machine, self._passwords.cache)
        path = self._write(machine, "sentinel.conf", settings)
        return self._own_service("sentinel", machine, [self._programs.valkey, path, "--sentinel"])

    def _haproxy(self, machine: Machine) -> Service:
        path = self._write(machine, "haproxy.cfg", haproxy_settings(self._plan))
        return self._service("haproxy", machine, [self._programs.haproxy, "-db", "-f", path])

    def _server(self, machine: Machine, configuration_path: Path) -> Service:
        command = [sys.executable, "-P", "-m", "tallystick.cli", "serve", "--json"]
        command += ["--config", str(configuration_path)]
        command += ["--host", machine.address, "--port", str(API_PORT)]
        command += ["--metrics-host", machine.address, "--metrics-port", str(METRICS_PORT)]
        # All connections come from the proxy.
        command += ["--connections-per-address", "0"]
        return self._own_service("api", machine, command)

    def _service(self, name: str, machine: Machine, command: Iterable[str | Path]) -> Service:
        return Service(name, list(command), plan=self._plan, machine=machine, account=self._account)

    def _own_service(self, name: str, machine: Machine, command: Iterable[str | Path]) -> Service:
        """A program that runs as the user of this process, whose Python and wheels it needs."""
        return Service(
            name,
            list(command),
            plan=self._plan,
            machine=machine,
            account=own_account(),
            environment=os.environ,
        )

    def _write(self, machine: Machine, name: str, text: str) -> Path:
        path = self._plan.folder_of(machine) / name
        write_private(path, text, prepare=self._account.give)
        return path
