"""`pytest tests/simulation --seed N` runs one seed again."""

import pytest

from tests.whole import WHOLE

SEEDS = 3_000 if WHOLE else 1_000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="run this seed of the simulation alone")


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> range:
    """Which seeds to run. Where the whole of the tests is run, nobody asks for a single one."""
    seed = request.config.getoption("--seed", default=None)
    return range(SEEDS) if seed is None else range(seed, seed + 1)
