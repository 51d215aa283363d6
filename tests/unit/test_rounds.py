"""Work in rounds of the event loop, with pauses."""

import asyncio
import time

from tallystick.ledger.rounds import Rounds

PAUSE_SECONDS = 0.05


async def test_after_a_round_the_loop_is_free_for_a_pause() -> None:
    done: list[float] = []

    async def take_turn(turn: asyncio.Future[None]) -> None:
        await turn
        done.append(time.monotonic())

    rounds = Rounds(2, 1, pause_seconds=PAUSE_SECONDS)
    begun = time.monotonic()
    await asyncio.gather(*(take_turn(rounds.turn(1, 1)) for _ in range(6)))
    first, _, third, _, fifth, _ = done
    assert first - begun < PAUSE_SECONDS
    assert third - first >= 0.9 * PAUSE_SECONDS
    assert fifth - third >= 0.9 * PAUSE_SECONDS


async def test_what_comes_after_all_was_done_does_not_wait_for_a_pause() -> None:
    rounds = Rounds(1, 1, pause_seconds=60)
    for _ in range(3):
        await asyncio.wait_for(rounds.turn(1, 1), 5)
        # The round has ended, with nothing left.
        await asyncio.sleep(0.01)
