"""Workers: the background tasks of a process, for as long as it serves.

A worker repeats its work. An unexpected failure is an alarm, with its traceback, and is counted. Then the worker
starts again, after a pause that grows with each failure.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeAlias, TypeVar

import structlog

from tallystick.background.alarms import Alarm, raise_alarm
from tallystick.background.figures import counter
from tallystick.background.pauses import Backoff, jittered
from tallystick.domain import limits

Result = TypeVar("Result")

Work: TypeAlias = Callable[[], Awaitable[float | None]]
"""One round of work. It returns how many seconds to wait before the next one; None: the worker's interval."""

_FAILURES: Final = counter(
    "tallystick_worker_failures", "ALARM: failures of background work that are bugs.", ["worker", "shard"]
)

_log = structlog.get_logger(__name__)


class Worker:
    """A task with a name that does its work until it is stopped."""

    def __init__(
        self,
        name: str,
        work: Work,
        *,
        interval_seconds: float,
        expected: tuple[type[Exception], ...] = (),
        shard: int | None = None,
        **details: Any,
    ) -> None:
        """Make a worker; `start` starts it.

        Args:
            name: its name in logs and metrics.
            work: one round of it. It may go on for ever.
            interval_seconds: the longest pause after a round. (The shortest is half of it.)
            expected: errors that pass by themselves. They are no alarm, and the next round comes after the interval.
            shard: the shard that it works for, if it is one.
            details: further fields of its log lines.
        """
        self._name = name
        self._work = work
        self._interval_seconds = interval_seconds
        self._expected = expected
        self._title = name if shard is None else f"{name}, shard {shard}"
        self._details = details if shard is None else {"shard": shard, **details}
        self._failures = _FAILURES.labels(name, "" if shard is None else str(shard))
        self._woken = asyncio.Event()
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Whether it was started, and was not asked to stop since."""
        return self._task is not None and not self.stopping

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop. A long round may check this."""
        return self._stopped.is_set()

    def start(self) -> None:
        """Begin to work. A worker is started once."""
        self._task = asyncio.create_task(self._run(), name=self._title)

    def wake(self) -> None:
        """Begin the next round at once, or when the current one is over. A pause after a failure is not cut short."""
        self._woken.set()

    def cancel(self) -> None:
        """Stop, also in the middle of a round, without waiting for its end."""
        self._stopped.set()
        self._woken.set()
        if self._task is not None:
            self._task.cancel()

    async def stop(self, grace_seconds: float = 0.0) -> None:
        """Stop, and wait for the end. A round in progress may take `grace_seconds`; then it is cancelled."""
        self._stopped.set()
        self._woken.set()
        if self._task is not None:
            if grace_seconds:
                await asyncio.wait([self._task], timeout=grace_seconds)
            while not self._task.done():
                # Repeated, because a round may lose its cancellation, as in `asyncio.wait_for` of Python 3.11.
                self._task.cancel()
                await asyncio.wait([self._task], timeout=limits.WORKER_STOP_SECONDS)

    async def _run(self) -> None:
        backoff = Backoff(limits.WORKER_PAUSE_SECONDS_MIN, limits.WORKER_PAUSE_SECONDS_MAX)
        while not self.stopping:
            self._woken.clear()
            ended_by, pause_seconds = self._woken, jittered(self._interval_seconds)
            began = time.monotonic()
            try:
                wanted_seconds = await self._work()
            except self._expected as error:
                reason = str(error) or type(error).__name__
                _log.info("background work waits", worker=self._name, reason=reason, **self._details)
                ended_by = self._stopped
            except Exception as error:  # noqa: BLE001 - a bug must not end the work for ever
                if time.monotonic() - began > limits.WORKER_PAUSE_SECONDS_MAX:
                    # It worked well for some time, so this failure is not counted with earlier ones.
                    backoff.reset()
                ended_by, pause_seconds = self._stopped, backoff.next_seconds()
                self._failures.inc()
                raise_alarm(
                    _log,
                    Alarm.BACKGROUND_WORK_FAILED,
                    worker=self._name,
                    again_in_seconds=round(pause_seconds, 1),
                    exc_info=error,
                    **self._details,
                )
            else:
                backoff.reset()
                if wanted_seconds is not None:
                    pause_seconds = wanted_seconds
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await ended_by.wait()


def begin(
    name: str, work: Coroutine[Any, Any, Result], *, expected: tuple[type[Exception], ...] = ()
) -> asyncio.Task[Result]:
    """Begin background work that is done once. A failure that is not expected is an alarm, and is counted."""

    def ended(task: asyncio.Task[Result]) -> None:
        if task.cancelled() or (error := task.exception()) is None or isinstance(error, expected):
            return
        _FAILURES.labels(name, "").inc()
        raise_alarm(_log, Alarm.BACKGROUND_WORK_FAILED, worker=name, exc_info=error)

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    return task
