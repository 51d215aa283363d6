"""Load and faults on two shards, and all checks; `make chaos` does it for longer.

TALLYSTICK_CHAOS_SECONDS says how long there is load (12), TALLYSTICK_SEED repeats the sequences of a run.
"""

import os
import random
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.faults import run_embedded
from tests.chaos.load import LoadSettings
from tests.chaos.rig import Backends
from tests.chaos.run import RunSettings
from tests.whole import WHOLE

SECONDS: Final = float(os.environ.get("TALLYSTICK_CHAOS_SECONDS", "20" if WHOLE else "12"))
SEED: Final = int(os.environ.get("TALLYSTICK_SEED", str(random.randrange(2**32))))


@pytest.mark.slow
@pytest.mark.timeout(300 + 3 * SECONDS)
async def test_every_promise_is_kept(started: Backends, folder: Path) -> None:
    sys.stdout.write(f"TALLYSTICK_CHAOS_SECONDS={SECONDS:.0f} TALLYSTICK_SEED={SEED}\n")
    verdict = await run_embedded(folder / "run", started, RunSettings(LoadSettings(SEED, SECONDS)))
    sys.stdout.write(verdict.text())
    assert verdict.good, verdict.text()
