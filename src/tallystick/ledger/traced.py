"""A batcher whose waits and batches are traced. A server without traces has one that knows nothing of them."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tallystick.domain.commands import Command
from tallystick.domain.decide import Atomic, commands_of
from tallystick.ledger.batcher import Batch, Batcher, Written
from tallystick.ledger.clock import Clock
from tallystick.ledger.condition import Condition
from tallystick.ledger.fair_queue import NO_WEIGHTS
from tallystick.ledger.request_queue import DecidedOutcome, RequestQueue

if TYPE_CHECKING:
    from tallystick.background.tracing import Tracing, Wait

_Answers = asyncio.Future[list[DecidedOutcome]]


class _TracedQueue(RequestQueue):
    """The queue, with the waits that are traced, each by the future of its answers."""

    def __init__(self, shard: int, tenant_weights: Mapping[int, int], tracing: "Tracing") -> None:
        super().__init__(shard, tenant_weights)
        self._number = shard
        self._tracing = tracing
        self._waits: dict[_Answers, Wait] = {}

    def put(self, units: Sequence[Command | Atomic], *, of_saga: bool) -> _Answers:
        """Put the commands of one request into the queue, and begin to trace its wait."""
        answers = super().put(units, of_saga=of_saga)
        wait = self._tracing.wait(self._number, len(commands_of(units)))
        if wait is not None:
            self._waits[answers] = wait
            answers.add_done_callback(self._answered)
        return answers

    def waits_of(self, batch: Batch) -> "list[Wait]":
        """The waits of the requests in a batch."""
        requests = dict.fromkeys(waiting.item.request.answers for waiting in batch.waiting)
        return [self._waits[answers] for answers in requests if answers in self._waits]

    def _answered(self, answers: _Answers) -> None:
        wait = self._waits.pop(answers)
        # It was never written: the request was failed, or its caller went away.
        if wait.span.is_recording():
            wait.span.end()


class TracedBatcher(Batcher):
    """Writes one shard's log, and traces how."""

    def __init__(
        self,
        shard: int,
        dsn: str,
        clock: Clock,
        condition: Condition,
        tenant_weights: Mapping[int, int] = NO_WEIGHTS,
        *,
        tracing: "Tracing",
    ) -> None:
        super().__init__(shard, dsn, clock, condition, tenant_weights)
        self._trace_batch = partial(tracing.batch, shard)
        self._queue = self._traced = _TracedQueue(shard, tenant_weights, tracing)

    async def _post(self, batch: Batch) -> Written | None:
        command_count = sum(waiting.size for waiting in batch.waiting)
        with self._trace_batch(command_count, self._traced.waits_of(batch)) as span:
            written = await super()._post(batch)
            if written is None and span is not None:
                span.failed()
            return written
