"""Work in rounds of the event loop, with pauses."""

import asyncio
import time
from itertools import pairwise

from tallystick.ledger.rounds import Rounds

PAUSE_SECONDS = 0.05
BUSY_SECONDS = 0.001


async def test_after_a_millisecond_of_work_the_loop_is_free_for_a_pause() -> None:
    done: list[float] = []
    all_done = asyncio.Event()

    def work() -> bool:
        time.sleep(BUSY_SECONDS)
        done.append(time.monotonic())
        if len(done) == 6:
            all_done.set()
        return True

    rounds = Rounds(2, 1, busy_seconds=BUSY_SECONDS, pause_seconds=lambda: PAUSE_SECONDS)
    begun = time.monotonic()
    for _ in range(6):
        rounds.call(1, 1, work)
    await asyncio.wait_for(all_done.wait(), 60)
    assert done[0] - begun < PAUSE_SECONDS
    pauses = [after - before for before, after in pairwise(done) if after - before >= 0.9 * PAUSE_SECONDS]
    assert len(pauses) == 3, "the first piece was alone, the others came in twos and one"


async def test_little_work_is_done_without_a_pause() -> None:
    rounds = Rounds(1, 1, busy_seconds=60, pause_seconds=lambda: 60)
    await asyncio.wait_for(asyncio.gather(*(rounds.turn(1, 1) for _ in range(10))), 5)


async def test_what_comes_after_all_was_done_does_not_wait_for_a_pause() -> None:
    rounds = Rounds(1, 1, pause_seconds=lambda: 60)
    for _ in range(3):
        await asyncio.wait_for(rounds.turn(1, 1), 5)
        # The round has ended, with nothing left.
        await asyncio.sleep(0.01)
