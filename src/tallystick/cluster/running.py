"""A cluster that runs in this process: started in order, watched, and stopped in the opposite order."""

import os
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tallystick.cluster.asking import ask_json, ask_valkey
from tallystick.cluster.errors import ClusterError
from tallystick.cluster.machines import end_all, switch_on
from tallystick.cluster.namespaces import make_namespaces, remove_namespaces
from tallystick.cluster.plan import (
    API_PORT,
    ETCD_PORT,
    SENTINEL_PORT,
    VALKEY_PORT,
    Machine,
    Plan,
)
from tallystick.cluster.programs import find_programs
from tallystick.cluster.record import Passwords
from tallystick.cluster.service import Service
from tallystick.cluster.services import ServiceMaker, Services
from tallystick.cluster.state import ShardState, ask_database, is_whole, shard_state
from tallystick.cluster.watchdog import Watchdog
from tallystick.embedded.lock import DataFolderLock
from tallystick.embedded.server_account import ServerAccount, account_for

START_TIMEOUT_SECONDS: Final = 180.0
"""Long, because PostgreSQL may replay its log, and standbys may be copied anew."""
STOP_TIMEOUT_SECONDS: Final = 60.0
POLL_INTERVAL_SECONDS: Final = 0.1
ENDS_IN_A_ROW_MAX: Final = 5
_FOLDER_MODE: Final = 0o711

Say = Callable[[str], None]


class RunningCluster:
    """The programs of a cluster. One thread calls `lock`, `start_…`, `look` and `stop`, in this order."""

    def __init__(self, plan: Plan, passwords: Passwords, *, say: Say, check_stop: Callable[[], None]) -> None:
        """`say` is called with each event, in words. `check_stop` raises if a stop was requested."""
        self._plan = plan
        self._passwords = passwords
        self._say = say
        self._check_stop = check_stop
        self._started: list[Service] = []
        self._services: Services | None = None
        self._watchdog = Watchdog(plan, say=say)
        self._held = ExitStack()
        self._held.callback(self._watchdog.stop)

    def prepare(self, configuration_path: Path) -> None:
        """Lock the folder, end what a killed run left, and write the files of all programs.

        Raises:
            ClusterError: the system lacks a program, an address is taken, or the folder cannot be used.
            DataFolderInUseError: the cluster runs already.
            EmbeddedServerError: PostgreSQL or Valkey cannot run here.
        """
        plan = self._plan
        folder = plan.machines_folder
        self._held.enter_context(DataFolderLock(plan.folder))
        if left := end_all(folder):
            self._say(f"Ended {left} processes that an earlier run had left")
        account = account_for(folder)
        if not folder.is_dir():
            folder.mkdir()
            account.give(folder)
        folder.chmod(_FOLDER_MODE)
        _expect_to_enter(account, folder)
        if plan.is_loopback:
            _expect_free(plan)
        else:
            make_namespaces(plan)
            self._held.callback(remove_namespaces, plan)
        programs = find_programs(account)
        self._services = ServiceMaker(plan, self._passwords, programs, account).make(configuration_path)
        for machine in plan.machines:
            switch_on(plan, machine)

    def start_databases(self) -> None:
        """Start etcd, PostgreSQL and the cache, and wait until each shard has a primary and two standbys."""
        services = self._all
        self._say("Starting etcd on three machines ...")
        self._start(services.coordinators)
        self._wait("etcd", lambda: all(map(_etcd_is_healthy, self._plan.coordinators)))
        self._say("Starting Valkey with a replica, and three Sentinels ...")
        self._start(services.caches)
        self._start(services.sentinels)
        self._say("Starting PostgreSQL on three machines for each shard, under Patroni ...")
        self._start(services.databases)
        told: set[str] = set()
        self._wait("each shard to have a primary and two standbys", lambda: self._shards_are_whole(told))
        self._wait("the cache", self._cache_is_ready)

    def start_servers(self) -> None:
        """Start the API servers and HAProxy, and wait until requests through it are answered."""
        services = self._all
        self._say("Starting two API servers, and HAProxy in front of them ...")
        self._start(services.servers)
        self._wait("the API servers", lambda: all(map(_server_is_ready, self._plan.servers)))
        self._start(services.proxies)
        self._wait("HAProxy", lambda: _is_ready(self._plan.url))

    def look(self) -> None:
        """Start programs again that have ended by themselves, and reset machines whose Patroni hangs."""
        for service in self._started:
            if (event := service.look()) is not None:
                self._say(event)
        self._watchdog.look([one for one in self._started if one in self._all.databases])

    def stop(self) -> None:
        """Stop all programs in the opposite order. Harmless if nothing was started."""
        if self._started:
            self._stop_in_order(self._all)
            end_all(self._plan.machines_folder)
            self._started.clear()
        self._held.close()

    @property
    def _all(self) -> Services:
        if self._services is None:
            raise AssertionError("prepare was not called")
        return self._services

    # Starting

    def _start(self, services: Iterable[Service]) -> None:
        for service in services:
            self._check_stop()
            self._started.append(service)
            service.start()

    def _wait(self, what: str, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not is_so():
            self._check_stop()
            self.look()
            for service in self._started:
                if service.ends_in_a_row >= ENDS_IN_A_ROW_MAX:
                    raise ClusterError(
                        f"{service.name} on {service.machine.name} ends by itself again and again: correct what its "
                        f"log says, {service.log_path}: {service.log_tail()}"
                    )
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"waited {START_TIMEOUT_SECONDS:.0f} s in vain for {what}: "
                    f"see the logs in {self._plan.machines_folder}"
                )
            time.sleep(POLL_INTERVAL_SECONDS)

    def _shards_are_whole(self, told: set[str]) -> bool:
        states = self._shard_states()
        for state in states:
            for text in _progress(state):
                if text not in told:
                    told.add(text)
                    self._say(text)
        return all(map(is_whole, states))

    def _shard_states(self) -> list[ShardState]:
        with ThreadPoolExecutor() as threads:
            asked = {
                number: threads.map(ask_database, machines)
                for number, machines in self._plan.databases.items()
            }
            return [shard_state(number, list(answers)) for number, answers in asked.items()]

    def _cache_is_ready(self) -> bool:
        password = self._passwords.cache
        replica, *_ = self._plan.caches[1:]
        link = ask_valkey(replica.address, VALKEY_PORT, password, "replication") or {}
        sentinels = [
            (ask_valkey(one.address, SENTINEL_PORT, password, "sentinel") or {}).get("master0", "")
            for one in self._plan.coordinators
        ]
        count = len(self._plan.coordinators)
        return link.get("master_link_status") == "up" and all(
            "status=ok" in one and f"sentinels={count}" in one for one in sentinels
        )

    # Stopping

    def _stop_in_order(self, services: Services) -> None:
        self._say("Stopping HAProxy and the API servers ...")
        self._stop(services.proxies)
        self._stop(services.servers)
        self._say("Stopping PostgreSQL ...")
        # The standbys first: with its primary alive, none of them takes its place.
        primaries = {state.primary for state in self._shard_states()}
        self._stop([one for one in services.databases if one.machine.name not in primaries])
        self._stop([one for one in services.databases if one.machine.name in primaries])
        self._say("Stopping Valkey and etcd ...")
        self._stop([*services.sentinels, *services.caches, *services.coordinators])

    def _stop(self, services: Iterable[Service]) -> None:
        started = [service for service in services if service in self._started]
        for service in started:
            service.stop()
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        for service in started:
            service.wait(deadline)


