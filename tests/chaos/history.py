"""The recorded history of a run: each request and its answer, each fault, with monotonic times.

A history is a file of JSON lines. A line is written when a request is sent, and another one when it is answered or
given up, each with one write to the file, so that a history is whole up to the moment at which its writer died.
Nothing here knows the product's code.
"""

import time
from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec


class Result(StrEnum):
    """What a client knows about its request."""

    ACKNOWLEDGED = "acknowledged"
    """It was carried out."""
    PENDING = "pending"
    """It was accepted, and its outcome is not known yet."""
    REFUSED = "refused"
    """The ledger refused it, and the refusal is recorded under its key."""
    NOT_DONE = "not done"
    """Nothing was written, and the key is still free."""
    UNKNOWN = "unknown"
    """It may have been carried out: no answer in time, a lost connection, or a 5xx."""


_RESULTS: Final = {
    200: Result.ACKNOWLEDGED,
    201: Result.ACKNOWLEDGED,
    202: Result.PENDING,
    422: Result.REFUSED,
}


class Invoked(msgspec.Struct, tag="invoked"):
    """A request is about to be sent. `operation` counts the operations of this client, `kind` is what it does."""

    request: int
    client: int
    operation: int
    kind: str
    at_us: int
    server: str
    method: str
    path: str
    key: str | None
    body: str | None


class Completed(msgspec.Struct, tag="completed"):
    """A request was answered, or given up: then there is no status, and `error` says why."""

    request: int
    at_us: int
    status: int | None
    answer: str | None
    error: str | None

    @property
    def result(self) -> Result:
        """What the client knows now."""
        if self.status is None or self.status >= 500:
            return Result.UNKNOWN
        return _RESULTS.get(self.status, Result.NOT_DONE)


class Fault(msgspec.Struct, tag="fault"):
    """A fault, from its beginning to the end of the repair; `proof` says what showed that it bit.

    `target` is the address of the server that it struck, or another name. `restarts` says that a process of the
    target lost its memory.
    """

    kind: str
    target: str
    began_us: int
    ended_us: int
    proof: str
    restarts: bool = False


class Balancer(msgspec.Struct, tag="balancer"):
    """An address behind which more than one server answers: what one of them has told binds none of the others."""

    address: str


Line = Invoked | Completed | Fault | Balancer


class Attempt:
    """A request and what became of it. A request that its writer did not live to complete is unknown."""

    def __init__(self, invoked: Invoked, completed: Completed | None) -> None:
        self.invoked = invoked
        self.completed = completed

    @property
    def result(self) -> Result:
        """What the client knows."""
        return Result.UNKNOWN if self.completed is None else self.completed.result

    @property
    def began_us(self) -> int:
        """When it was sent."""
        return self.invoked.at_us

    @property
    def ended_us(self) -> int | None:
        """When it was answered or given up; None if its writer died before that."""
        return None if self.completed is None else self.completed.at_us

    @property
    def status(self) -> int | None:
        """The status of the answer."""
        return None if self.completed is None else self.completed.status

    @property
    def answer(self) -> str | None:
        """The body of the answer, as it came."""
        return None if self.completed is None else self.completed.answer

    def __str__(self) -> str:
        """Name it in a report."""
        asked = self.invoked
        key = "" if asked.key is None else f" under {asked.key}"
        said = self.status if self.status is not None else (self.completed and self.completed.error)
        return f"request {asked.request}, {asked.method} {asked.path}{key} at {asked.server}: {said}"


class History:
    """All attempts in the order in which they were sent, all faults, and the addresses of balancers."""

    def __init__(
        self, attempts: list[Attempt], faults: list[Fault], balancers: frozenset[str] = frozenset()
    ) -> None:
        self.attempts = attempts
        self.faults = faults
        self.balancers = balancers

    @cached_property
    def by_key(self) -> dict[str, list[Attempt]]:
        """The attempts that changed something, by key."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self.attempts:
            if attempt.invoked.key is not None:
                found.setdefault(attempt.invoked.key, []).append(attempt)
        return found


def now_us() -> int:
    """The monotonic clock of this machine, in microseconds."""
    return time.monotonic_ns() // 1_000


class Recorder:
    """Appends to a history. Each line is handed to the system before the call returns."""

    def __init__(self, path: Path) -> None:
        """Record into a new file."""
        self._file = path.open("xb", buffering=0)
        self._encoder = msgspec.json.Encoder()
        self._requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def invoked(
        self,
        *,
        client: int,
        operation: int,
        kind: str,
        server: str,
        method: str,
        path: str,
        key: str | None = None,
        body: str | None = None,
    ) -> int:
        """Record that a request is about to be sent; its number."""
        self._requests += 1
        self._write(
            Invoked(self._requests, client, operation, kind, now_us(), server, method, path, key, body)
        )
        return self._requests

    def completed(
        self, request: int, status: int | None = None, answer: str | None = None, error: str | None = None
    ) -> Completed:
        """Record what became of a request."""
        completed = Completed(request, now_us(), status, answer, error)
        self._write(completed)
        return completed

    def fault(self, fault: Fault) -> None:
        """Record a fault that has ended."""
        self._write(fault)

    def balancer(self, address: str) -> None:
        """Record that more than one server answers at an address."""
        self._write(Balancer(address))

    def _write(self, line: Line) -> None:
        self._file.write(self._encoder.encode(line) + b"\n")


def read_history(path: Path) -> History:
    """Read a history. The last line may be cut: its writer was killed."""
    attempts: dict[int, Attempt] = {}
    faults: list[Fault] = []
    balancers: set[str] = set()
    for line in _lines(path):
        match line:
            case Invoked():
                attempts[line.request] = Attempt(line, None)
            case Completed():
                attempts[line.request].completed = line
            case Fault():
                faults.append(line)
            case Balancer():
                balancers.add(line.address)
    return History(list(attempts.values()), faults, frozenset(balancers))


def _lines(path: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield decoder.decode(line)
