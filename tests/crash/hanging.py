"""A node that hangs: its PostgreSQL has every connection, takes new ones, and says nothing."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.processes import postgres_processes, send_signal


@contextmanager
def hanging(node: EmbeddedPostgres) -> Iterator[None]:
    """Stop all PostgreSQL processes of a node until the end of the block."""
    stopped: set[int] = set()
    try:
        # The postmaster first, which then starts no more of them.
        while left := set(postgres_processes(node.cluster_path)) - stopped:
            for pid in sorted(left, key=lambda one: one != node.pid):
                stopped.add(pid)
                send_signal(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in stopped:
            send_signal(pid, signal.SIGCONT)
