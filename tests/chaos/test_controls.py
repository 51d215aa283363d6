"""Bugs are planted in servers, and the check that is there for each of them finds it.

TALLYSTICK_SEED repeats the sequences of a run.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
import pytest

from tests.chaos.faults import run_embedded
from tests.chaos.load import LoadSettings
from tests.chaos.rig import Backends
from tests.chaos.run import RunSettings
from tests.whole import SEED

SETTLE_SECONDS_MAX: Final = 3.0
"""What a bug has broken may stay open for ever."""
RUNS_MAX: Final = 5
"""A bug is found in one or two runs as a rule."""


class Control(NamedTuple):
    """A bug, the check that must find it, and the faults that bring it to light."""

    planted: str
    found_by: str
    faults: tuple[str, ...]
    seconds: float = 6.0


CONTROLS: Final = [
    Control("commits_without_waiting", "acknowledged_are_there_once", ("PostgreSQL killed",)),
    Control("claims_in_another_transaction", "each_key_has_one_payment", ("API server killed",)),
    Control("releases_without_refusal", "money_is_conserved", ("PostgreSQL frozen",)),
]


def let_claims_come_later(started: Backends) -> None:
    """The database itself refuses claims that no batch covers, so its check must go."""
    for database in started.shards:
        with psycopg.connect(database.owner_dsn) as connection:
            connection.execute("ALTER TABLE requests DISABLE TRIGGER requests_within_batch")


PREPARED: Final[dict[str, Callable[[Backends], None]]] = {
    "claims_in_another_transaction": let_claims_come_later
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.planted)
async def test_a_planted_bug_is_found(started: Backends, folder: Path, control: Control) -> None:
    if control.planted in PREPARED:
        PREPARED[control.planted](started)
    for turn in range(RUNS_MAX):
        seed = SEED + turn
        load = LoadSettings(seed, control.seconds)
        settings = RunSettings(load, control.faults, SETTLE_SECONDS_MAX)
        verdict = await run_embedded(folder / f"run {turn}", started, settings, control.planted)
        sys.stdout.write(f"TALLYSTICK_SEED={seed}: {verdict.violations}\n")
        if control.found_by in verdict.violations:
            return
    pytest.fail(f"{control.planted} was not found by {control.found_by}")
