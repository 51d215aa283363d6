"""Which large requests a process takes on: bounded, so that what it has taken on is answered in time.

The queue of a shard bounds what waits to be written. But under a load above capacity, requests wait before that, for
their turn to be checked, and after it, for their answers. Nothing would bound that time.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from tallystick.domain import limits


class Admission:
    """The commands of large requests that are in work, from the parsed body to the answer.

    For each shard as many as may wait in its queue, of one tenant and of all.
    """

    def __init__(self, shard_count: Callable[[], int], refuse: Callable[[], NoReturn]) -> None:
        """`refuse` raises OverloadedError."""
        self._shard_count = shard_count
        self._refuse = refuse
        self._of_tenant: Counter[int] = Counter()
        self._of_all = 0

    @contextmanager
    def taken_on(self, tenant: int, command_count: int) -> Iterator[None]:
        """Count a request until the end of the block.

        Raises:
            OverloadedError: too much is in work already.
        """
        shards = self._shard_count()
        if (
            self._of_tenant[tenant] + command_count > shards * limits.QUEUE_COMMANDS_PER_TENANT_MAX
            or self._of_all + command_count > shards * limits.QUEUE_COMMANDS_MAX
        ):
            self._refuse()
        self._of_tenant[tenant] += command_count
        self._of_all += command_count
        try:
            yield
        finally:
            self._of_all -= command_count
            self._of_tenant[tenant] -= command_count
            if not self._of_tenant[tenant]:
                del self._of_tenant[tenant]
