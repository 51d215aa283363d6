"""Large requests are handled in pieces, because one event loop serves all tenants. Tenants take turns."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tallystick.domain import limits
from tallystick.ledger.fair_queue import NO_WEIGHTS
from tallystick.ledger.rounds import Rounds

Item = TypeVar("Item")
Made = TypeVar("Made")


class Pieces:
    """Handles at most `PIECE_COMMANDS_MAX` items in `PIECE_ROUNDS` rounds of the loop.

    One request of a tenant at a time.
    """

    def __init__(self, tenant_weights: Mapping[int, int] = NO_WEIGHTS) -> None:
        self._rounds = Rounds(1, limits.PIECE_ROUNDS, tenant_weights)

    async def each(self, tenant: int, items: Sequence[Item], make: Callable[[Item], Made]) -> list[Made]:
        """Apply a function to each item, in order. A request of one piece is handled at once."""
        size = limits.PIECE_COMMANDS_MAX
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