def _progress(state: ShardState) -> list[str]:
    if state.primary is None:
        return []
    standbys = [
        f"Shard {state.shard}: {one.machine} is a synchronous standby"
        for one in state.databases
        if one.synchronous
    ]
    return [f"Shard {state.shard}: {state.primary} is the primary", *standbys]


def _etcd_is_healthy(machine: Machine) -> bool:
    return (ask_json(f"http://{machine.at(ETCD_PORT)}/health") or {}).get("health") == "true"


def _server_is_ready(machine: Machine) -> bool:
    return _is_ready(f"http://{machine.at(API_PORT)}")


def _is_ready(url: str) -> bool:
    return (ask_json(f"{url}/readyz?all") or {}).get("status") == "ok"


def _expect_to_enter(account: ServerAccount, folder: Path) -> None:
    if not account.can_enter(folder):
        raise ClusterError(
            f"PostgreSQL runs as user '{account.name}', who cannot enter {folder}: "
            f"choose a folder that every user can pass through, such as --data /var/lib/tallystick/cluster"
        )


def _expect_free(plan: Plan) -> None:
    """Refuse to start if another program has one of the addresses."""
    for machine in plan.machines:
        for port in machine.ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((machine.address, port))
                except OSError as error:
                    raise ClusterError(
                        f"{machine.at(port)} cannot be used ({os.strerror(error.errno or 0)}): stop the program that "
                        f"has it, or choose other addresses for a new cluster, such as --network 127.78.0"
                    ) from None
