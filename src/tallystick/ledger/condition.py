"""The condition of a shard, as this process knows it: whether it is connected, answers, and accepts writes.

The batcher and the pulse report to it. Probes read it, and so do requests that would otherwise wait.
"""

import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from tallystick.domain import limits
from tallystick.ledger import metrics


class State(StrEnum):
    """The states of a shard. Of several troubles, the first in this order is shown."""

    AWAY = "away"
    SILENT = "silent"
    FAILING = "failing"
    UP = "up"


class ShardState(NamedTuple):
    """The state of a shard, the time since when, and the reason if it is not up."""

    state: State
    since: datetime
    reason: str | None


class _Trouble(NamedTuple):
    since: datetime
    reason: str
    last_seen: float


_TROUBLES: Final = (State.AWAY, State.SILENT, State.FAILING)


class Condition:
    """The condition of one shard, as far as this process knows."""

    def __init__(self, shard: int) -> None:
        self._up = metrics.SHARD_UP.labels(str(shard))
        self._up_since = datetime.now(UTC)
        self._troubles: dict[State, _Trouble] = {}
        self.begins(State.AWAY, "it was not connected to yet")

    @property
    def silent(self) -> bool:
        """Whether the shard keeps connections and does not answer, so that a request would wait."""
        return State.SILENT in self._troubles

    def begins(self, state: State, reason: str) -> None:
        """Report a trouble that began or continues."""
        known = self._troubles.get(state)
        since = datetime.now(UTC) if known is None else known.since
        self._troubles[state] = _Trouble(since, reason, time.monotonic())
        self._up.set(0)

    def is_over(self, state: State) -> None:
        """Report the end of a trouble, if there was one."""
        if self._troubles.pop(state, None) is None:
            return
        if state is State.AWAY:
            # A failure before the shard was lost says nothing about the shard now.
            self._troubles.pop(State.FAILING, None)
        if not self._troubles:
            self._up_since = datetime.now(UTC)
            self._up.set(1)

    def forget_old_failures(self) -> None:
        """End the state `failing` some time after the last failed write: it no longer shows how the shard is now."""
        failing = self._troubles.get(State.FAILING)
        if failing is not None and time.monotonic() > failing.last_seen + limits.FAILING_SECONDS_MAX:
            self.is_over(State.FAILING)

    def current(self) -> ShardState:
        """The state of the shard now."""
        for state in _TROUBLES:
            if (trouble := self._troubles.get(state)) is not None:
                return ShardState(state, trouble.since, trouble.reason)
        return ShardState(State.UP, self._up_since, None)
