"""Background work goes on whatever happens, says what happened, and stops when it is told to."""

import asyncio
import operator
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count, pairwise

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tallystick.background import pauses
from tallystick.background.pauses import Backoff, jittered
from tallystick.background.worker import Work, Worker, begin
from tallystick.domain import limits

SOON_SECONDS = 0.01
PATIENCE_SECONDS = 10.0
names = map("worker {}".format, count(1))


class UnforeseenError(Exception):
    """A bug."""


class PassingError(Exception):
    """What is expected, and passes by itself."""


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses after failures: they are short, and exactly as long as they may be."""
    waited: list[float] = []

    def noted(seconds: float) -> float:
        waited.append(seconds)
        return seconds

    monkeypatch.setattr(limits, "WORKER_PAUSE_SECONDS_MIN", SOON_SECONDS)
    monkeypatch.setattr(limits, "WORKER_PAUSE_SECONDS_MAX", 8 * SOON_SECONDS)
    monkeypatch.setattr(pauses, "jittered", noted)
    return waited


class Rounds:
    """Work whose rounds end as they were told to, the last one again and again; and when each began."""

    def __init__(self, *ends: Exception | float | None) -> None:
        self.began: list[float] = []
        self._ends = ends
        self._begins = asyncio.Event()

    async def __call__(self) -> float | None:
        end = self._ends[min(len(self.began), len(self._ends) - 1)]
        self.began.append(asyncio.get_running_loop().time())
        self._begins.set()
        if isinstance(end, Exception):
            raise end
        return end

    async def come(self, number: int) -> None:
        """Wait until so many have begun."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.began) < number:
                self._begins.clear()
                await self._begins.wait()

    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.began)]


@asynccontextmanager
async def working(
    work: Work, interval_seconds: float = SOON_SECONDS, expected: tuple[type[Exception], ...] = ()
) -> AsyncIterator[Worker]:
    worker = Worker(
        next(names), work, interval_seconds=interval_seconds, expected=expected, shard=3, endpoint="hook_1"
    )
    worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


def failures(worker: Worker) -> float:
    labels = {"worker": worker._name, "shard": "3"}
    return REGISTRY.get_sample_value("tallystick_worker_failures_total", labels) or 0.0


async def test_the_work_is_done_again_and_again() -> None:
    rounds = Rounds(None)
    async with working(rounds) as worker:
        await rounds.come(5)
    assert failures(worker) == 0


async def test_a_round_may_say_when_the_next_one_comes() -> None:
    rounds = Rounds(0.0)
    async with working(rounds, interval_seconds=PATIENCE_SECONDS):
        await rounds.come(100)


async def test_a_worker_that_is_woken_works_at_once() -> None:
    rounds = Rounds(None)
    async with working(rounds, interval_seconds=10 * PATIENCE_SECONDS) as worker:
        for number in range(1, 10):
            await rounds.come(number)
            worker.wake()


async def test_being_woken_during_a_round_is_not_forgotten() -> None:
    rounds, go_on = Rounds(None), asyncio.Event()

    async def work() -> None:
        await rounds()
        await go_on.wait()

    async with working(work, interval_seconds=10 * PATIENCE_SECONDS) as worker:
        await rounds.come(1)
        worker.wake()
        go_on.set()
        await rounds.come(2)


async def test_a_bug_is_told_with_its_traceback_and_counted_and_the_work_goes_on() -> None:
    rounds = Rounds(UnforeseenError("unforeseen"), None)
    with capture_logs() as logs:
        async with working(rounds) as worker:
            await rounds.come(3)
    assert failures(worker) == 1
    (alarm,) = logs
    assert alarm["event"] == "ALARM: background work failed"
    assert (alarm["worker"], alarm["shard"], alarm["endpoint"]) == (worker._name, 3, "hook_1")
    assert isinstance(alarm["exc_info"], UnforeseenError)
    assert alarm["exc_info"].__traceback__ is not None


async def test_what_passes_by_itself_is_no_alarm() -> None:
    rounds = Rounds(PassingError("away"), None)
    with capture_logs() as logs:
        async with working(rounds, expected=(PassingError,)) as worker:
            await rounds.come(2)
    assert failures(worker) == 0
    assert [(one["log_level"], one["reason"]) for one in logs] == [("info", "away")]


def times_soon(*times: int) -> list[float]:
    return [SOON_SECONDS * one for one in times]


async def test_pauses_grow_from_bug_to_bug_up_to_a_limit(waited: list[float]) -> None:
    rounds = Rounds(UnforeseenError())
    with capture_logs():
        async with working(rounds, interval_seconds=0.0):
            await rounds.come(7)
    assert waited[:6] == times_soon(1, 2, 4, 8, 8, 8)
    assert all(map(operator.ge, rounds.pauses(), waited))


