"""Recovery gives up payments between shards that take long, and releases them without a recorded refusal."""

from collections.abc import Callable, Iterable
from typing import Final

import pytest

from tallystick.cli.main import main
from tallystick.domain import limits
from tallystick.domain.sagas import SagaState
from tallystick.ledger.crossing.saga.recovery import Recovery
from tallystick.ledger.crossing.saga.steps import SagaDriver
from tallystick.ledger.shard import Shard
from tests.crash.test_saga_planted_bugs import release_without_a_refusal

LONG_SECONDS: Final = 0.3


class HastyDriver(SagaDriver):
    """Drives like another driver, but gives up whatever it begins to drive."""

    def __init__(self, driver: SagaDriver) -> None:
        vars(self).update(vars(driver))
        self._driver = driver

    def begin(self, sagas: Iterable[SagaState], *, give_up: bool = True) -> None:
        """Give sagas up."""
        self._driver.begin(sagas, give_up=give_up)


_init = Recovery.__init__


def with_hasty_driver(
    self: Recovery, home: Shard, driver: SagaDriver, find: Callable[[int], Shard | None]
) -> None:
    """Recover with a driver that gives up."""
    _init(self, home, HastyDriver(driver), find)


Recovery.__init__ = with_hasty_driver  # type: ignore[method-assign]  # it is planted
vars(limits).update(RECOVERY_AGE_SECONDS=LONG_SECONDS, RECOVERY_INTERVAL_SECONDS=LONG_SECONDS / 3)
release_without_a_refusal(pytest.MonkeyPatch())

if __name__ == "__main__":
    main()
