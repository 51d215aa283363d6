"""What a reader never sees, though servers and the cache are killed again and again; and that this would be noticed.

TALLYSTICK_RACE_ROUNDS says how often something happens (12), TALLYSTICK_RACE_SEED repeats a run's choices.
"""

import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tallystick.embedded.valkey import EmbeddedValkey
from tests.cache.planted import PLANTED
from tests.cache.process_race import ProcessRace
from tests.cache.race import ViolationError
from tests.whole import WHOLE

ROUNDS: Final = int(os.environ.get("TALLYSTICK_RACE_ROUNDS", "30" if WHOLE else "12"))
SEED: Final = int(os.environ.get("TALLYSTICK_RACE_SEED", str(random.randrange(2**32))))
ROUNDS_PER_HEAT: Final = 15
# A bug is found in one or two heats as a rule.
HEATS_MAX: Final = 120
ROUNDS_PER_HEAT_PLANTED: Final = 8
# What some need most, so that the test is short; the others need only that something is late.
PROVOKED_BY: Final = {"unchecked mark": ["FLUSHALL"], "generation again": ["mark lost"]}

Racing = Callable[..., AbstractAsyncContextManager[ProcessRace]]


@pytest.fixture
def racing(
    dsns: dict[int, str], owner_dsns: dict[int, str], valkey: EmbeddedValkey, tmp_path: Path
) -> Racing:
    @asynccontextmanager
    async def begun(planted: str = "") -> AsyncIterator[ProcessRace]:
        sys.stdout.write(f"TALLYSTICK_RACE_ROUNDS={ROUNDS} TALLYSTICK_RACE_SEED={SEED}\n")
        race = ProcessRace(tmp_path, dsns, owner_dsns, valkey, SEED)
        try:
            yield await race.begin(planted)
        finally:
            await race.end()
            sys.stdout.write(f"{dict(race.done)}\n")
            if not planted:
                log = (tmp_path / "servers.log").read_text(errors="replace")
                sys.stdout.write("\n".join(line for line in log.splitlines() if "Traceback" in line)[-4_000:])

    return begun


@pytest.mark.slow
@pytest.mark.timeout(120 + 3 * ROUNDS)
async def test_nothing_is_seen_to_go_back_whoever_is_killed(racing: Racing) -> None:
    async with racing() as race:
        for start in range(0, ROUNDS, ROUNDS_PER_HEAT):
            await race.heat(min(ROUNDS_PER_HEAT, ROUNDS - start))
        while race.done["reads from the cache"] <= 10 * ROUNDS or race.done["payments"] <= ROUNDS:
            await race.heat(1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("planted", list(PLANTED))
async def test_a_bug_is_found_out(racing: Racing, planted: str) -> None:
    with pytest.raises((ViolationError, ExceptionGroup)) as found:
        await race_until_found(racing, planted)
    violation = found.value
    if isinstance(violation, ExceptionGroup):
        assert found.group_contains(ViolationError)
        violation = violation.exceptions[0]
    sys.stdout.write(f"{violation}\n")


async def race_until_found(racing: Racing, planted: str) -> None:
    async with racing(planted) as race:
        for _ in range(HEATS_MAX):
            await race.heat(ROUNDS_PER_HEAT_PLANTED, PROVOKED_BY.get(planted))
