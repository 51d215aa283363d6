"""Spread work over rounds of the event loop: a little in each round, and tenants in turns.

So other work that becomes ready does not wait for all of it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

from tallystick.ledger.fair_queue import NO_WEIGHTS, FairQueue

Act = Callable[[], bool]
"""Called when its turn comes. Returns False if it is not needed any more, so that the next one has the turn."""


class Rounds:
    """Does work of the cost `at_once`, or one piece of work, in a number of rounds of the loop.

    When it has gone on for `busy_seconds`, it pauses.
    """

    def __init__(
        self,
        at_once: int,
        rounds: int,
        tenant_weights: Mapping[int, int] = NO_WEIGHTS,
        *,
        busy_seconds: float = 0.0,
        pause_seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`pause_seconds` is asked when a pause is due."""
        self._at_once = at_once
        self._busy_seconds = busy_seconds
        self._busy_since = 0.0
        self._rounds = rounds
        self._pause_seconds = pause_seconds
        self._waiting: FairQueue[Act] = FairQueue(at_once, tenant_weights)
        self._going_round = False

    def call(self, tenant: int, cost: int, act: Act) -> None:
        """Do something when its turn comes."""
        self._waiting.put(tenant, cost, act)
        if not self._going_round:
            self._going_round = True
            self._begin()

    def turn(self, tenant: int, cost: int) -> asyncio.Future[None]:
        """A turn to wait for. Cancel it if it is not needed any more."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def give() -> bool:
            if turn.done():
                return False
            turn.set_result(None)
            return True

        self.call(tenant, cost, give)
        return turn

    def _begin(self) -> None:
        self._busy_since = time.monotonic()
        self._give_turns()

    def _give_turns(self) -> None:
        left = self._at_once
        while self._waiting and left > 0:
            waiting = self._waiting.take()
            if waiting.item():
                left -= waiting.size
        if left == self._at_once:
            self._going_round = False
        else:
            self._go_round(self._rounds)

    def _go_round(self, rounds: int) -> None:
        if rounds:
            asyncio.get_running_loop().call_soon(self._go_round, rounds - 1)
        elif self._pause_is_due() and (pause_seconds := self._pause_seconds()):
            asyncio.get_running_loop().call_later(pause_seconds, self._begin)
        else:
            self._give_turns()

    def _pause_is_due(self) -> bool:
        return bool(self._waiting) and time.monotonic() - self._busy_since >= self._busy_seconds
