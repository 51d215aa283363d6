"""Watches over each Patroni, from beside it.

If Patroni hangs while its PostgreSQL goes on, the machine is reset, as the watchdog of Linux does on a real machine.
Otherwise Patroni would lose its lock, another machine would become the primary, and for a moment there would be two.

If Patroni and its PostgreSQL have ended, the lock is given up for them. Otherwise the others would wait until Patroni
runs again, or until the lock ends.
"""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tallystick.cluster.asking import ask_text
from tallystick.cluster.leader_lock import release_lock
from tallystick.cluster.machines import end_all, is_off, processes_of
from tallystick.cluster.plan import PATRONI_PORT, Machine, Plan
from tallystick.cluster.service import Service
from tallystick.cluster.settings.patroni import SHARED

SILENT_SECONDS_MAX: Final = float(SHARED["ttl"] - 8)
"""Less than the time after which the lock of a primary ends, with room for a slow machine."""
ANSWER_SECONDS_MAX: Final = SILENT_SECONDS_MAX / 2
"""On a machine with too much to do Patroni answers late, and to reset it would make more work."""
INTERVAL_SECONDS: Final = 1.0
_THREADS_MAX: Final = 8


@dataclass
class _Watched:
    answered: bool = False
    """Whether it has answered since its start: before that it may wait for etcd."""
    asked_at: float = 0.0
    unanswered_since: float | None = None
    """When it was first asked after its last answer. It is not silent while it is not asked."""
    asking: Future[str | None] | None = None
    released: bool = False


class Watchdog:
    """Asks each Patroni every second whether it lives. One thread calls `look`, and `stop` at the end."""

    def __init__(self, plan: Plan, *, say: Callable[[str], None]) -> None:
        """`say` is called with each event, in words."""
        self._plan = plan
        self._say = say
        self._watched: dict[str, _Watched] = {}
        self._threads = ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="watchdog")

    def look(self, patronis: Iterable[Service]) -> None:
        """Take the answers that have come, ask again, and reset machines that were silent for too long."""
        now = time.monotonic()
        for service in patronis:
            machine = service.machine
            watched = self._watched.setdefault(machine.name, _Watched())
            if not service.running:
                watched.answered, watched.unanswered_since = False, None
                ended = service.ended and not is_off(self._plan, machine)
                if ended and not watched.released and not processes_of(self._plan, machine):
                    watched.released = True
                    # Waited for: it must not happen after Patroni was started again.
                    self._release(machine)
                continue
            watched.released = False
            if watched.asking is not None and watched.asking.done():
                if watched.asking.result() is not None:
                    watched.answered, watched.unanswered_since = True, None
                watched.asking = None
            if watched.asking is None and now - watched.asked_at >= INTERVAL_SECONDS:
                watched.asked_at = now
                if watched.unanswered_since is None:
                    watched.unanswered_since = now
                url = f"http://{machine.at(PATRONI_PORT)}/liveness"
                watched.asking = self._threads.submit(ask_text, url, timeout_seconds=ANSWER_SECONDS_MAX)
            since = watched.unanswered_since
            if watched.answered and since is not None and now - since > SILENT_SECONDS_MAX:
                watched.answered = False
                self._reset(machine)

    def stop(self) -> None:
        """Ask no Patroni any more."""
        self._threads.shutdown(cancel_futures=True)

    def _release(self, machine: Machine) -> None:
        shard = self._plan.shard_of(machine)
        if shard is not None and release_lock(self._plan, shard, machine):
            self._say(
                f"{machine.name}: PostgreSQL and Patroni have ended: the lock of shard {shard} is given up"
            )

    def _reset(self, machine: Machine) -> None:
        if all(process.stopped for process in processes_of(self._plan, machine)):
            return  # the whole machine is frozen, and its own watchdog would be, too
        self._say(
            f"{machine.name}: Patroni has not answered for {SILENT_SECONDS_MAX:.0f} s: the machine is reset"
        )
        end_all(self._plan.work_of(machine))
