"""Large requests, a piece at a time."""

import asyncio
import time

import pytest

from tallystick.domain import limits
from tallystick.service.pieces import Pieces

LOUD, QUIET = 1, 2
ITEMS = 10 * limits.PIECE_ITEMS_MAX


class Rounds:
    """Counts the rounds of the loop, and what is made in each."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self._task = asyncio.create_task(self._go())

    async def _go(self) -> None:
        while True:
            self.made.append(0)
            await asyncio.sleep(0)

    def make(self, item: int) -> int:
        self.made[-1] += 1
        return 2 * item

    def stop(self) -> None:
        self._task.cancel()


async def test_what_is_made_is_in_order_and_the_loop_goes_round_between_pieces() -> None:
    rounds = Rounds()
    await asyncio.sleep(0)
    made = await Pieces().each(LOUD, range(ITEMS), rounds.make)
    rounds.stop()
    assert made == [2 * item for item in range(ITEMS)]
    assert max(rounds.made) == limits.PIECE_ITEMS_MAX
    assert len(rounds.made) > 9 * limits.PIECE_ROUNDS


async def test_large_requests_of_many_share_the_same_rounds() -> None:
    rounds, pieces = Rounds(), Pieces()
    await asyncio.sleep(0)
    await asyncio.gather(*(pieces.each(tenant % 3, range(ITEMS), rounds.make) for tenant in range(8)))
    rounds.stop()
    assert max(rounds.made) == limits.PIECE_ITEMS_MAX
    assert sum(rounds.made) == 8 * ITEMS


async def test_a_small_request_waits_for_no_round() -> None:
    pieces = Pieces()
    loud = asyncio.create_task(pieces.each(LOUD, range(ITEMS), str))
    await asyncio.sleep(0)
    coroutine = pieces.each(LOUD, range(limits.PIECE_ITEMS_MAX), str)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert not loud.done()
    await loud


async def test_tenants_take_turns_and_a_tenants_requests_follow_each_other() -> None:
    pieces, order = Pieces(), list[str]()

    async def ask(tenant: int, name: str, pieces_count: int) -> None:
        await pieces.each(tenant, range(pieces_count * limits.PIECE_ITEMS_MAX), lambda _: order.append(name))

    await asyncio.gather(ask(LOUD, "first", 5), ask(LOUD, "second", 5), ask(QUIET, "quiet", 2))
    in_pieces = order[:: limits.PIECE_ITEMS_MAX]
    assert [name for name in in_pieces if name != "quiet"] == ["first"] * 5 + ["second"] * 5
    assert "quiet" not in in_pieces[5:], "each second piece was the quiet one's"


async def test_who_goes_away_or_fails_leaves_the_turns_to_others() -> None:
    pieces = Pieces()

    def fail(item: int) -> int:
        if item == limits.PIECE_ITEMS_MAX + 1:
            raise ValueError
        return item

    left = [asyncio.create_task(pieces.each(LOUD, range(ITEMS), str)) for _ in range(3)]
    failing = asyncio.create_task(pieces.each(LOUD, range(ITEMS), fail))
    for rounds in range(1, 4):
        left[rounds - 1].cancel()
        for _ in range(rounds):
            await asyncio.sleep(0)
    with pytest.raises(ValueError):  # noqa: PT011 - the one above
        await failing
    async with asyncio.timeout(60):
        assert await pieces.each(QUIET, range(ITEMS), int) == list(range(ITEMS))
    assert await pieces.each(QUIET, [], int) == []


async def test_a_large_request_pauses_only_if_tenants_share_the_server() -> None:
    async def rounds_of_the_loop(*, shared: bool) -> int:
        rounds = Rounds()
        await asyncio.sleep(0)
        await Pieces(is_shared=lambda: shared).each(LOUD, range(ITEMS), lambda _: time.sleep(0.0001))
        rounds.stop()
        return len(rounds.made)

    alone = await rounds_of_the_loop(shared=False)
    assert alone < 3 * limits.PIECE_ROUNDS * ITEMS / limits.PIECE_ITEMS_MAX
    # The loop goes round without end in a pause, because this test has always something to do.
    assert await rounds_of_the_loop(shared=True) > 5 * alone
