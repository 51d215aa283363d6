"""The queue that tenants share: nothing is lost, each tenant's order is kept, and no flood delays others."""

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from tallystick.ledger.fair_queue import FairQueue, Queued

TURN_SIZE = 100
SIZES = st.integers(1, 3 * TURN_SIZE)
WEIGHTS = st.dictionaries(st.integers(0, 3), st.integers(1, 5))
PUT = st.tuples(st.just("put"), st.integers(0, 3), SIZES)
TAKE = st.tuples(st.just("take"), st.integers(1, 8), st.booleans())


@given(WEIGHTS, st.lists(PUT | TAKE, max_size=200))
def test_nothing_is_lost_and_the_order_in_a_lane_is_kept(
    weights: dict[int, int], steps: list[tuple[str, int, int]]
) -> None:
    queue: FairQueue[int] = FairQueue(TURN_SIZE, weights)
    waiting: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, (step, first, second) in enumerate(steps):
        if step == "put":
            queue.put(first, second, number)
            waiting[first].append((second, number))
            continue
        taken = [queue.take() for _ in range(min(first, sum(map(len, waiting.values()))))]
        for lane, size, item in taken:
            assert waiting[lane].pop(0) == (size, item)
        if second:
            queue.put_back(taken)
            for lane, size, item in reversed(taken):
                waiting[lane].insert(0, (size, item))
        for lane, items in waiting.items():
            assert queue.size_of(lane) == sum(size for size, _ in items)
        assert queue.size == sum(queue.size_of(lane) for lane in waiting)
        assert bool(queue) is any(waiting.values())
    assert sorted(queue) == sorted(item for items in waiting.values() for _, item in items)
    assert sorted(queue.clear()) == sorted(item for items in waiting.values() for _, item in items)
    assert (queue.size, bool(queue), list(queue)) == (0, False, [])


@given(WEIGHTS, st.lists(st.lists(SIZES, min_size=1, max_size=100), min_size=2, max_size=4))
def test_lanes_that_have_something_share_by_weight(weights: dict[int, int], lanes: list[list[int]]) -> None:
    queue: FairQueue[int] = FairQueue(TURN_SIZE, weights)
    left: Counter[int] = Counter()
    for lane, sizes in enumerate(lanes):
        for size in sizes:
            queue.put(lane, size, size)
            left[lane] += 1
    served: Counter[int] = Counter()
    largest = max(map(max, lanes))
    while all(left.values()):
        lane, size, _ = queue.take()
        left[lane] -= 1
        served[lane] += size
        # In turns of its weight, what one is ahead of another is no more than a turn, and the largest item of each.
        turns = [served[one] / (TURN_SIZE * weights.get(one, 1)) for one in range(len(lanes))]
        assert max(turns) - min(turns) <= 1 + 2 * largest / TURN_SIZE


@given(st.integers(1, 50), st.integers(1, 20), SIZES)
def test_a_late_comer_waits_for_a_turn_of_each_and_not_for_their_floods(
    flood: int, flooding: int, size: int
) -> None:
    queue: FairQueue[str] = FairQueue(TURN_SIZE)
    for lane in range(flooding):
        for _ in range(flood):
            queue.put(lane, TURN_SIZE, "flood")
    queue.put(flooding, min(size, TURN_SIZE), "late")
    before = 0
    while (taken := queue.take()).item != "late":
        before += taken.size
    assert before <= flooding * TURN_SIZE


def test_a_heavier_lane_takes_more_of_each_turn() -> None:
    queue: FairQueue[None] = FairQueue(TURN_SIZE, {1: 3})
    for lane in (0, 1):
        for _ in range(100):
            queue.put(lane, TURN_SIZE, None)
    taken = Counter(queue.take().lane for _ in range(40))
    assert (taken[0], taken[1]) == (10, 30)


def test_what_is_put_back_may_be_of_lanes_that_are_gone() -> None:
    queue: FairQueue[str] = FairQueue(TURN_SIZE)
    queue.put(1, 10, "a")
    queue.put(2, 10, "b")
    taken = [queue.take(), queue.take()]
    queue.put(1, 10, "c")
    queue.put_back(taken)
    assert queue.size_of(1) == 20
    assert [waiting for waiting in (queue.take() for _ in range(3)) if waiting.lane == 1] == [
        Queued(1, 10, "a"),
        Queued(1, 10, "c"),
    ]
