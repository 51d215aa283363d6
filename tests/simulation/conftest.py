"""`pytest tests/simulation --seed N` runs one seed again."""

import random

import pytest

from tests.whole import SEED, WHOLE

# Others in each run: `make simulate` runs a hundred thousand.
FIRST = 0 if WHOLE else random.Random(f"{SEED} simulation").randrange(2**32)
SEEDS = range(FIRST, FIRST + (3_000 if WHOLE else 500))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="run this seed of the simulation alone")


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> range:
    """Which seeds to run. Where the whole of the tests is run, nobody asks for a single one."""
    seed = request.config.getoption("--seed", default=None)
    return SEEDS if seed is None else range(seed, seed + 1)
