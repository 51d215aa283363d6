"""A queue that tenants share fairly: deficit round robin over lanes, one for each tenant that waits.

Lanes take turns. Each turn gives a lane credit in proportion to its weight, and each item costs its size. So a lane
with more items waits longer without delaying others. Within a lane the order is kept. A pure structure: no clock, no
waiting.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, TypeVar

Item = TypeVar("Item")

WEIGHT_DEFAULT: Final = 1
NO_WEIGHTS: Final[Mapping[int, int]] = MappingProxyType({})


class Queued(NamedTuple, Generic[Item]):
    """An item, its lane and its cost."""

    lane: int
    size: int
    item: Item


class _Lane(Generic[Item]):
    """The waiting items of one tenant, and the cost that may still be taken in this turn."""

    __slots__ = ("credit", "size", "turn_credit", "waiting")

    def __init__(self, turn_credit: int) -> None:
        self.turn_credit = turn_credit
        self.credit = 0
        self.size = 0
        self.waiting: deque[Queued[Item]] = deque()


class FairQueue(Generic[Item]):
    """Items by lane. Lanes that are never empty share the throughput by weight."""

    def __init__(self, turn_size: int, weights: Mapping[int, int] = NO_WEIGHTS) -> None:
        """`turn_size` is the cost that a lane of weight 1 may take in one turn.

        Lanes without a weight have weight 1.
        """
        self._turn_size = turn_size
        self._weights = weights
        self._lanes: dict[int, _Lane[Item]] = {}
        # The lanes in the order of their turns: it is the turn of the first one.
        self._turns: deque[_Lane[Item]] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._turns)

    def __iter__(self) -> Iterator[Item]:
        """All waiting items, lane by lane."""
        return (waiting.item for waiting in chain.from_iterable(lane.waiting for lane in self._turns))

    def size_of(self, lane: int) -> int:
        """The waiting items of one lane."""
        found = self._lanes.get(lane)
        return 0 if found is None else found.size

    def any_larger_than(self, size: int) -> bool:
        """Whether more than this waits in any lane."""
        return any(lane.size > size for lane in self._turns)

    def put(self, lane: int, size: int, item: Item) -> None:
        """Put an item behind all others of its lane."""
        found = self._lanes.get(lane) or self._open(lane)
        found.waiting.append(Queued(lane, size, item))
        found.size += size
        self.size += size

    def put_back(self, taken: Iterable[Queued[Item]]) -> None:
        """Put items back at the front of their lanes, in the order in which they were taken."""
        for waiting in reversed(list(taken)):
            lane = self._lanes.get(waiting.lane) or self._open(waiting.lane)
            lane.waiting.appendleft(waiting)
            lane.size += waiting.size
            self.size += waiting.size

    def take(self) -> Queued[Item]:
        """Take the next item; raises IndexError if no item waits."""
        turns = self._turns
        lane = turns[0]
        if len(turns) > 1:
            while lane.credit < lane.waiting[0].size:
                turns.rotate(-1)
                lane = turns[0]
                lane.credit += lane.turn_credit
            lane.credit -= lane.waiting[0].size
        waiting = lane.waiting.popleft()
        lane.size -= waiting.size
        self.size -= waiting.size
        if not lane.waiting:
            # An empty lane does not keep credit.
            turns.popleft()
            del self._lanes[waiting.lane]
            if turns:
                turns[0].credit += turns[0].turn_credit
        return waiting

    def clear(self) -> list[Item]:
        """Take all items."""
        items = list(self)
        self._lanes.clear()
        self._turns.clear()
        self.size = 0
        return items

    def _open(self, number: int) -> _Lane[Item]:
        weight = self._weights.get(number, WEIGHT_DEFAULT)
        lane: _Lane[Item] = _Lane(self._turn_size * weight)
        self._lanes[number] = lane
        self._turns.append(lane)
        return lane
