"""Large requests are handled in pieces, because one event loop serves all tenants. Tenants take turns."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tallystick.domain import limits
from tallystick.ledger.fair_queue import NO_WEIGHTS
from tallystick.ledger.rounds import Rounds

Item = TypeVar("Item")
Made = TypeVar("Made")


class Pieces:
    """Handles at most `PIECE_ITEMS_MAX` items in `PIECE_ROUNDS` rounds of the loop, and pauses if tenants share it.

    One request of a tenant at a time.
    """

    def __init__(
        self, tenant_weights: Mapping[int, int] = NO_WEIGHTS, is_shared: Callable[[], bool] = lambda: False
    ) -> None:
        """`is_shared` says whether several tenants are served."""
        self._rounds = Rounds(
            1,
            limits.PIECE_ROUNDS,
            tenant_weights,
            busy_seconds=limits.PIECE_BUSY_SECONDS,
            pause_seconds=lambda: limits.PIECE_PAUSE_SECONDS if is_shared() else 0.0,
        )

    async def each(self, tenant: int, items: Sequence[Item], make: Callable[[Item], Made]) -> list[Made]:
        """Apply a function to each item, in order. A request of one piece is handled at once."""
        size = limits.PIECE_ITEMS_MAX
        if len(items) <= size:
            return list(map(make, items))
        starts = range(0, len(items), size)
        turns = [self._rounds.turn(tenant, 1) for _ in starts]
        made: list[Made] = []
        try:
            for start, turn in zip(starts, turns, strict=True):
                await turn
                made += map(make, items[start : start + size])
        finally:
            for turn in turns:
                turn.cancel()
        return made
