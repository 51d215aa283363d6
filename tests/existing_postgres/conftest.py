"""One server of each version for all tests here; every test finds it without databases and roles of others."""

from collections.abc import Iterator

import pytest

from tallystick.domain import limits
from tests.existing_postgres.servers import Binaries, ExistingPostgres, supported_binaries


@pytest.fixture(scope="session", params=supported_binaries(limits.POSTGRESQL_VERSION_MIN))
def started(request: pytest.FixtureRequest) -> Iterator[ExistingPostgres]:
    binaries: Binaries = request.param
    server = ExistingPostgres(binaries)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def server(started: ExistingPostgres) -> Iterator[ExistingPostgres]:
    yield started
    started.clean()
