"""Databases as the tests of faults have them; several files have others of their own."""

import pytest
from tests.crash.conftest import database, shards
from tests.whole import some_of

from tallystick.domain import limits

__all__ = ["database", "shards"]


@pytest.fixture(params=some_of("the size of a log that is verified", ("small", "large")))
def either_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is read over one connection as it is small, or over many as a large one."""
    if request.param == "large":
        monkeypatch.setattr(limits, "VERIFY_BYTES_AT_ONCE_MAX", 0)
