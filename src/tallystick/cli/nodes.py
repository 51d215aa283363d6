"""The PostgreSQL servers of one data folder. They start and stop together; one that dies is started again."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

from tallystick.domain import limits
from tallystick.embedded.postgres import EmbeddedPostgres

Say = Callable[[str], None]


class Node:
    """One server, in the folder with the node's name."""

    def __init__(self, folder: Path, shard_count: int) -> None:
        self.name = folder.name
        # The number of connections grows with the shards: those of a server, and of commands beside it.
        self.server = EmbeddedPostgres(
            folder,
            settings={
                "max_connections": str(
                    limits.NODE_CONNECTIONS_MIN + shard_count * limits.NODE_CONNECTIONS_PER_SHARD
                ),
                "max_prepared_transactions": str(max(limits.NODE_PREPARED_MIN, shard_count)),
            },
        )
        self.starting: Future[None] | None = None
        self.restart_at: float | None = None
        self.delay_seconds = limits.NODE_RESTART_DELAY_SECONDS


class Nodes:
    """All servers of a data folder. One thread calls `start`, `look` and `stop`, in this order."""

    def __init__(self, shard_counts: Mapping[Path, int], *, say: Say) -> None:
        """`shard_counts` has the number of shards by folder. `say` is called with each event, in words."""
        self._nodes = {folder.name: Node(folder, count) for folder, count in shard_counts.items()}
        self._say = say
        self._stopping = Event()
        self._threads = ThreadPoolExecutor(max_workers=len(shard_counts), thread_name_prefix="node")

    def server(self, name: str) -> EmbeddedPostgres:
        """The server of a node."""
        return self._nodes[name].server

    @property
    def databases(self) -> list[Path]:
        """The data directory of each server, which may be outside of the data folder."""
        return [node.server.cluster_path for node in self._nodes.values()]

    def start(self) -> None:
        """Start all of them at once, and wait until they accept connections."""
        for node in self._nodes.values():
            node.starting = self._threads.submit(self._start, node)
        for node in self._nodes.values():
            if node.starting is not None:
                node.starting.result()
                node.starting = None

    def look(self) -> None:
        """Start servers again that ended by themselves, after a growing pause. The others go on meanwhile."""
        for node in self._nodes.values():
            if node.starting is not None:
                self._look_at_start(node)
            elif node.restart_at is not None:
                if time.monotonic() >= node.restart_at:
                    node.starting = self._threads.submit(self._start, node)
            elif not node.server.running():
                self._plan_restart(node, f"PostgreSQL in {node.name} ended by itself")

    def stop(self) -> None:
        """Stop all servers at once, also those that are starting. Harmless if none runs."""
        self._stopping.set()
        # A start in progress fails when its server ends. So servers are ended before waiting for starts, and after.
        self._end_all()
        self._threads.shutdown(cancel_futures=True)
        self._end_all()

    def _end_all(self) -> None:
        with ThreadPoolExecutor(max_workers=len(self._nodes)) as threads:
            list(threads.map(_end, [node.server for node in self._nodes.values()]))

    def _start(self, node: Node) -> None:
        if self._stopping.is_set():
            return
        node.server.start()
        if self._stopping.is_set():
            node.server.stop()

    def _look_at_start(self, node: Node) -> None:
        if node.starting is None or not node.starting.done():
            return
        error = node.starting.exception()
        node.starting = node.restart_at = None
        if error is None:
            node.delay_seconds = limits.NODE_RESTART_DELAY_SECONDS
            self._say(f"PostgreSQL in {node.name} runs again")
        else:
            self._plan_restart(node, " ".join(str(error).split()))

    def _plan_restart(self, node: Node, why: str) -> None:
        self._say(
            f"{why}: the others go on, and it is started again in {node.delay_seconds:.0f} s; "
            f"its log is {node.server.log_path}"
        )
        node.restart_at = time.monotonic() + node.delay_seconds
        node.delay_seconds = min(2 * node.delay_seconds, limits.NODE_RESTART_DELAY_SECONDS_MAX)


def _end(server: EmbeddedPostgres) -> None:
    server.stop()
    if server.running():  # a signal came just after the process began, before its start was recorded
        server.kill()
