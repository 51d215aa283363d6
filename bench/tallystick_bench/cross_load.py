"""The load `cross`: commands for two shards, a share of which cross to the other shard, driven to their end."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

from tallystick.domain.commands import RequestKey, Transfer
from tallystick.domain.fingerprint import RequestKind, fingerprint, request_key
from tallystick.domain.limits import SAGA_WAIT_SECONDS_DEFAULT
from tallystick.domain.outcomes import Refused
from tallystick.domain.record import record_at
from tallystick.domain.sagas import SagaStatus
from tallystick.ledger.errors import FaultyCommandError, NotTakenError
from tallystick.ledger.request_queue import DecidedOutcome
from tallystick.ledger.shard import Shard
from tallystick.service.engine import Engine
from tallystick_bench.measurement import MeasuredTurn, Tally
from tallystick_bench.settings import AMOUNT_MINOR_UNITS_MAX, ASSET, TENANT, Stint

COMMANDS_AT_A_TIME: Final = 100
_TICK_SECONDS: Final = 0.01
_PAUSE_AFTER_FAILURE_SECONDS: Final = 0.1


class CrossLoad:
    """Callers on both shards. A transfer counts once it has ended, which is when its caller would be answered."""

    generator = "the process that is measured"

    def __init__(self, engine: Engine, wallets: Sequence[Sequence[int]], seed: int, run: str) -> None:
        """`wallets` are those of each shard, in the order of the shards."""
        self._engine = engine
        self._wallets = wallets
        # Random numbers that can be reproduced.
        self._random = random.Random(seed)  # nosec B311  # noqa: S311 - no secret
        self._run = run
        self._number = 0
        self.notes = [f"commands are handed over {COMMANDS_AT_A_TIME} at a time, to both shards in turn"]

    async def run(
        self, stint: Stint, concurrency: int, crossing: float, rate: int | None = None
    ) -> MeasuredTurn:
        """Take one turn: a closed loop of `concurrency` commands, or `rate` commands each second."""
        tally = Tally()
        started = time.perf_counter()
        deadline = started + stint.seconds
        if rate is not None:
            await self._paced(deadline, rate, crossing, tally)
        else:
            async with asyncio.TaskGroup() as callers:
                for number in range(max(2, concurrency // COMMANDS_AT_A_TIME)):
                    callers.create_task(self._caller(number % 2, deadline, crossing, tally))
        made = len(tally.latencies_seconds) - tally.refused
        return tally.turn(made, time.perf_counter() - started)

    async def _caller(self, home: int, deadline: float, crossing: float, tally: Tally) -> None:
        while time.perf_counter() < deadline:
            await self._hand_over(home, COMMANDS_AT_A_TIME, crossing, tally)

    async def _paced(self, deadline: float, rate: int, crossing: float, tally: Tally) -> None:
        """Submit commands when they are due, whether or not earlier ones were answered."""
        began = time.perf_counter()
        handed_over = 0
        async with asyncio.TaskGroup() as callers:
            while (now := time.perf_counter()) < deadline:
                due = int((now - began) * rate) - handed_over
                for _ in range(due):
                    callers.create_task(self._hand_over(handed_over % 2, 1, crossing, tally))
                    handed_over += 1
                await asyncio.sleep(_TICK_SECONDS)

    async def _hand_over(self, home: int, count: int, crossing: float, tally: Tally) -> None:
        shard = self._engine.router.shards[home]
        asked = time.perf_counter()
        commands = [self._command(home, crossing) for _ in range(count)]
        try:
            answers = await self._engine.submit(shard, commands)
            await self._drive(shard, answers)
        except (NotTakenError, FaultyCommandError):
            tally.failed += count
            await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
            return
        took_seconds = time.perf_counter() - asked
        tally.latencies_seconds.extend([took_seconds] * count)
        tally.refused += sum([isinstance(answer.outcome, Refused) for answer in answers])

    async def _drive(self, shard: Shard, answers: Sequence[DecidedOutcome]) -> None:
        sagas = []
        for answer in answers:
            if not isinstance(answer.outcome, Refused) and answer.decision.appended.sagas:
                saga = record_at(answer.decision, answer.outcome.position).saga
                if saga is not None:
                    sagas.append(saga)
        if not sagas:
            return
        states = await self._engine.crossings.driver(shard).drive(sagas, 10 * SAGA_WAIT_SECONDS_DEFAULT)
        if any(state.status is not SagaStatus.FINALIZED for state in states.values()):
            raise FaultyCommandError("a transfer did not arrive")

    def _command(self, home: int, crossing: float) -> Transfer:
        chooser = self._random
        source = destination = chooser.choice(self._wallets[home])
        there = 1 - home if chooser.random() < crossing else home
        while destination == source:
            destination = chooser.choice(self._wallets[there])
        amount = 1 + chooser.randrange(AMOUNT_MINOR_UNITS_MAX)
        self._number += 1
        asked_for = fingerprint(RequestKind.TRANSFER, source, destination, amount, ASSET)
        return Transfer(
            tenant=TENANT,
            request=RequestKey(request_key(TENANT, f"{self._run}-{self._number}"), asked_for),
            source=source,
            destination=destination,
            amount=amount,
            asset=ASSET,
        )
