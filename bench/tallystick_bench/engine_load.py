"""The load `engine`: commands submitted to a shard's batcher, many at a time, in the process that writes the log.

It measures the ledger itself: keys and fingerprints, reading, deciding, encoding, hashing, COPY and commit.
It leaves out what a single call adds: its task, reading its parameters, and the view of the answer.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from typing import Final

from tallystick.domain.commands import RequestKey, Transfer
from tallystick.domain.fingerprint import RequestKind, fingerprint, request_key
from tallystick.domain.identifiers import Prefix, parse_identifier
from tallystick.domain.outcomes import Refused
from tallystick.ledger.errors import FaultyCommandError, NotTakenError
from tallystick.ledger.shard import Shard
from tallystick_bench.measurement import MeasuredTurn, Tally
from tallystick_bench.payments import Payments
from tallystick_bench.settings import ASSET, TENANT, Stint

COMMANDS_AT_A_TIME: Final = 100
_FIRST_GUESS_PER_SECOND: Final = 40_000
_RESERVE: Final = 2
_PAUSE_AFTER_FAILURE_SECONDS: Final = 0.1


class EngineLoad:
    """A few tasks in a closed loop: each submits its next commands when the last ones are answered."""

    generator = "the process that is measured"

    def __init__(self, shard: Shard, payments: Payments) -> None:
        self._shard = shard
        self._payments = payments
        self._per_second: float = _FIRST_GUESS_PER_SECOND
        self.notes = [
            f"commands are handed over {COMMANDS_AT_A_TIME} at a time; --through package makes one call for each",
            "the accounts were opened by the process that is measured, so it remembers those it has room for",
        ]

    async def run(self, stint: Stint, concurrency: int) -> MeasuredTurn:
        """Take one turn with `concurrency` commands in flight."""
        number = stint.transfers or int(stint.seconds * self._per_second * _RESERVE)
        # The ledger knows accounts by number. Reading them from text belongs to a call, not to the ledger.
        payments = iter(
            [
                (_account(source), _account(destination), amount, key)
                for source, destination, amount, key in self._payments.take(number)
            ]
        )
        tally = Tally()
        started = time.perf_counter()
        deadline = started + stint.seconds if stint.seconds else float("inf")
        async with asyncio.TaskGroup() as callers:
            for _ in range(max(1, concurrency // COMMANDS_AT_A_TIME)):
                callers.create_task(
                    self._caller(payments, deadline, min(concurrency, COMMANDS_AT_A_TIME), tally)
                )
        found = tally.turn(len(tally.latencies_seconds) - tally.refused, time.perf_counter() - started)
        self._per_second = max(found.per_second, 1.0)
        return found

    async def _caller(
        self, payments: Iterator[tuple[int, int, int, str]], deadline: float, at_a_time: int, tally: Tally
    ) -> None:
        while (asked := time.perf_counter()) < deadline:
            commands = [_command(*payment) for payment in islice(payments, at_a_time)]
            if not commands:
                return
            try:
                answers = await self._shard.batcher.submit(commands)
            except (NotTakenError, FaultyCommandError):
                tally.failed += len(commands)
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
                continue
            took_seconds = time.perf_counter() - asked
            tally.latencies_seconds.extend([took_seconds] * len(answers))
            tally.refused += sum([isinstance(answer.outcome, Refused) for answer in answers])


def _account(text: str) -> int:
    return parse_identifier(Prefix.ACCOUNT, text)


def _command(payer: int, payee: int, amount: int, key: str) -> Transfer:
    asked_for = fingerprint(RequestKind.TRANSFER, payer, payee, amount, ASSET)
    return Transfer(
        tenant=TENANT,
        request=RequestKey(request_key(TENANT, key), asked_for),
        source=payer,
        destination=payee,
        amount=amount,
        asset=ASSET,
    )