async def test_pauses_begin_anew_after_a_round_without_a_bug(waited: list[float]) -> None:
    rounds = Rounds(*[UnforeseenError()] * 4, None, UnforeseenError(), None)
    with capture_logs():
        async with working(rounds, interval_seconds=0.0):
            await rounds.come(7)
    assert waited == times_soon(1, 2, 4, 8, 1)


async def test_pauses_begin_anew_after_a_round_that_went_on_for_long(waited: list[float]) -> None:
    rounds = Rounds(UnforeseenError())

    async def work() -> float | None:
        if len(rounds.began) == 3:
            await asyncio.sleep(9 * SOON_SECONDS)
        return await rounds()

    with capture_logs():
        async with working(work):
            await rounds.come(5)
    assert waited[:4] == times_soon(1, 2, 4, 1)


async def test_a_pause_after_a_bug_is_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WORKER_PAUSE_SECONDS_MIN", 10 * PATIENCE_SECONDS)
    rounds = Rounds(UnforeseenError())
    with capture_logs():
        async with working(rounds) as worker:
            await rounds.come(1)
            worker.wake()
            await asyncio.sleep(5 * SOON_SECONDS)
            assert len(rounds.began) == 1
    # And yet it was stopped at once.


async def test_a_worker_is_stopped_in_the_middle_of_its_work() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(SOON_SECONDS)
            ended.set()

    async with working(work) as worker:
        await begun.wait()
    assert ended.is_set()
    assert worker.stopping
    assert failures(worker) == 0


async def test_work_under_way_may_end_in_a_time_of_grace() -> None:
    rounds, go_on = Rounds(None), asyncio.Event()

    async def work() -> None:
        await rounds()
        await go_on.wait()
        rounds.began.append(0.0)

    async with working(work) as worker:
        await rounds.come(1)
        stopping = asyncio.create_task(worker.stop(PATIENCE_SECONDS))
        await asyncio.sleep(SOON_SECONDS)
        assert worker.stopping
        assert not stopping.done()
        go_on.set()
        await stopping
    assert len(rounds.began) == 2


async def test_after_the_time_of_grace_it_is_cancelled() -> None:
    rounds = Rounds(None)

    async def work() -> None:
        await rounds()
        await asyncio.Event().wait()

    async with working(work) as worker:
        await rounds.come(1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await worker.stop(SOON_SECONDS)
    assert worker._task is not None
    assert worker._task.cancelled()


async def test_cancellation_is_not_swallowed() -> None:
    """A cancellation ends the task; the work begins no new round."""
    rounds = Rounds(None)

    async def work() -> None:
        await rounds()
        await asyncio.Event().wait()

    with capture_logs() as logs:
        async with working(work) as worker:
            await rounds.come(1)
            assert worker._task is not None
            worker._task.cancel()
            await asyncio.wait([worker._task], timeout=PATIENCE_SECONDS)
            assert worker._task.cancelled()
    assert len(rounds.began) == 1
    assert not logs


async def test_work_that_swallows_its_cancellation_ends_all_the_same() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async with asyncio.timeout(PATIENCE_SECONDS), working(work):
        await begun.wait()


async def test_a_round_that_goes_on_in_spite_of_its_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "WORKER_STOP_SECONDS", SOON_SECONDS)
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async with asyncio.timeout(PATIENCE_SECONDS), working(work):
        await begun.wait()


async def test_a_worker_that_never_began_is_stopped() -> None:
    await Worker(next(names), Rounds(None), interval_seconds=SOON_SECONDS).stop()


async def test_a_task_has_the_name_of_its_worker_and_shard() -> None:
    async with working(Rounds(None)) as worker:
        assert f"{worker._name}, shard 3" in {task.get_name() for task in asyncio.all_tasks()}


async def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "alarms"), [(UnforeseenError(), ["ALARM: background work failed"]), (PassingError(), [])]
)
async def test_what_is_done_once_is_told_of_too_when_it_fails(error: Exception, alarms: list[str]) -> None:
    with capture_logs() as logs:
        await asyncio.wait([begin(next(names), fail(error), expected=(PassingError,))])
        await asyncio.sleep(0)
    assert [one["event"] for one in logs] == alarms


def test_pauses_between_attempts_grow_and_begin_anew() -> None:
    backoff = Backoff(1.0, 5.0)
    assert [backoff.next_seconds() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next_seconds() == 1.0


def test_pauses_differ_so_that_not_all_come_back_at_once() -> None:
    found = {jittered(8.0) for _ in range(100)}
    assert len(found) > 50
    assert all(4.0 <= seconds <= 8.0 for seconds in found)
