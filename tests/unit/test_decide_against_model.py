"""The product and the naive model of tests/oracle answer and append the same, whatever is asked.

TALLYSTICK_EXAMPLES says for how many plans of random batches (100; `make simulate` takes 20,000).
"""

import os
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings

from tests.oracle import words
from tests.oracle.crossing_scenarios import CROSSING_SCENARIOS
from tests.oracle.harness import Comparison
from tests.oracle.intents import Intent
from tests.oracle.scenarios import SCENARIOS, play
from tests.oracle.strategies import NO_NOTE, WORLD, Plan, Step, World, plans, run, worlds
from tests.whole import WHOLE

EXAMPLES: Final = int(os.environ.get("TALLYSTICK_EXAMPLES", "200" if WHOLE else "100"))

# Two payers without a bound send all that there can be to one shard, and then more.
OPEN: words.Status = "open"
PAYERS_WITHOUT_BOUNDS = World(
    bounds=((None, None),) * len(WORLD),
    funds=(0,) * len(WORLD),
    holds=((1, 5, 5),) * 3,
    statuses=(OPEN,) * len(WORLD),
)
FINALIZE = Intent("finalize", 1, "USD", 0, 1, "none", "one", 0, "none", NO_NOTE, False, 1, "keep")
SEND = FINALIZE._replace(action="send transfer")
MORE_THAN_ALL: Plan = [
    Step(
        0, False, [SEND._replace(amount="largest"), FINALIZE, SEND._replace(first=1, amount="ten"), FINALIZE]
    )
]


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=list(HealthCheck),
)
@given(world=worlds, plan=plans)
@example(world=PAYERS_WITHOUT_BOUNDS, plan=MORE_THAN_ALL)
def test_random_batches(world: World, plan: Plan) -> None:
    run(Comparison(), world, plan)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    play(Comparison(), SCENARIOS[name])


@pytest.mark.parametrize("name", CROSSING_SCENARIOS)
def test_scenario_of_what_crosses(name: str) -> None:
    play(Comparison(), CROSSING_SCENARIOS[name])
