"""Processes that live through one request each, and end at one point of it or after it."""

import asyncio
import gc
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from tallystick import Ledger
from tallystick.domain import limits
from tallystick.domain.commands import VoidHold
from tallystick.ledger.errors import FaultyCommandError, NotTakenError
from tests.crash.counting_proxy import CountingProxy
from tests.crash.points import FAULTS_OF_MESSAGES, Fault, Point, TaskWatch, Trap, UnexpectedError
from tests.crash.saga_scenarios import Scenario, Subject
from tests.crash.two_shards import TENANT, TwoShards, serving
from tests.waiting import wait_for

_EXITS: Final = frozenset({Fault.EXIT_WAITING, Fault.EXIT_RESUMED})
# Who waits for a task that was cancelled waits in vain.
_LINGER_SECONDS_CANCELLED: Final = 0.05
_LINGER_SECONDS_MAX: Final = 0.5
_WAKE_SECONDS_MAX: Final = 2.0


class Place(NamedTuple):
    """Where processes live: the shards, and the file that they log to."""

    shards: TwoShards
    log: Path


class Life(NamedTuple):
    """What became of a process: whether the fault happened, what its caller was told, and the points it passed."""

    hit: bool
    answer: str | None
    points: list[Point]


def live(
    place: Place, scenario: Scenario, subject: Subject, point: Point | None = None, fault: Fault | None = None
) -> Life:
    """Let a process make one request, with a fault at a point of it."""

    def tell_and_end(tell: Callable[[Any], None], happened: Fault) -> None:
        tell({"hit": True})
        if happened in _EXITS:
            os._exit(0)

    async def work(tell: Callable[[Any], None]) -> None:
        trap = Trap(point, fault, partial(tell_and_end, tell))
        asyncio.get_running_loop().set_task_factory(TaskWatch(trap).make_task)
        async with AsyncExitStack() as stack:
            dsns = dict(place.shards.dsns)
            if fault is None or fault in FAULTS_OF_MESSAGES:
                for number, dsn in place.shards.dsns.items():
                    folder = sockets / str(number)
                    folder.mkdir()
                    proxy = CountingProxy(dsn, f"messages to shard {number}", trap, folder)
                    dsns[number] = (await stack.enter_async_context(proxy)).dsn
            # What others left behind is not this process's business: another one looks after it.
            ledger = await stack.enter_async_context(serving(dsns, workers=False))

            async def caller() -> None:
                try:
                    answer = await scenario.call(ledger, subject)
                except (NotTakenError, FaultyCommandError, UnexpectedError, ConnectionError) as error:
                    answer = type(error).__name__
                tell({"answer": answer})

            trap.arm()
            asking = asyncio.create_task(caller())
            await asyncio.wait(
                [asking, asyncio.create_task(trap.sprung.wait())], return_when=asyncio.FIRST_COMPLETED
            )
            linger_seconds = (
                _LINGER_SECONDS_MAX if fault is not Fault.CANCELLED else _LINGER_SECONDS_CANCELLED
            )
            await asyncio.wait([asking], timeout=linger_seconds)
            await _until_driven(ledger, linger_seconds)
            tell({"points": [] if fault else trap.seen})
            if not trap.sprung.is_set():
                await _wake(ledger)
            os._exit(0)

    said: dict[str, Any] = {"hit": False, "answer": None, "points": []}
    with tempfile.TemporaryDirectory(prefix="tallystick-") as folder:
        sockets = Path(folder)
        for one in in_process(work, place.log):
            said |= one
    return Life(said["hit"], said["answer"], [Point(*one) for one in said["points"]])


async def _until_driven(ledger: Ledger, seconds_max: float) -> None:
    """Wait a while until nothing is on its way any more."""
    drivers = [ledger._engine.crossings.driver(shard) for shard in ledger._engine.router.shards]
    tasks = {task for driver in drivers for task in driver._driven.values()}
    if tasks:
        await asyncio.wait(tasks, timeout=seconds_max)


async def _wake(ledger: Ledger) -> None:
    """Let the batchers go on from where they rest when nothing is asked of them."""
    for shard in ledger._engine.router.shards:
        batcher = shard.batcher
        with suppress(NotTakenError, TimeoutError, UnexpectedError, ConnectionError):
            async with asyncio.timeout(_WAKE_SECONDS_MAX):
                await batcher.submit([VoidHold(tenant=TENANT, hold=0)])


def recover(place: Place, seconds_max: float) -> None:
    """Let a process do nothing but serve, until all sagas have ended by its recovery."""

    async def work(tell: Callable[[Any], None]) -> None:
        limits.RECOVERY_AGE_SECONDS = 0.0  # type: ignore[misc]  # in a process that ends right after it
        limits.RECOVERY_INTERVAL_SECONDS = 0.05  # type: ignore[misc]  # in a process that ends right after it
        async with serving(place.shards.dsns):
            await asyncio.to_thread(
                wait_for, lambda: place.shards.open_sagas() == 0, "no saga is open", seconds_max
            )
        tell("recovered")

    assert in_process(work, place.log) == ["recovered"], place.log.read_text(encoding="utf-8")[-4_000:]


def in_process(work: Callable[[Callable[[Any], None]], Coroutine[Any, Any, None]], log: Path) -> list[Any]:
    """Run something in a process of its own; what it told, in order."""
    reading, writing = os.pipe()
    # A collection in the new process would copy all that it shares with this one.
    gc.freeze()
    process = os.fork()
    if process == 0:
        os.close(reading)
        _run(work, writing, log)
    gc.unfreeze()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = [json.loads(line) for line in pipe]
    os.waitpid(process, 0)
    return said


def _run(work: Callable[[Callable[[Any], None]], Coroutine[Any, Any, None]], pipe: int, log: Path) -> None:
    """The whole life of the process."""

    def tell(what: Any) -> None:
        os.write(pipe, json.dumps(what).encode() + b"\n")

    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1)
        # The usual renderer takes half a second to show an exception.
        structlog.configure(
            processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()]
        )
        asyncio.run(work(tell))
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as if it were the test
        traceback.print_exc()
    os._exit(0)
