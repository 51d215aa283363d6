"""What is so for all tests, and the server that most of them share."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.crash.databases import temporary_server
from tests.whole import SEED, WHOLE

# Hundreds of processes start here: each would compile all modules again where nothing that is compiled is kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# An example that took long says something of the machine, which may stand still at any moment, and not of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# A logger that is cached keeps what was configured at its first use: tests would depend on those before them.
structlog.configure(
    processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=False,
)

# Each test there kills a server, or runs the program as its users do.
SLOW_FOLDERS: Final = ("acceptance", "crash", "existing_postgres", "failover")


def pytest_report_header() -> str:
    """Say what was drawn."""
    return f"TALLYSTICK_WHOLE={int(WHOLE)} TALLYSTICK_SEED={SEED}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is slow in whole folders, elsewhere the test says so itself; put short files at the end."""
    for item in items:
        if _folder_of(item) in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: _folder_of(item) == "unit")


def _folder_of(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The PostgreSQL of all tests of this process: each makes databases of its own in it, and none stops it.

    Who kills a server, or wants other settings, starts one with `temporary_server`.
    """
    # Servers that tests start in processes of their own have many connections together.
    with temporary_server(settings={"max_connections": "300"}) as server:
        yield server
