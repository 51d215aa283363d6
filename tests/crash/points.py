"""Every point at which the ledger waits, found by watching it run: no list of them is kept anywhere.

A task is at a *point* whenever it gives control back to the event loop. Every coroutine of the tasks that are
watched is wrapped, so each such moment passes through `_Watched.send`: what is not counted here did not wait.
The same run is then made again once for each point, with a fault there.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from enum import Enum
from typing import Any, Final, NamedTuple

SOURCES: Final = "/tallystick/"
CALLER: Final = "caller"


class Fault(Enum):
    """What happens at a point."""

    EXIT_WAITING = "the process ends while it waits"
    EXIT_RESUMED = "the process ends when it goes on"
    BUG = "an exception that nobody expects is raised"
    LOST = "the driver says that the connection is lost"
    CANCELLED = "the task is cancelled"
    CUT_BEFORE = "the connection is cut before the message arrives"
    CUT_AFTER = "the connection is cut after it took effect, before the answer"


FAULTS_OF_TASKS: Final[tuple[Fault, ...]] = (Fault.EXIT_WAITING, Fault.EXIT_RESUMED, Fault.CANCELLED)
EXCEPTIONS: Final[tuple[Fault, ...]] = (Fault.BUG, Fault.LOST)
FAULTS_OF_MESSAGES: Final[tuple[Fault, ...]] = (Fault.CUT_BEFORE, Fault.CUT_AFTER)


class Point(NamedTuple):
    """The `number`th time that somebody waits: a task for the event loop, or a message on the wire.

    `place` says where that is; it is only for people to read.
    """

    who: str
    number: int
    place: str

    def __str__(self) -> str:
        return f"{self.who}, {self.number}: {self.place}"


class UnexpectedError(Exception):
    """An exception that no code knows of."""


class Trap:
    """Counts points, and calls `on_hit` at one of them."""

    def __init__(self, point: Point | None, fault: Fault | None, on_hit: Callable[[Fault], None]) -> None:
        self.seen: list[Point] = []
        self._point = point
        self._fault = fault
        self._on_hit = on_hit
        self._counts: dict[str, int] = {}
        self._armed = False
        self.sprung = asyncio.Event()

    def arm(self) -> None:
        """Count from now on."""
        self._armed = True

    @property
    def armed(self) -> bool:
        return self._armed

    def pass_by(self, who: str, place: str) -> Fault | None:
        """Somebody is at a point; the fault that happens there, if this is the one."""
        if not self._armed:
            return None
        number = self._counts[who] = self._counts.get(who, 0) + 1
        self.seen.append(Point(who, number, place))
        if self._point is None or (who, number) != self._point[:2]:
            return None
        return self._fault

    def hit(self, fault: Fault) -> None:
        """Say that it happens now."""
        self.sprung.set()
        self._on_hit(fault)


class TaskWatch:
    """A task factory that watches the tasks whose coroutines it knows."""

    def __init__(self, trap: Trap) -> None:
        self._trap = trap
        self._made: dict[str, int] = {}

    def make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,
    ) -> "asyncio.Task[Any]":
        """Make a task, watched or not."""
        assert not isinstance(coroutine, Generator), (
            "only versions before 3.12 would make a task of a generator"
        )
        label = _label(coroutine)
        if label is None:
            return asyncio.Task(coroutine, loop=loop, **options)
        if self._trap.armed:
            # Batches and sagas are made again and again: they are told apart by their order.
            number = self._made[label] = self._made.get(label, 0) + 1
            label = f"{label} {number}"
        return asyncio.Task(_Watched(coroutine, label, self._trap), loop=loop, **options)


class _Watched(Coroutine[Any, Any, Any]):
    """A coroutine, whose every moment of waiting passes through here."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], who: str, trap: Trap) -> None:
        self._coroutine = coroutine
        self._who = who
        self._trap = trap
        self._fault: Fault | None = None

    def send(self, value: Any) -> Any:
        fault, self._fault = self._fault, None
        error = None if fault is None else self._raised(fault)
        if error is not None:
            return self._waits(self._coroutine.throw(error))
        return self._waits(self._coroutine.send(value))

    def throw(self, *error: Any) -> Any:
        self._fault = None
        return self._waits(self._coroutine.throw(*error))

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("only a task runs it")

    def _waits(self, awaited: Any) -> Any:
        fault = self._trap.pass_by(self._who, _place(self._coroutine))
        if fault is Fault.EXIT_WAITING:
            self._trap.hit(fault)
        elif fault is Fault.CANCELLED:
            self._trap.hit(fault)
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
        else:
            self._fault = fault
        return awaited

    def _raised(self, fault: Fault) -> Exception | None:
        self._trap.hit(fault)
        if fault is Fault.BUG:
            return UnexpectedError("something that nobody thought of")
        return ConnectionResetError("the connection is lost") if fault is Fault.LOST else None


def _label(coroutine: Any) -> str | None:
    """What a task is called here; None for those that are not watched."""
    name = getattr(coroutine, "__qualname__", "")
    if name == "Batcher._run":
        return f"batcher of shard {_self_of(coroutine)._shard}"
    if name == "Batcher._post":
        return f"batch of shard {_self_of(coroutine)._shard}"
    if name == "SagaDriver._drive":
        return f"sagas of shard {_self_of(coroutine)._home.number}"
    return CALLER if name.endswith(f".{CALLER}") else None


def _self_of(coroutine: Any) -> Any:
    return coroutine.cr_frame.f_locals["self"]


def _place(coroutine: Any) -> str:
    """The innermost line of the product that waits."""
    place = ""
    awaited = coroutine
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None and SOURCES in frame.f_code.co_filename:
            place = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return place
