"""`decide` and the naive model of tests/oracle answer and append the same, whatever is asked."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.oracle.crossing_scenarios import CROSSING_SCENARIOS
from tests.oracle.harness import Comparison
from tests.oracle.scenarios import SCENARIOS, play
from tests.oracle.strategies import Plan, World, plans, run, worlds


@settings(
    max_examples=1500,
    deadline=None,
    print_blob=True,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=list(HealthCheck),
)
@given(world=worlds, plan=plans)
def test_random_batches(world: World, plan: Plan) -> None:
    run(Comparison(), world, plan)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    play(Comparison(), SCENARIOS[name])


@pytest.mark.parametrize("name", CROSSING_SCENARIOS)
def test_scenario_of_what_crosses(name: str) -> None:
    play(Comparison(), CROSSING_SCENARIOS[name])
