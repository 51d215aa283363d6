"""One server of each version for all tests here; every test finds it without databases and roles of others.

A test runs on one of them, which is drawn; with TALLYSTICK_WHOLE=1 on all.
"""

from collections import defaultdict
from collections.abc import Iterator

import pytest

from tallystick.domain import limits
from tests.existing_postgres.servers import Binaries, ExistingPostgres, supported_binaries
from tests.whole import some_of


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not drawn."""
    versions: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            binaries = item.callspec.params.get("started")
            if isinstance(binaries, Binaries):
                versions[item.nodeid.replace(str(binaries), "")].append(item)
    kept = {item for what, alike in versions.items() for item in some_of(what, alike)}
    left_out = [item for alike in versions.values() for item in alike if item not in kept]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


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
