"""The requests that wait for the batcher of a shard: bounded, and tenants take turns.

A large request waits in pieces, so that others can be written in between.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, NoReturn

from tallystick.domain import limits
from tallystick.domain.commands import Command
from tallystick.domain.decide import Atomic, Decision, commands_of
from tallystick.domain.outcomes import Outcome, Posted, Unserved
from tallystick.ledger import metrics
from tallystick.ledger.errors import OverloadedError
from tallystick.ledger.fair_queue import FairQueue, Queued

# The lane of commands for several tenants at once: recovery, and holds that expire.
_LEDGER_LANE: Final = 0


class DecidedOutcome(NamedTuple):
    """An outcome and its decision. `other` is the decision of the other shard, if both were written together."""

    outcome: Outcome
    decision: Decision
    other: Decision | None = None

    @property
    def appended(self) -> bool:
        """Whether this decision posted it, and not an earlier one."""
        return isinstance(self.outcome, Posted) and self.outcome.position >= self.decision.first_position


class Request:
    """A request that waits for the answers to its commands, which may be written in several batches."""

    __slots__ = ("answers", "deadline", "found", "left")

    def __init__(
        self, command_count: int, answers: asyncio.Future[list[DecidedOutcome]], deadline: float
    ) -> None:
        self.answers = answers
        self.deadline = deadline
        self.found: list[DecidedOutcome] = []
        self.left = command_count

    def answer(self, found: list[DecidedOutcome]) -> None:
        """Take the answers to the next commands. After the last ones the caller gets all answers."""
        self.left -= len(found)
        self.found += found
        if not self.left and not self.answers.done():
            self.answers.set_result(self.found)

    def fail(self, error: Exception) -> None:
        """Fail the request. Commands of it that still wait are not written any more."""
        if not self.answers.done():
            self.answers.set_exception(error)


class Piece(NamedTuple):
    """Commands of one request that are written in one batch."""

    request: Request
    units: Sequence[Command | Atomic]
    command_count: int


class RequestQueue:
    """The requests that wait for one shard, in pieces."""

    def __init__(self, shard: int, tenant_weights: Mapping[int, int]) -> None:
        """Tenants without a weight have weight 1."""
        self._shard = shard
        self._queue: FairQueue[Piece] = FairQueue(limits.PIECE_COMMANDS_MAX, tenant_weights)
        # The lane that was used last, and the time until which the queue counts as shared.
        self._lane = _LEDGER_LANE
        self._shared_until = 0.0
        self._queued = metrics.QUEUED_COMMANDS.labels(str(shard))

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __iter__(self) -> Iterator[Piece]:
        """All waiting pieces."""
        return iter(self._queue)

    @property
    def command_count(self) -> int:
        """The number of waiting commands."""
        return self._queue.size

    @property
    def is_worth_deciding_ahead(self) -> bool:
        """Whether the next batch should be decided while another one is written.

        Not if it is short because of one tenant that has much more waiting: that would save little, and the others
        would wait for one batch more.
        """
        if self._queue.size < limits.AHEAD_COMMANDS_MIN:
            return False
        return not (self.is_shared and self._queue.any_larger_than(limits.BATCH_COMMANDS_PER_TENANT_MAX))

    @property
    def is_shared(self) -> bool:
        """Whether several tenants have used the shard a short time ago."""
        return time.monotonic() < self._shared_until

    def put(
        self, units: Sequence[Command | Atomic], *, of_saga: bool
    ) -> asyncio.Future[list[DecidedOutcome]]:
        """Put the commands of one request into the queue. Returns a future of their answers.

        Steps of sagas (`of_saga`) are accepted even if the queue is full for others, because they release
        reservations.

        Raises:
            OverloadedError: the queue is full.
        """
        only = units[0]
        if len(units) == 1 and not isinstance(only, Atomic):
            count, lane = 1, only.tenant
        else:
            commands = commands_of(units)
            count, lane = len(commands), _lane_of(commands)
        if self._queue.size + count > limits.QUEUE_COMMANDS_PER_TENANT_MAX:
            self._require_room(lane, count, limits.QUEUE_SAGA_STEPS_MAX if of_saga else 0)
        now = time.monotonic()
        answers: asyncio.Future[list[DecidedOutcome]] = asyncio.get_running_loop().create_future()
        request = Request(count, answers, now + limits.REQUEST_TIMEOUT_SECONDS)
        if lane not in (self._lane, _LEDGER_LANE):
            self._note_lane(lane, now)
        if count <= limits.PIECE_COMMANDS_MAX:
            self._queue.put(lane, count, Piece(request, units, count))
        else:
            for piece in _pieces(request, units):
                self._queue.put(lane, piece.command_count, piece)
        return answers

    def room_of(self, tenant: int) -> int:
        """The number of further commands of a tenant that may wait."""
        queue = self._queue
        of_all = limits.QUEUE_COMMANDS_MAX - queue.size
        return max(0, min(of_all, limits.QUEUE_COMMANDS_PER_TENANT_MAX - queue.size_of(tenant)))

    def refuse_overloaded(self) -> NoReturn:
        """Raise OverloadedError: too many commands wait."""
        metrics.UNSERVED.labels(str(self._shard), Unserved.OVERLOADED.value).inc()
        raise OverloadedError(f"{self._queue.size} commands wait for shard {self._shard}")

    def take(self) -> list[Queued[Piece]]:
        """Take the next pieces to write: all that wait, up to limits, without those whose callers have gone away."""
        queue = self._queue
        batch: list[Queued[Piece]] = []
        count = 0
        shared = self.is_shared
        of_tenant: Counter[int] = Counter()
        while queue.size and count < limits.BATCH_COMMANDS_MAX:
            waiting = queue.take()
            if waiting.item.request.answers.done():
                continue
            batch.append(waiting)
            count += waiting.size
            if shared:
                of_tenant[waiting.lane] += waiting.size
                if of_tenant[waiting.lane] >= limits.BATCH_COMMANDS_PER_TENANT_MAX:
                    break
        self._queued.set(queue.size)
        return batch

    def put_back(self, taken: Sequence[Queued[Piece]]) -> None:
        """Put pieces back to the front of the queue."""
        self._queue.put_back(taken)

    def fail_all(self, error: Exception) -> None:
        """Fail all waiting requests."""
        for piece in self._queue.clear():
            piece.request.fail(error)

    def _note_lane(self, lane: int, now: float) -> None:
        """Note that another lane than before is used: whether tenants share the shard."""
        if self._lane != _LEDGER_LANE:
            self._shared_until = now + limits.SHARED_SECONDS
        self._lane = lane

    def _require_room(self, lane: int, command_count: int, more_room: int) -> None:
        """Raise OverloadedError if there would be too many commands, of this tenant or of all."""
        queue = self._queue
        if (
            queue.size + command_count > limits.QUEUE_COMMANDS_MAX + more_room
            or queue.size_of(lane) + command_count > limits.QUEUE_COMMANDS_PER_TENANT_MAX + more_room
        ):
            self.refuse_overloaded()


def _lane_of(commands: Sequence[Command]) -> int:
    """The lane of commands: that of their tenant, or the ledger's own lane if there are several tenants."""
    tenant = commands[0].tenant
    if len(commands) == 1 or all(command.tenant == tenant for command in commands):
        return tenant
    return _LEDGER_LANE


def _pieces(request: Request, units: Sequence[Command | Atomic]) -> Iterator[Piece]:
    """A request in pieces, so that others can be written in between. An `Atomic` group is one piece."""
    piece: list[Command | Atomic] = []
    count = 0
    for unit in units:
        size = len(unit.commands) if isinstance(unit, Atomic) else 1
        if piece and count + size > limits.PIECE_COMMANDS_MAX:
            yield Piece(request, piece, count)
            piece, count = [], 0
        piece.append(unit)
        count += size
    yield Piece(request, piece, count)
