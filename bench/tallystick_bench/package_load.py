"""The load `package`: callers of the Python package, one transfer a call, in the process that writes the log."""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from tallystick.domain.outcomes import Refused
from tallystick.ledger.errors import FaultyCommandError, NotTakenError
from tallystick.service.ledger import Ledger
from tallystick_bench.measurement import MeasuredTurn, Tally
from tallystick_bench.payments import Payment, Payments
from tallystick_bench.settings import ASSET, Stint

_FIRST_GUESS_PER_SECOND: Final = 40_000
_RESERVE: Final = 2
"""Payments prepared ahead, as a multiple of what the last turn would have needed."""
_WARM: Final = (
    "the accounts were opened by the process that is measured, so it remembers those it has room for"
)
_PAUSE_AFTER_FAILURE_SECONDS: Final = 0.1


class PackageLoad:
    """Many tasks in a closed loop: each requests its next transfer when the last one is answered."""

    generator = "the process that is measured"

    def __init__(self, ledger: Ledger, payments: Payments) -> None:
        self._ledger = ledger
        self._payments = payments
        self.notes = [_WARM]
        self._per_second: float = _FIRST_GUESS_PER_SECOND

    async def run(self, stint: Stint, concurrency: int) -> MeasuredTurn:
        """Take one turn. It ends with the last answer, so all requests are counted, with all their time."""
        number = stint.transfers or int(stint.seconds * self._per_second * _RESERVE)
        payments = self._payments.take(number)
        tally = Tally()
        started = time.perf_counter()
        deadline = started + stint.seconds if stint.seconds else float("inf")
        async with asyncio.TaskGroup() as callers:
            for _ in range(concurrency):
                callers.create_task(self._caller(payments, deadline, tally))
        found = tally.turn(len(tally.latencies_seconds) - tally.refused, time.perf_counter() - started)
        self._per_second = max(found.per_second, 1.0)
        return found

    async def _caller(self, payments: Iterator[Payment], deadline: float, tally: Tally) -> None:
        transfer, clock, note_latency = (
            self._ledger.transfer,
            time.perf_counter,
            tally.latencies_seconds.append,
        )
        for source, destination, amount, key in payments:
            asked = clock()
            if asked >= deadline:
                return
            try:
                outcome = await transfer(source, destination, amount, ASSET, idempotency_key=key)
            except (NotTakenError, FaultyCommandError):
                tally.failed += 1
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
                continue
            note_latency(clock() - asked)
            if isinstance(outcome, Refused):
                tally.refused += 1
