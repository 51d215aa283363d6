"""What is so for all tests, and the server that most of them share."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.crash.databases import temporary_server

# An example that took long says something of the machine, which may stand still at any moment, and not of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The PostgreSQL of all tests of this process: each makes databases of its own in it, and nobody stops it.

    Who kills a server, or wants other settings, starts one with `temporary_server`.
    """
    with temporary_server() as server:
        yield server
